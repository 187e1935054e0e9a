# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cache of small records by key and ETag, so that a warm listing reads only what changed."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress

from ._store.base import Entry


class RecordCache:
    """The records of one store seen before. Losing it costs time only; what it holds is no secret."""

    def __init__(self, directory: str, store_label: str) -> None:
        name = hashlib.sha256(store_label.encode()).hexdigest()[:32]
        self._path = os.path.join(directory, f"records-{name}.json")
        self._records: dict[str, tuple[str, str]] = {}
        self._changed = False
        with suppress(OSError, ValueError, TypeError, AttributeError, RecursionError), open(self._path, "rb") as file:
            digest, _newline, body = file.read().partition(b"\n")
            if hashlib.sha256(body).hexdigest().encode() == digest:  # a damaged cache is no cache
                self._records = {key: (etag, text) for key, (etag, text) in json.loads(body).items()}

    def get(self, entry: Entry) -> bytes | None:
        """The record as it was under this very ETag."""
        etag, text = self._records.get(entry.key, ("", ""))
        return text.encode() if etag == entry.etag else None

    def put(self, entry: Entry, data: bytes) -> None:
        with suppress(UnicodeDecodeError):
            self._records[entry.key] = (entry.etag, data.decode())
            self._changed = True

    def keep_only(self, prefix: str, keys: set[str]) -> None:
        """Forget the records under ``prefix`` that are no longer in the store."""
        gone = [key for key in self._records if key.startswith(prefix) and key not in keys]
        for key in gone:
            del self._records[key]
        self._changed = self._changed or bool(gone)

    def save(self) -> None:
        """Write it if anything changed; a cache that cannot be written is not worth failing for."""
        if not self._changed:
            return
        partial = f"{self._path}.{os.getpid()}.partial"
        with suppress(OSError):
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            body = json.dumps(self._records).encode()
            with open(fd, "wb") as file:
                file.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
            os.replace(partial, self._path)
