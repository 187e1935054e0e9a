#!/usr/bin/python
# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_copy
short_description: Copy backups from the primary store to the others
version_added: 1.0.0
description:
  - Copies, byte for byte and under the same id, what the other stores lack and their own policy would keep.
  - The source's bytes are proved against the manifest while they pass and the destination confirms what it received;
    the manifest is published last.
  - Every missing backup is attempted; then the module fails naming each that failed.
author: The runbook.ops contributors (!UNKNOWN)
extends_documentation_fragment:
  - runbook.ops.attributes
  - runbook.ops.system
  - runbook.ops.system.retention
  - runbook.ops.system.work_dir
  - runbook.ops.system.cache_dir
  - runbook.ops.store.many
options:
  engine:
    description: The scope's engine.
    type: str
    required: true
  database:
    description: The scope's database name.
    type: str
    required: true
  schedule:
    description:
      - A five-field cron expression in UTC. What was finished after its newest slot waits for the next.
      - Without one, whatever is missing is copied now.
    type: str
  expected:
    description: Manifests that a check-mode run of M(runbook.ops.backup) returned, so that their copying is predicted too.
    type: list
    elements: dict
    default: []
attributes:
  idempotent:
    description: What is there is not copied again.
    support: full
seealso:
  - module: runbook.ops.backup
"""

EXAMPLES = r"""
- name: Copy what the bucket lacks
  runbook.ops.backup_copy:
    system: erni
    engine: postgresql
    database: erni_agents
    stores:
      - {type: local, path: /backups}
      - {type: s3, bucket: erni-agents-backups, region: eu-central-1, storage_class: STANDARD_IA}
    policy:
      daily: {within: 30d}
"""

RETURN = r"""
actions:
  description: What was, or in check mode would be, done and why.
  returned: always
  type: list
  elements: dict
copied_bytes:
  description: Bytes of artefacts that were copied.
  returned: always
  type: int
errors:
  description: For each copy that failed, why.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runbook.ops.plugins.module_utils import _arguments as arguments
from ansible_collections.runbook.ops.plugins.module_utils._description import (
    policies_of,
    schedule_of,
    scope_of,
    stores_of,
)
from ansible_collections.runbook.ops.plugins.module_utils._errors import RunbookError
from ansible_collections.runbook.ops.plugins.module_utils._protect.copy import CopyJob
from ansible_collections.runbook.ops.plugins.module_utils._records import manifest_from, utc_now
from ansible_collections.runbook.ops.plugins.module_utils._result import result_of

ARGUMENT_SPEC = {
    "system": arguments.SYSTEM,
    "engine": {"type": "str", "required": True},
    "database": {"type": "str", "required": True},
    "stores": arguments.STORES,
    **arguments.RETENTION,
    "schedule": {"type": "str"},
    "expected": {"type": "list", "elements": "dict", "default": []},
    "work_dir": arguments.WORK_DIR,
    "cache_dir": arguments.CACHE_DIR,
}


def build(params: dict[str, Any]) -> CopyJob:
    """The job that the parameters describe; everything wrong with them is said here."""
    scope = scope_of("database", params["system"], {"engine": params["engine"], "name": params["database"]})
    return CopyJob(
        scope=scope,
        stores=stores_of(params["stores"]),
        policies=policies_of(params),
        storage_classes=[store["storage_class"] for store in params["stores"]],
        schedule=schedule_of("schedule", params["schedule"]),
        expected=[manifest_from("expected", record) for record in params["expected"]],
        work_dir=params["work_dir"],
        cache_dir=params["cache_dir"],
    )


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        job = build(module.params)
        plans = job.plan(utc_now(), remember=not module.check_mode)
        copied, errors = (0, job.foresee(plans)) if module.check_mode else job.apply(plans)
    except RunbookError as error:
        module.fail_json(msg=str(error))
    actions = [action for plan in plans for action in plan.actions]
    result = result_of(actions, copied_bytes=copied, errors=errors)
    if errors:
        module.fail_json(msg=f"{len(errors)} of {len(actions)} copies failed: {' '.join(errors)}", **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
