#!/usr/bin/python
# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: archive_verification
short_description: Compare a document archive with its index
version_added: 1.0.0
description:
  - Tells missing, damaged and extra objects apart, all of them, whatever their number; nothing is written anywhere.
  - V(quick) takes list pages and nothing more, so it compares sizes, and MD5 checksums where a listing holds them. V(deep) reads every
    object and compares its checksum.
  - What does not fit is looked at a second time, so that what the application stores meanwhile is not called damaged.
  - What is missing, damaged or unreadable is told, and is no failure of the module. A place or an index that does not answer is.
author: The runbook.ops contributors (!UNKNOWN)
extends_documentation_fragment:
  - runbook.ops.attributes.info
  - runbook.ops.system.runtime
  - runbook.ops.archive
options:
  mode:
    description: How closely to look.
    type: str
    choices: [quick, deep]
    default: quick
  threads:
    description: How many objects are read at the same time.
    type: int
    default: 8
requirements:
  - psycopg
  - boto3 (for buckets)
  - obstore (for buckets that are not Amazon's own)
notes:
  - Progress is told to the host's system log every ten seconds.
seealso:
  - module: runbook.ops.archive_restore
"""

EXAMPLES = r"""
- name: See whether every document is there, by the list pages alone
  runbook.ops.archive_verification:
    archive:
      database: {name: neuroerp, host: db.valero.com, user: auditor, password: "{{ lookup('ansible.builtin.env', 'AUDITOR_PASSWORD') }}"}
      table: documents
      columns: {key: storage_key, size: size_bytes, checksum: sha256}
      objects: {type: s3, bucket: neuroerp-archive, region: eu-central-1}
"""

RETURN = r"""
report:
  description:
    - What was found. C(counts) are of everything; the lists of C(missing), C(damaged), C(contradictory), C(unreadable), C(changing) and
      C(extra) name the first thousand each, with the reason.
    - C(sound) says whether every row has its object, as far as the mode can tell; C(notes) say what it cannot.
  returned: always
  type: dict
actions:
  description: Nothing; a verification changes nothing.
  returned: always
  type: list
  elements: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.runbook.ops.plugins.module_utils import _arguments as arguments
from ansible_collections.runbook.ops.plugins.module_utils._archive.declared import Archive, archive_of
from ansible_collections.runbook.ops.plugins.module_utils._archive.verify import THREADS, Verification
from ansible_collections.runbook.ops.plugins.module_utils._description import runtime_of
from ansible_collections.runbook.ops.plugins.module_utils._errors import InputError, RunbookError
from ansible_collections.runbook.ops.plugins.module_utils._result import result_of

ARGUMENT_SPEC = {
    "runtime": arguments.RUNTIME,
    "archive": arguments.ARCHIVE,
    "mode": {"type": "str", "default": "quick", "choices": ["quick", "deep"]},
    "threads": {"type": "int", "default": THREADS},
}


def build(params: dict[str, Any]) -> Archive:
    """The archive that the parameters describe; everything wrong with them is said here."""
    if not 0 < params["threads"] <= 64:
        raise InputError(f"threads is {params['threads']}: write a number from 1 to 64.")
    return archive_of("archive", params["archive"], runtime_of(params["runtime"]))


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        archive = build(module.params)
        deep = module.params["mode"] == "deep"
        report = Verification(archive, deep=deep, threads=module.params["threads"], tell=module.log).run()
    except RunbookError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result_of([], report=report.to_dict()))


if __name__ == "__main__":
    main()
