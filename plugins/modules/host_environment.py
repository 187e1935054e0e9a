#!/usr/bin/python
# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_environment
short_description: Install the Python environment that this collection's modules run in on a host
version_added: 1.0.0
description:
  - Makes a virtual environment of the packages that a lock pins with their hashes, named after what is in it, and a link
    C(venv) to the one in use. A change makes a new one and moves the link when it is whole.
  - Runs in the host's own Python and needs nothing but what Python has. Uses uv where the host has it, else pip.
  - What is missing on the host is said before anything is touched.
author: The runbook.ops contributors (!UNKNOWN)
extends_documentation_fragment:
  - runbook.ops.attributes
  - runbook.ops.system.runtime
options:
  state:
    description: With V(absent), it is removed when O(owner) was the last to use it.
    type: str
    choices: [present, absent]
    default: present
  lock:
    description: The text of a requirements file with hashes. Needed with O(state=present).
    type: str
    default: ""
  owner:
    description: Who uses it; it stays while anybody does.
    type: str
    required: true
  directory:
    description: Where it lies; empty for C(/opt/runbook.ops) as root, C(~/.local/share/runbook.ops) as anybody else.
    type: path
  wheels:
    description: A directory on the host to install from, with no network.
    type: path
attributes:
  idempotent:
    description: A second run with the same lock has nothing to do.
    support: full
seealso:
  - module: runbook.ops.backup_schedule
"""

EXAMPLES = r"""
- name: What the modules need
  runbook.ops.host_environment:
    lock: "{{ lookup('ansible.builtin.file', 'requirements.lock') }}"
    owner: host
"""

RETURN = r"""
python:
  description: Its Python, for C(ansible_python_interpreter).
  returned: success
  type: str
  sample: /opt/runbook.ops/venv/bin/python
actions:
  description: What was, or would be, done.
  returned: success
  type: list
  elements: dict
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runbook.ops.plugins.module_utils import _arguments as arguments
from ansible_collections.runbook.ops.plugins.module_utils._description import runtime_of
from ansible_collections.runbook.ops.plugins.module_utils._environment import Environment
from ansible_collections.runbook.ops.plugins.module_utils._errors import InputError, RunbookError
from ansible_collections.runbook.ops.plugins.module_utils._records import check_name
from ansible_collections.runbook.ops.plugins.module_utils._result import Action, result_of
from ansible_collections.runbook.ops.plugins.module_utils._scheduling.layout import Layout

ARGUMENT_SPEC = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "lock": {"type": "str", "default": ""},
    "owner": {"type": "str", "required": True},
    "directory": {"type": "path"},
    "wheels": {"type": "path"},
    "runtime": arguments.RUNTIME,
}


def build(params: dict[str, Any]) -> Environment:
    owner = check_name("owner", params["owner"])
    if params["state"] == "present" and "--hash=" not in params["lock"]:
        raise InputError(
            "lock has no package with a hash: give the text of a requirements file that was made with hashes."
        )
    directory = params["directory"] or Layout.of(owner).library
    return Environment(os.path.abspath(directory), params["lock"], owner, params["wheels"])


def plan(environment: Environment, params: dict[str, Any]) -> list[Action]:
    if params["state"] == "absent":
        return environment.plan_removal()
    environment.preflight()
    runtime_of(params["runtime"]).directories()  # asks the platform, so that one this account may not use is told here
    return environment.plan()


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        environment = build(module.params)
        actions = plan(environment, module.params)
        if not module.check_mode:
            environment.apply(actions)
    except RunbookError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result_of(actions, python=environment.python))


if __name__ == "__main__":
    main()
