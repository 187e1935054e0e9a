#!/usr/bin/python
# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: archive_restore
short_description: Put back what is missing or damaged in a document archive
version_added: 1.0.0
description:
  - Verifies the archive and restores the objects that are missing or damaged, and no other, from an older version or from
    O(archive.sources), the nearest first.
  - A copy is read whole and must have the size and the checksum of the index before it takes anybody's place. Nothing is ever deleted,
    and what the application writes meanwhile stays.
  - Copies in C(GLACIER) or C(DEEP_ARCHIVE) are requested; a later run restores them when they have come.
  - Optionally rebuilds the index from the objects.
author: The runbook.ops contributors (!UNKNOWN)
extends_documentation_fragment:
  - runbook.ops.attributes
  - runbook.ops.system.runtime
  - runbook.ops.system.work_dir
  - runbook.ops.archive
options:
  mode:
    description: How closely to look for damage, as O(runbook.ops.archive_verification#module:mode).
    type: str
    choices: [quick, deep]
    default: quick
  threads:
    description: How many objects are read at the same time.
    type: int
    default: 8
  wait:
    description: How long to wait for archived copies, such as V(6h). By default a later run goes on.
    type: str
  into_empty:
    description: Believes a place that holds none of the index's objects, as after the loss of everything. Without it that is refused.
    type: bool
    default: false
  rebuild_index:
    description: Adds a row for each object that has none, with the size and checksum that reading it tells. Rows that are there stay.
    type: bool
    default: false
  remove_rows:
    description:
      - With O(rebuild_index), also removes the rows of objects that are gone from every place. A place that cannot be asked, or that is
        empty, proves nothing.
    type: bool
    default: false
  max_remove:
    description: The most rows that one run may remove, a share such as V(10%) or a count. Where more would go, none does.
    type: str
    default: 10%
attributes:
  idempotent:
    description: A second run has nothing to do.
    support: full
requirements:
  - psycopg
  - boto3 (for buckets)
  - obstore (for buckets that are not Amazon's own)
notes:
  - Where a server has no conditional writes, the object is looked at a moment before it is replaced, and RV(restore) says so.
  - With O(wait), check mode predicts the requests, not what will have come in that time.
seealso:
  - module: runbook.ops.archive_verification
"""

EXAMPLES = r"""
- name: Put back what is missing or damaged
  runbook.ops.archive_restore:
    archive:
      database: {name: neuroerp, host: db.valero.com, user: auditor, password: "{{ lookup('ansible.builtin.env', 'AUDITOR_PASSWORD') }}"}
      table: documents
      columns: {key: storage_key, size: size_bytes, checksum: sha256}
      objects: {type: local, path: /data/archives}
      sources:
        - {type: s3, bucket: neuroerp-archive-backup, prefix: latest, region: eu-central-1}
"""

RETURN = r"""
actions:
  description: What was, or in check mode would be, done and why; the first thousand, then one line a kind.
  returned: always
  type: list
  elements: dict
  sample:
    - {action: restore, object: 2025/01/4711.pdf, reason: "there is no object; from s3:neuroerp-archive-backup/latest"}
report:
  description: What the verification found before anything was done, as RV(runbook.ops.archive_verification#module:report).
  returned: always
  type: dict
restore:
  description:
    - C(counts) of what became of everything. Lists of what is C(waiting) for an archive, was C(left) to the application, is C(lost) or
      C(failed), the first thousand each with the reason. C(notes) and C(errors) as sentences.
  returned: always
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runbook.ops.plugins.module_utils import _arguments as arguments
from ansible_collections.runbook.ops.plugins.module_utils._archive.declared import archive_of
from ansible_collections.runbook.ops.plugins.module_utils._archive.restore import Restore, Wishes
from ansible_collections.runbook.ops.plugins.module_utils._archive.verify import THREADS
from ansible_collections.runbook.ops.plugins.module_utils._description import runtime_of
from ansible_collections.runbook.ops.plugins.module_utils._durations import parse_duration
from ansible_collections.runbook.ops.plugins.module_utils._errors import InputError, RunbookError
from ansible_collections.runbook.ops.plugins.module_utils._policy import parse_max_delete
from ansible_collections.runbook.ops.plugins.module_utils._result import result_of

ARGUMENT_SPEC = {
    "runtime": arguments.RUNTIME,
    "archive": arguments.ARCHIVE,
    "mode": {"type": "str", "default": "quick", "choices": ["quick", "deep"]},
    "threads": {"type": "int", "default": THREADS},
    "wait": {"type": "str"},
    "into_empty": {"type": "bool", "default": False},
    "rebuild_index": {"type": "bool", "default": False},
    "remove_rows": {"type": "bool", "default": False},
    "max_remove": {"type": "str", "default": "10%"},
    "work_dir": arguments.WORK_DIR,
}


def build(params: dict[str, Any], *, check: bool, tell: Any) -> Restore:
    """The run that the parameters describe; everything wrong with them is said here."""
    if not 0 < params["threads"] <= 64:
        raise InputError(f"threads is {params['threads']}: write a number from 1 to 64.")
    wishes = Wishes(
        deep=params["mode"] == "deep",
        wait=parse_duration("wait", params["wait"]).total_seconds() if params["wait"] else 0.0,
        into_empty=params["into_empty"],
        rebuild=params["rebuild_index"],
        remove_rows=params["remove_rows"],
        max_remove=parse_max_delete("max_remove", params["max_remove"], "rows"),
    )
    archive = archive_of("archive", params["archive"], runtime_of(params["runtime"]))
    return Restore(archive, wishes, params["work_dir"], check=check, threads=params["threads"], tell=tell)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        outcome = build(module.params, check=module.check_mode, tell=module.log).run()
    except RunbookError as error:
        module.fail_json(msg=str(error))
    result = result_of(outcome.actions(), report=outcome.report.to_dict(), restore=outcome.to_dict())
    if outcome.errors:
        module.fail_json(msg=" ".join(outcome.errors), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
