#!/usr/bin/python
# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_info
short_description: List backups, and say what is due
version_added: 1.0.0
description:
  - Reads every store of a system once and returns what backups there are, why each is kept and until when, and which
    backups, copies and verifications are due.
  - Checks the whole description of the system on the way, so it is every role's first step.
  - A store that cannot be reached is named in RV(away) and does not keep the others from being read; nothing is due
    there.
  - Listing costs the store's list pages plus one read for each record not seen before.
author: The runbook.ops contributors (!UNKNOWN)
extends_documentation_fragment:
  - runbook.ops.attributes.info
  - runbook.ops.system
  - runbook.ops.system.runtime
  - runbook.ops.system.retention
  - runbook.ops.system.cache_dir
  - runbook.ops.database.many
  - runbook.ops.store.many
options:
  schedules:
    description: When the system's jobs run, five-field cron expressions in UTC.
    type: dict
    default: {}
    suboptions:
      backup:
        description: Backups, where a database has no schedule of its own.
        type: str
      copy:
        description: Copies to the other stores; without it they are due as soon as something is missing.
        type: str
      verify:
        description: Restore verifications.
        type: str
      prune:
        description: Pruning, which is never due or late; this is for what installs schedules.
        type: str
  newest:
    description: Return only this many of the newest backups of each scope and store in RV(backups); V(0) returns all.
    type: int
    default: 0
  patience:
    description:
      - How long a store may keep us waiting before it counts as away, such as V(3s), with no second try.
      - Without it, a store is waited for as long as a backup would.
    type: str
  metrics_file:
    description: A file of Prometheus gauges on the host, for RV(metrics_current).
    type: path
  encrypts:
    description:
      - Whether backups are taken here, so that a recipient this host has no public key of is a mistake.
      - A key that has expired or was revoked is none, so that it does not stop the backups of other databases.
    type: bool
    default: false
  decryption_key:
    description: What backups are verified with on this host, a secret key's path or V(keyring), which is a mistake where it is not there.
    type: str
seealso:
  - module: runbook.ops.backup
  - module: runbook.ops.backup_retention
"""

EXAMPLES = r"""
- name: What is there, and what is due?
  runbook.ops.backup_info:
    system: erni
    databases: "{{ runbook_databases }}"
    stores: "{{ runbook_stores }}"
    schedules: {backup: "0 2 * * *", verify: "0 4 1 * *"}
    policy:
      daily: {within: 30d}
  register: info
"""

RETURN = r"""
due:
  description: What is due, by job; C(index) is the database's place in O(databases).
  returned: success
  type: dict
  sample:
    backups: [{index: 0, object: postgresql/erni_agents, reason: there is no good backup yet}]
    copies: []
    verifications: []
databases:
  description: One summary for each database, with its newest good backup, verdicts, objectives, next slots and stores.
  returned: success
  type: list
  elements: dict
backups:
  description: One row for each backup in each store, newest first within a scope.
  returned: success
  type: list
  elements: dict
metrics_current:
  description:
    - Whether O(metrics_file) can be read by everybody and says just what RV(databases) say, so that there is no need to write it.
  returned: success
  type: bool
away:
  description: The stores that could not be read; C(index) is the store's place in O(stores).
  returned: success
  type: list
  elements: dict
  sample: [{index: 1, store: "s3:erni-agents-backups", reason: "s3:erni-agents-backups: reaching the bucket was denied."}]
now:
  description: The moment that ages and dues refer to.
  returned: success
  type: str
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runbook.ops.plugins.module_utils import _arguments as arguments
from ansible_collections.runbook.ops.plugins.module_utils._description import (
    decryptor_of,
    engine_of,
    objectives_of,
    policies_of,
    require_known_recipients,
    require_recipients,
    runtime_of,
    schedule_of,
    scope_of,
    stores_of,
)
from ansible_collections.runbook.ops.plugins.module_utils._errors import InputError, RunbookError
from ansible_collections.runbook.ops.plugins.module_utils._protect.report import metrics
from ansible_collections.runbook.ops.plugins.module_utils._protect.status import Schedules
from ansible_collections.runbook.ops.plugins.module_utils._protect.survey import (
    Described,
    doubtful,
    stores_away,
    survey,
)
from ansible_collections.runbook.ops.plugins.module_utils._records import format_time, utc_now
from ansible_collections.runbook.ops.plugins.module_utils._store.base import Store

ARGUMENT_SPEC = {
    "system": arguments.SYSTEM,
    "runtime": arguments.RUNTIME,
    "databases": arguments.DATABASES,
    "stores": arguments.STORES,
    **arguments.RETENTION,
    "schedules": arguments.SCHEDULES,
    "newest": {"type": "int", "default": 0},
    "cache_dir": arguments.CACHE_DIR,
    "patience": {"type": "str"},
    "metrics_file": {"type": "path"},
    "encrypts": {"type": "bool", "default": False},
    "decryption_key": {"type": "str", "no_log": False},
}


def schedules_of(variable: str, declared: dict[str, Any], database: dict[str, Any]) -> Schedules:
    """A database's schedules: its own for backups where it has one."""
    return Schedules(
        backup=schedule_of(f"{variable}.schedule", database["schedule"])
        or schedule_of("schedules.backup", declared.get("backup")),
        copy=schedule_of("schedules.copy", declared.get("copy")),
        verify=schedule_of("schedules.verify", declared.get("verify")),
    )


def build(params: dict[str, Any]) -> tuple[list[Store], list[Described]]:
    """Parse all of it before any store is read; then one function for each database that reads and looks."""
    runtime, stores = runtime_of(params["runtime"]), stores_of(params["stores"], params["patience"])
    schedule_of("schedules.prune", (params["schedules"] or {}).get("prune"))
    decryptor_of("decryption_key", params["decryption_key"])
    described: list[Described] = []
    for number, database in enumerate(params["databases"]):
        variable = f"databases[{number}]"
        engine_of(variable, database, runtime)
        require_recipients(variable, database)
        if params["encrypts"]:
            require_known_recipients(variable, database)
        scope = scope_of(variable, params["system"], database)
        if any(scope == other.scope for other in described):
            raise InputError(
                f"{variable} is a second {scope.engine}/{scope.database}: give each database its own name."
            )
        described.append(
            Described(
                scope,
                policies_of(params, variable, database),
                schedules_of(variable, params["schedules"] or {}, database),
                objectives_of(variable, database),
            )
        )
    return stores, described


def due(databases: list[dict[str, Any]], job: str) -> list[dict[str, Any]]:
    """The databases that a job is due for."""
    return [
        {"index": index, "object": f"{database['engine']}/{database['database']}", "reason": database["due"][job]}
        for index, database in enumerate(databases)
        if database["due"][job]
    ]


def says(path: str | None, text: str) -> bool:
    """Whether there is such a file with just this text, which whoever scrapes it may read."""
    try:
        with open(path or "", encoding="utf-8") as file:
            return os.fstat(file.fileno()).st_mode & 0o444 == 0o444 and file.read() == text
    except (OSError, UnicodeDecodeError):
        return False


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        stores, described = build(module.params)
        statuses = list(survey(stores, described, module.params["cache_dir"], remember=not module.check_mode))
    except RunbookError as error:
        module.fail_json(msg=str(error))
    databases = [status.summary() for status in statuses]
    away = stores_away(statuses)
    for warning in doubtful(module.params["system"], stores, statuses, away):
        module.warn(warning)
    module.exit_json(
        changed=False,
        due={
            "backups": due(databases, "backup"),
            "copies": due(databases, "copy"),
            "verifications": due(databases, "verification"),
        },
        databases=databases,
        backups=[row for status in statuses for row in status.rows(module.params["newest"])],
        metrics_current=says(module.params["metrics_file"], metrics(databases, module.params["system"])),
        away=away,
        now=format_time(utc_now()),
    )


if __name__ == "__main__":
    main()
