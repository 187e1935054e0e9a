# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WHERE backups live: objects by key, published whole or not at all.

Keys are relative to the store's root, with ``/`` between segments. A store knows nothing of databases;
what the keys mean is ``_catalog``'s business. One suite, ``tests/contract/test_store.py``, holds every
implementation to this text.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta

ARCHIVE_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes whose objects cannot be read or copied without a restore request first."""

MINIMUM_DAYS: Mapping[str, int] = {
    "STANDARD_IA": 30,
    "ONEZONE_IA": 30,
    "GLACIER_IR": 90,
    "GLACIER": 90,
    "DEEP_ARCHIVE": 180,
}
"""Days a class is billed for at least (Amazon S3 pricing, "minimum storage duration")."""


@dataclass(frozen=True)
class Entry:
    """One object of a listing. ``etag`` changes whenever the content may have changed; it need not be a digest."""

    key: str
    size: int
    etag: str
    storage_class: str | None = None


@dataclass
class DeleteReport:
    """What a batch delete did: ``freed`` counts only bytes confirmed gone; ``errors`` gives each key's reason."""

    deleted: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    freed: int = 0


class Upload(ABC):
    """An object being written. Invisible to readers until ``commit``; ``abort`` leaves nothing behind."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """The next bytes, of any length."""

    @abstractmethod
    def commit(self) -> None:
        """Publish, after the far side has confirmed the bytes (checksum or read-back). ``StoreError`` if it cannot."""

    @abstractmethod
    def abort(self) -> None:
        """Give up; never raises."""


class Store(ABC):
    """A place for backups: a directory, a bucket.

    ``label`` names it in plans and records: ``local:/backups``, ``s3:bucket/prefix``. Methods raise ``StoreError``
    (``NotFound``, ``Refused``) with the store's label and the key; transient faults are retried inside.
    """

    type: str
    label: str

    @abstractmethod
    def check(self, *, write: bool) -> None:
        """Whether the store is there and usable, without writing anything; one clear ``StoreError`` if not."""

    def begun(self) -> bool:
        """Whether there is something of it yet; else the first write makes it, where a mistyped name says."""
        return True

    @abstractmethod
    def upload(self, key: str, *, size_hint: int, storage_class: str | None = None) -> AbstractContextManager[Upload]:
        """Write a large object. ``size_hint`` (bytes, may be wrong, 0 = unknown) sizes parts. Leaving the context
        without ``commit``, by exception or otherwise, aborts."""

    @abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Write or replace a small record, atomically and durably; STANDARD class where classes exist."""

    @abstractmethod
    def read(self, key: str) -> Iterator[bytes]:
        """An object's bytes in chunks. ``NotFound``; ``Refused`` for an archived object."""

    @abstractmethod
    def get(self, key: str, limit: int = 4 << 20) -> bytes:
        """A small record whole; ``StoreError`` when it is larger than ``limit`` bytes."""

    @abstractmethod
    def entries(self, prefix: str) -> Iterator[Entry]:
        """Every object whose key begins with ``prefix`` (a directory: ends with ``/``, or empty for all), sorted by key."""

    @abstractmethod
    def delete(self, keys: Iterable[str]) -> DeleteReport:
        """Delete many, with all their versions where the store has versions; a key that is not there counts as deleted."""

    @abstractmethod
    def set_storage_class(self, key: str, storage_class: str) -> None:
        """Move an object to a class; ``Unsupported`` where there are none."""

    @abstractmethod
    def free_space(self) -> int | None:
        """Bytes that can still be written, ``None`` where there is no such bound."""

    @abstractmethod
    def sweep(self, prefix: str, older_than: timedelta = timedelta(days=1)) -> list[str]:
        """Remove what killed uploads left under ``prefix`` outside any listing (multipart uploads, partial files)
        and not touched for ``older_than``; returns what was removed."""
