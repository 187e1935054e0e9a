# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the description of a store."""

from __future__ import annotations

SUBOPTIONS = r"""
type:
  description: The kind of store.
  type: str
  required: true
  choices: [local, s3]
path:
  description: The root directory of a V(local) store; made at the first backup.
  type: path
bucket:
  description: The bucket of an V(s3) store.
  type: str
prefix:
  description: What every key in the bucket begins with.
  type: str
  default: ""
region:
  description: The bucket's region.
  type: str
endpoint_url:
  description: The S3 API's address, where it is not Amazon's.
  type: str
profile:
  description: A named profile of the AWS configuration on the host.
  type: str
access_key:
  description: The access key's id; without it the usual AWS sources (environment, profile, instance role) are asked.
  type: str
secret_key:
  description: The secret access key.
  type: str
session_token:
  description: The session token of temporary credentials.
  type: str
aws_ca_bundle:
  description: A file of CA certificates to trust.
  type: path
validate_certs:
  description: Whether TLS certificates are checked.
  type: bool
  default: true
storage_class:
  description: The storage class new artefacts are written with; records are always C(STANDARD).
  type: str
policy:
  description: Retention rules for this store alone, in place of those of the system or the database.
  type: dict
"""


def _option(head: str) -> str:
    return "options:\n" + head + "".join(f"      {line}\n" for line in SUBOPTIONS.strip().splitlines())


class ModuleDocFragment:
    """C(DOCUMENTATION) for one, C(MANY) for a list of them."""

    DOCUMENTATION: str = _option(r"""  store:
    description: The store, one entry of an inventory's C(runbook_stores).
    type: dict
    required: true
    suboptions:
""")

    MANY: str = _option(r"""  stores:
    description: The stores, an inventory's C(runbook_stores); the first is the primary, the others receive copies.
    type: list
    elements: dict
    required: true
    suboptions:
""")
