# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the description of a document archive."""

from __future__ import annotations

from ansible_collections.runbook.ops.plugins.doc_fragments.store import SUBOPTIONS

_HEAD = r"""
options:
  archive:
    description: The document archive, an inventory's C(runbook_archive).
    type: dict
    required: true
    suboptions:
      database:
        description: The PostgreSQL database that holds the index.
        type: dict
        required: true
        suboptions:
          name:
            description: The database's name.
            type: str
            required: true
          service:
            description: The service of the runtime that it runs in; empty for the runtime V(local).
            type: str
            default: ""
          host:
            description: Where the server listens.
            type: str
          port:
            description: The server's TCP port.
            type: int
          user:
            description: The account to connect as. Verifying needs C(SELECT) on the table, rebuilding C(INSERT) and C(DELETE).
            type: str
          password:
            description: Its password.
            type: str
      table:
        description: The table of the index, with its schema and a dot before it where that is not found by itself.
        type: str
        required: true
      columns:
        description: What three columns of it are called.
        type: dict
        required: true
        suboptions:
          key:
            description: The object's key, relative to O(archive.objects).
            type: str
            required: true
          size:
            description: The object's bytes.
            type: str
            required: true
          checksum:
            description: The content's checksum, in hexadecimal digits or as C(bytea).
            type: str
            required: true
      checksum:
        description: What kind of checksum that is. A listing of a bucket holds V(md5) alone.
        type: str
        default: sha256
        choices: [md5, sha1, sha256, sha512]
      objects:
        description: Where the objects lie, a bucket (V(s3)) or a directory (V(local)), declared as a store is.
        type: dict
        required: true
        suboptions:
"""

_SOURCES = r"""
      sources:
        description: Where copies of the objects lie under the same keys, the nearest first; read only.
        type: list
        elements: dict
        default: []
        suboptions:
"""


def _indented(text: str) -> str:
    return "".join(f"          {line}\n" for line in text.strip().splitlines())


class ModuleDocFragment:
    """C(DOCUMENTATION) for the modules of the archive."""

    DOCUMENTATION: str = _HEAD + _indented(SUBOPTIONS) + _SOURCES.lstrip("\n") + _indented(SUBOPTIONS)
