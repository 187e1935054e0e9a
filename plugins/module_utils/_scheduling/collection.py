# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's own files, packed where Ansible runs and unpacked on a host under a digest of what is in them."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Iterator

PARTS = (
    "LICENSE",
    "MANIFEST.json",
    "README.md",
    "galaxy.yml",
    "meta",
    "playbooks",
    "plugins",
    "requirements.txt",
    "roles",
)
"""What of a checkout, or of an installed collection, is needed to run it."""

_PLACE = os.path.join("ansible_collections", "runbook", "ops")


def pack(root: str) -> bytes:
    """A compressed tar of the collection in ``root``: the same bytes for the same files, whoever has them."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w") as tar,
    ):
        for path in sorted(found for part in PARTS for found in _files(os.path.join(root, part))):
            with open(path, "rb") as file:
                content = file.read()
            entry = tarfile.TarInfo(os.path.join(_PLACE, os.path.relpath(path, root)))
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _files(path: str) -> Iterator[str]:
    if os.path.isfile(path):
        yield path
    for directory, directories, names in os.walk(path):
        directories[:] = [name for name in directories if name != "__pycache__" and not name.startswith(".")]
        yield from (
            os.path.join(directory, name) for name in names if not name.startswith(".") and not name.endswith(".pyc")
        )


def digest_of(packed: bytes) -> str:
    """Of the files, not of how they were compressed."""
    return hashlib.sha256(gzip.decompress(packed)).hexdigest()[:16]


def unpack(packed: bytes, target: str) -> None:
    """``target`` has the whole collection or is not there; what a killed run began is done anew."""
    partial = f"{target}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(partial)
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        for entry in tar:
            content, path = tar.extractfile(entry), os.path.join(partial, entry.name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(content.read() if content else b"")
    os.rename(partial, target)
