#!/usr/bin/python
# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_retention
short_description: Keep the backups that a policy names, delete the rest, and say why
version_added: 1.0.0
description:
  - Plans each scope in each store (grandfather-father-son, GFS) and gives the reason for every backup kept or deleted;
    the plan is the same in check mode and for real.
  - Windows count back from the newest good backup, so a stalled or failing job never empties a store.
  - Only complete backups of format 1 are counted and touched. What killed runs left is swept once its lease has expired.
  - While a scope has a record that is unreadable or dated in the future, nothing is deleted there, and the module fails after
    the other scopes are done.
author: The runbook.ops contributors (!UNKNOWN)
extends_documentation_fragment:
  - runbook.ops.attributes
  - runbook.ops.system
  - runbook.ops.system.retention
  - runbook.ops.system.cache_dir
  - runbook.ops.store.many
options:
  databases:
    description: Only the scopes of these, an inventory's C(runbook_databases); every scope of the system without it.
    type: list
    elements: dict
    suboptions:
      engine:
        description: Its engine.
        type: str
        required: true
      name:
        description: Its name, exactly; never a prefix.
        type: str
        required: true
      policy:
        description: Rules of its own, in the place of O(policy).
        type: dict
  max_delete:
    description: The most that one run may delete of a scope in a store, a share such as V(50%) or a count.
    type: str
    default: 50%
attributes:
  idempotent:
    description: A second run has nothing to do.
    support: full
seealso:
  - module: runbook.ops.backup_info
"""

EXAMPLES = r"""
- name: Keep 30 days, 90 days of weeks and a year of months, locally and off-site
  runbook.ops.backup_retention:
    stores:
      - {type: local, path: /backups}
      - {type: s3, bucket: erni-agents-backups, region: eu-central-1}
    system: erni
    policy:
      daily: {within: 30d}
      weekly: {within: 90d, storage_class: GLACIER}
      monthly: {within: 365d, select: oldest, storage_class: DEEP_ARCHIVE}
    keep_last_good: 1
    keep_labelled: 30d
    max_delete: 50%
"""

RETURN = r"""
plan:
  description: One plan for each scope and store, newest backup first; C(refused) says why nothing is deleted there.
  returned: always
  type: list
  elements: dict
  sample:
    - store: local:/backups
      system: erni
      engine: postgresql
      database: erni_agents
      keep:
        - id: 20260301T020000Z-5f3a9c1e
          reasons: [daily 2026-03-01, newest, last good]
          storage_class: null
          until: "2026-03-31T02:00:00Z"
      delete: [{id: 20260101T020000Z-0a1b2c3d, reasons: [no rule keeps it]}]
      transition: []
      swept: []
      refused: null
actions:
  description: The same as flat sentences, one for each deletion, transition and sweep.
  returned: always
  type: list
  elements: dict
freed_bytes:
  description: Bytes confirmed gone; in check mode what the plan would free.
  returned: always
  type: int
kept_bytes:
  description: Bytes of the backups that are kept.
  returned: always
  type: int
errors:
  description: Refusals and failures, one sentence each.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runbook.ops.plugins.module_utils import _arguments as arguments
from ansible_collections.runbook.ops.plugins.module_utils._description import policies_of, stores_of
from ansible_collections.runbook.ops.plugins.module_utils._errors import RunbookError
from ansible_collections.runbook.ops.plugins.module_utils._protect.prune import PruneJob, prune
from ansible_collections.runbook.ops.plugins.module_utils._records import check_name, utc_now
from ansible_collections.runbook.ops.plugins.module_utils._result import result_of

DATABASE = {
    "engine": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "policy": {"type": "dict"},
}

ARGUMENT_SPEC = {
    "system": arguments.SYSTEM,
    "databases": {"type": "list", "elements": "dict", "options": DATABASE},
    "stores": arguments.STORES,
    **arguments.RETENTION,
    "max_delete": {"type": "str", "default": "50%"},
    "cache_dir": arguments.CACHE_DIR,
}


def build(params: dict[str, Any]) -> list[PruneJob]:
    """The jobs that the parameters describe, one for each database; everything wrong with them is said here."""
    stores = stores_of(params["stores"])
    return [
        PruneJob(
            system=check_name("system", params["system"]),
            engine=database and check_name(f"databases[{index}].engine", database["engine"]),
            database=database and check_name(f"databases[{index}].name", database["name"]),
            stores=stores,
            policies=policies_of(params, f"databases[{index}]", database),
            cache_dir=params["cache_dir"],
        )
        for index, database in enumerate([None] if params["databases"] is None else params["databases"])
    ]


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        jobs = build(module.params)
    except RunbookError as error:
        module.fail_json(msg=str(error))
    pruned, failures = prune(jobs, utc_now(), check=module.check_mode)
    errors = failures + [error for scope in pruned for error in scope.errors]
    result = result_of(
        [action for scope in pruned for action in scope.actions()],
        plan=[scope.to_dict() for scope in pruned],
        freed_bytes=sum(scope.freed for scope in pruned),
        kept_bytes=sum(scope.kept for scope in pruned),
        errors=errors,
    )
    if errors:
        module.fail_json(msg=" ".join(errors), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
