#!/usr/bin/python
# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup
short_description: Take one backup of a database
version_added: 1.0.0
description:
  - Streams a consistent copy of one database through compression, and encryption where asked for, into a store.
  - The manifest is published last and atomically, so a failure or a kill at any point leaves no backup that looks good;
    what a killed run left is swept by the next.
  - With O(schedule), a backup is taken only when the newest slot of the schedule has none yet.
author: The runbook.ops contributors (!UNKNOWN)
extends_documentation_fragment:
  - runbook.ops.attributes
  - runbook.ops.system
  - runbook.ops.system.runtime
  - runbook.ops.system.work_dir
  - runbook.ops.system.cache_dir
  - runbook.ops.database
  - runbook.ops.store
options:
  label:
    description:
      - Why it is taken. C(pre_*) backups fill no bucket of the retention policy.
      - Ignored with O(schedule), whose backups are V(scheduled).
    type: str
    default: manual
    choices: [scheduled, manual, pre_deploy, pre_restore, pre_rotation]
  schedule:
    description: A five-field cron expression in UTC that makes the backup due-based.
    type: str
attributes:
  idempotent:
    description: With O(schedule), nothing is taken twice for a slot. Without it every call takes a backup.
    support: partial
    details: Idempotent with O(schedule) only.
seealso:
  - module: runbook.ops.backup_info
  - module: runbook.ops.backup_copy
  - module: runbook.ops.restore_verification
"""

EXAMPLES = r"""
- name: Back up a PostgreSQL database now, before a deployment
  runbook.ops.backup:
    system: erni
    database:
      engine: postgresql
      name: erni_agents
      host: 127.0.0.1
      port: 5432
      user: erni_user
      password: "{{ lookup('ansible.builtin.env', 'ERNI_DB_PASSWORD') }}"
    store: {type: local, path: /backups}
    label: pre_deploy

- name: Back up a directory of secrets when the 02:00 slot has no backup yet
  runbook.ops.backup:
    system: erni
    database:
      engine: files
      name: config
      paths: [/opt/erni-agents/.env, /opt/erni-agents/nginx/ssl]
      recipients: [admin@erni-gruppe.ch]
    store: {type: local, path: /backups}
    schedule: "0 2 * * *"
"""

RETURN = r"""
actions:
  description: What was, or in check mode would be, done and why.
  returned: always
  type: list
  elements: dict
  sample: [{action: backup, object: "erni/postgresql/erni_agents -> local:/backups", reason: asked for as manual}]
backup:
  description: The manifest that was published, or null when nothing was due. In check mode what can be known beforehand.
  returned: success
  type: dict
size:
  description: Stored bytes.
  returned: success
  type: int
found:
  description: What preflight noticed, by engine, such as C(skipped) members of V(files).
  returned: success
  type: dict
doubts:
  description: Declared checks that no verification of this backup would pass, and what the database says to them.
  returned: success
  type: list
  elements: str
  sample: ['table_rows:order of erni/postgresql/erni_agents (no answer: relation "order" does not exist)']
seconds:
  description: How long it took.
  returned: success
  type: float
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runbook.ops.plugins.module_utils import _arguments as arguments
from ansible_collections.runbook.ops.plugins.module_utils._description import (
    encryptor_of,
    engine_of,
    runtime_of,
    schedule_of,
    scope_of,
)
from ansible_collections.runbook.ops.plugins.module_utils._errors import RunbookError
from ansible_collections.runbook.ops.plugins.module_utils._protect.backup import SCHEDULED, BackupJob, source_of
from ansible_collections.runbook.ops.plugins.module_utils._records import utc_now
from ansible_collections.runbook.ops.plugins.module_utils._result import Action, result_of
from ansible_collections.runbook.ops.plugins.module_utils._store.declared import store_of

ARGUMENT_SPEC = {
    "system": arguments.SYSTEM,
    "runtime": arguments.RUNTIME,
    "database": arguments.ONE_DATABASE,
    "store": arguments.ONE_STORE,
    "label": arguments.LABEL,
    "schedule": {"type": "str"},
    "work_dir": arguments.WORK_DIR,
    "cache_dir": arguments.CACHE_DIR,
}


def build(params: dict[str, Any]) -> BackupJob:
    """The job that the parameters describe; everything wrong with them is said here."""
    database, runtime = params["database"], params["runtime"]
    schedule = schedule_of("schedule", params["schedule"])
    return BackupJob(
        scope=scope_of("database", params["system"], database),
        engine=engine_of("database", database, runtime_of(runtime), params["work_dir"]),
        store=store_of("store", params["store"]),
        label=SCHEDULED if schedule else params["label"],
        schedule=schedule,
        source=source_of(runtime["type"], database["service"]),
        work_dir=params["work_dir"],
        cache_dir=params["cache_dir"],
        encryptor=encryptor_of("database", database),
        storage_class=params["store"]["storage_class"],
    )


def run(job: BackupJob, check_mode: bool) -> dict[str, Any]:
    """Plan, then apply unless in check mode."""
    started = time.monotonic()
    listing = job.look(remember=not check_mode)
    reason = job.reason(listing, utc_now())
    manifest, facts = None, None
    if reason is not None:
        facts = job.preflight(listing)
        manifest = job.predict(facts, utc_now()) if check_mode else job.take(facts)
    actions = [Action("backup", f"{job.scope} -> {job.store.label}", reason)] if manifest and reason else []
    return result_of(
        actions,
        backup=manifest and manifest.to_dict(),
        size=manifest.size if manifest else 0,
        found=dict(facts.details) if facts else {},
        doubts=[f"{name} of {job.scope} ({why})" for name, why in job.doubts.items()],
        seconds=round(time.monotonic() - started, 2),
    )


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        job = build(module.params)
        result = run(job, module.check_mode)
        for doubt in result["doubts"]:
            module.warn(f"No verification of this backup would pass the check {doubt}: correct it where it is wrong.")
    except RunbookError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
