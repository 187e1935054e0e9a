#!/usr/bin/python
# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: restore_verification
short_description: Prove a backup by restoring it into a scratch place
version_added: 1.0.0
description:
  - Restores a backup into a scratch place that is not production (by default a throw-away server), runs the declared checks,
    measures the restore, and always drops the scratch.
  - The verdict is recorded beside the backup in each store that holds the same bytes; RV(verification) says what was seen.
  - A backup that is damaged or fails a check gets a failed verdict, which is recorded, and the module fails saying why.
  - Encrypted backups are restored where O(decryption_key) is given, else their digests are confirmed.
author: The runbook.ops contributors (!UNKNOWN)
extends_documentation_fragment:
  - runbook.ops.attributes
  - runbook.ops.system
  - runbook.ops.system.runtime
  - runbook.ops.system.work_dir
  - runbook.ops.system.cache_dir
  - runbook.ops.database
  - runbook.ops.store.many
options:
  id:
    description: The backup to verify. Without it the newest that has not failed, when O(schedule) makes it due.
    type: str
  schedule:
    description: A five-field cron expression in UTC; nothing is done while the newest slot has a passed verification.
    type: str
  decryption_key:
    description: The path of a secret key file on the host, or V(keyring) for the keyring of C(gpg).
    type: str
attributes:
  idempotent:
    description: With O(schedule), nothing is verified twice for a slot. Without it every call verifies.
    support: partial
    details: Idempotent with O(schedule) only.
seealso:
  - module: runbook.ops.backup
"""

EXAMPLES = r"""
- name: Verify the newest backup of a database now
  runbook.ops.restore_verification:
    system: erni
    database:
      engine: postgresql
      name: erni_agents
      checks:
        - {table: conversations, rows: ">=1"}
        - {table: messages, rows: source}
        - {table: messages, newest: created_at, within: 24h}
        - {extension: pg_trgm}
      rto: 4h
    stores:
      - {type: local, path: /backups}
      - {type: s3, bucket: erni-agents-backups, region: eu-central-1}
"""

RETURN = r"""
actions:
  description: What was, or in check mode would be, done and why.
  returned: always
  type: list
  elements: dict
verification:
  description: The record, as written beside the backup; null when nothing was due and in check mode.
  returned: always
  type: dict
recorded:
  description: For each store that holds the backup, what was recorded there, or why nothing was.
  returned: always
  type: dict
rto_met:
  description: Whether the restore was within the RTO; null where none is declared or nothing was restored.
  returned: always
  type: bool
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runbook.ops.plugins.module_utils import _arguments as arguments
from ansible_collections.runbook.ops.plugins.module_utils._description import (
    decryptor_of,
    engine_of,
    objectives_of,
    runtime_of,
    schedule_of,
    scope_of,
    stores_of,
)
from ansible_collections.runbook.ops.plugins.module_utils._errors import RunbookError
from ansible_collections.runbook.ops.plugins.module_utils._protect.verification import VerificationJob, rto_met
from ansible_collections.runbook.ops.plugins.module_utils._records import check_id, utc_now
from ansible_collections.runbook.ops.plugins.module_utils._result import result_of

ARGUMENT_SPEC = {
    "system": arguments.SYSTEM,
    "runtime": arguments.RUNTIME,
    "database": arguments.ONE_DATABASE,
    "stores": arguments.STORES,
    "id": {"type": "str"},
    "schedule": {"type": "str"},
    "decryption_key": {"type": "str", "no_log": False},
    "work_dir": arguments.WORK_DIR,
    "cache_dir": arguments.CACHE_DIR,
}


def build(params: dict[str, Any]) -> VerificationJob:
    """The job that the parameters describe; everything wrong with them is said here."""
    database = params["database"]
    objectives_of("database", database)
    return VerificationJob(
        scope=scope_of("database", params["system"], database),
        engine=engine_of("database", database, runtime_of(params["runtime"]), params["work_dir"]),
        stores=stores_of(params["stores"]),
        wanted=params["id"] and check_id("id", params["id"]),
        schedule=schedule_of("schedule", params["schedule"]),
        work_dir=params["work_dir"],
        cache_dir=params["cache_dir"],
        decryptor=decryptor_of("decryption_key", params["decryption_key"]),
    )


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        job = build(module.params)
        target, actions = job.plan(utc_now(), remember=not module.check_mode)
        outcome = None if target is None or module.check_mode else job.run(target)
        rto = objectives_of("database", module.params["database"]).rto
    except RunbookError as error:
        module.fail_json(msg=str(error))
    verdict = outcome and outcome.verification
    result = result_of(
        actions,
        verification=verdict and verdict.to_dict(),
        recorded=dict(outcome.recorded) if outcome else {},
        rto_met=rto_met(verdict, rto) if verdict else None,
    )
    if verdict and not verdict.passed:
        reasons = ". ".join(
            str(reason).rstrip(".") for reason in (verdict.reason, *(outcome.errors if outcome else ()))
        )
        module.fail_json(msg=f"Backup {verdict.id} of {job.scope} failed its verification: {reasons}.", **result)
    if outcome and outcome.errors:
        module.fail_json(msg=" ".join(outcome.errors), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
