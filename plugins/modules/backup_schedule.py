#!/usr/bin/python
# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_schedule
short_description: Install, change or remove what runs a system's jobs at their slots
version_added: 1.0.0
description:
  - "Installs all that a job needs on the host: this collection, an inventory of the one system as data, and timers of systemd
    where the host runs it, else cron's file, else the account's own crontab."
  - "For a system on C(kubernetes) it applies what runs the jobs in its cluster: CronJobs, a Secret with the inventory, and an
    account with the rights that they need and no other."
  - Credentials are in the inventory alone, which only its account can read; the diff shows none.
  - Runs in the host's own Python and needs nothing but what Python has, so a host that is being set up can be predicted.
  - The environment that jobs run in is M(runbook.ops.host_environment)'s.
author: The runbook.ops contributors (!UNKNOWN)
extends_documentation_fragment:
  - runbook.ops.attributes
  - runbook.ops.system
  - runbook.ops.system.runtime
  - runbook.ops.system.retention
  - runbook.ops.system.cache_dir
  - runbook.ops.database.many
  - runbook.ops.store.many
options:
  state:
    description: With V(absent), what was installed for the system is removed, and nothing else.
    type: str
    choices: [present, absent]
    default: present
  collection:
    description: This collection, packed by P(runbook.ops.collection_archive#lookup). Needed on hosts with O(state=present).
    type: str
    default: ""
  databases:
    description: The databases of the system. Needed with O(state=present).
    required: false
    default: []
  stores:
    description: The stores, the primary first. Needed with O(state=present).
    required: false
    default: []
  schedules:
    description: When the system's jobs run, five-field cron expressions in UTC.
    type: dict
    default: {}
    suboptions:
      backup:
        description: Backups, where a database has no schedule of its own.
        type: str
      copy:
        description: Copies to the other stores, which the backup's run makes.
        type: str
      verify:
        description: Restore verifications.
        type: str
      prune:
        description: Pruning.
        type: str
  max_delete:
    description: The most that one run may delete of a scope in a store, a share such as V(50%) or a count.
    type: str
    default: 50%
  work_dir:
    description: Where locks and scratch directories are made on the host.
    type: path
    default: /var/tmp
  metrics_file:
    description: A Prometheus textfile for the backups' gauges; empty for none.
    type: path
  schedule_metrics_file:
    description: A Prometheus textfile for the schedules' gauges; empty for none.
    type: path
  decryption_key:
    description: A secret key file on the host for verifying encrypted backups, or V(keyring).
    type: str
    default: ""
  image:
    description: On C(kubernetes), the image that jobs run in, an execution environment with this collection.
    type: str
    default: ""
  volume_claim:
    description: On C(kubernetes), the PersistentVolumeClaim that has the store of type C(local), if there is one.
    type: str
    default: ""
  root:
    description: Install below this directory, as if it were C(/), and start nothing; for images.
    type: path
    default: /
attributes:
  idempotent:
    description: A second run has nothing to do.
    support: full
seealso:
  - module: runbook.ops.host_environment
"""

EXAMPLES = r"""
- name: Run ERNI's jobs at their slots
  runbook.ops.backup_schedule:
    system: erni
    collection: "{{ lookup('runbook.ops.collection_archive') }}"
    databases: "{{ runbook_databases }}"
    stores: "{{ runbook_stores }}"
    schedules: {backup: "0 2 * * *", verify: "0 4 1 * *", prune: "30 4 * * *"}
    policy:
      daily: {within: 30d}
"""

RETURN = r"""
jobs:
  description: Each scheduled job, its slots, its next one, and how it last went.
  returned: success
  type: list
  elements: dict
  sample:
    - {job: backup, slots: ["0 2 * * *"], next: "2026-03-02T02:00:00Z", state: ok, reason: ran 2026-03-01T02:00:31Z}
mechanism:
  description: What starts them; V(etc/systemd/system), V(etc/cron.d), V(crontab) or V(cronjobs).
  returned: success
  type: str
actions:
  description: What was, or would be, done.
  returned: success
  type: list
  elements: dict
"""

import base64
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runbook.ops.plugins.module_utils import _arguments as arguments
from ansible_collections.runbook.ops.plugins.module_utils._errors import InputError, RunbookError
from ansible_collections.runbook.ops.plugins.module_utils._records import check_name
from ansible_collections.runbook.ops.plugins.module_utils._result import result_of
from ansible_collections.runbook.ops.plugins.module_utils._scheduling.collection import digest_of
from ansible_collections.runbook.ops.plugins.module_utils._scheduling.declared import (
    Schedules,
    in_its_cluster,
    is_in_cluster,
)
from ansible_collections.runbook.ops.plugins.module_utils._scheduling.installation import Installation, Wanted
from ansible_collections.runbook.ops.plugins.module_utils._scheduling.inventory import (
    require_credentials,
    without_nothing,
)
from ansible_collections.runbook.ops.plugins.module_utils._scheduling.jobs import jobs_of, listed
from ansible_collections.runbook.ops.plugins.module_utils._scheduling.mechanism import mechanism_of

DESCRIPTION = {
    "system": arguments.SYSTEM,
    "runtime": arguments.RUNTIME,
    "databases": {**arguments.DATABASES, "required": False, "default": []},
    "stores": {**arguments.STORES, "required": False, "default": []},
    "schedules": arguments.SCHEDULES,
    **arguments.RETENTION,
    "max_delete": {"type": "str", "default": "50%"},
    "work_dir": arguments.WORK_DIR,
    "cache_dir": arguments.CACHE_DIR,
    "metrics_file": {"type": "path"},
    "decryption_key": {"type": "str", "default": "", "no_log": False},
}
ARGUMENT_SPEC = {
    **DESCRIPTION,
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "collection": {"type": "str", "default": "", "no_log": True},  # not secret, but nobody wants to see it
    "schedule_metrics_file": {"type": "path"},
    "image": {"type": "str", "default": ""},
    "volume_claim": {"type": "str", "default": ""},
    "root": {"type": "path", "default": "/"},
}


def build(params: dict[str, Any]) -> tuple[Schedules, dict[str, list[str]]]:
    """What runs the jobs, and those that are wanted. Everything wrong with the parameters is said here."""
    check_name("system", params["system"])
    present = params["state"] == "present"
    description = without_nothing({key: params[key] for key in DESCRIPTION})
    if is_in_cluster(params["runtime"]):
        schedules: Schedules = in_its_cluster(
            description, present=present, image=params["image"], volume_claim=params["volume_claim"]
        )
    else:
        schedules = on_its_host(description, params)
    return schedules, jobs_of(description) if present else {}


def on_its_host(description: dict[str, Any], params: dict[str, Any]) -> Installation:
    system, metrics_file = params["system"], params["schedule_metrics_file"] or ""
    if params["state"] == "absent":
        wanted = Wanted(system, {}, {}, b"", "", metrics_file)
        return Installation(wanted, mechanism_of(params["root"]), params["root"])
    if not params["collection"]:
        raise InputError("collection is empty: give lookup('runbook.ops.collection_archive').")
    require_credentials(description)
    packed = base64.b64decode(params["collection"])
    wanted = Wanted(system, jobs_of(description), description, packed, digest_of(packed), metrics_file)
    return Installation(wanted, mechanism_of(params["root"]), params["root"])


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        schedules, wanted = build(module.params)
        actions = schedules.plan()
        if not module.check_mode:
            schedules.apply(actions)
        jobs = listed(module.params["system"], wanted, schedules.runs() if wanted else [])
    except RunbookError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result_of(actions, jobs=jobs, mechanism=schedules.mechanism))


if __name__ == "__main__":
    main()
