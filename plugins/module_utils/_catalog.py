# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue: what backups a store holds, read from its listing and the small records beside the artefacts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeVar

from . import _retention
from ._errors import NotFound, StoreError, Unreadable
from ._record_cache import RecordCache
from ._records import (
    HOLD,
    LEASE,
    MANIFEST,
    VERIFICATION,
    Hold,
    Lease,
    Manifest,
    Scope,
    Verification,
    is_id,
    parse_hold,
    parse_lease,
    parse_manifest,
    parse_verification,
)
from ._store.base import Entry, Store

_Record = TypeVar("_Record")
_RECORDS = (MANIFEST, VERIFICATION, HOLD, LEASE)
_READERS = 8
"""Records read at once: a cold listing of thousands of manifests waits for the network, not for us."""


@dataclass(frozen=True)
class StoredBackup:
    """A backup as it lies in one store."""

    manifest: Manifest
    keys: tuple[str, ...]
    size: int
    storage_class: str | None = None
    verification: Verification | None = None
    hold: Hold | None = None

    @property
    def id(self) -> str:
        return self.manifest.id

    @property
    def failed(self) -> bool:
        """Whether its newest verification failed: it then counts for nothing."""
        return self.verification is not None and not self.verification.passed

    @property
    def passed(self) -> bool:
        return self.verification is not None and self.verification.passed

    def for_planning(self) -> _retention.Backup:
        return _retention.Backup(
            id=self.id,
            started_at=self.manifest.started_at,
            label=self.manifest.label,
            passed=None if self.verification is None else self.verification.passed,
            hold=self.hold,
            storage_class=self.storage_class,
            size=self.size,
        )


class Leased(NamedTuple):
    """A directory with a lease and no manifest: being written or deleted, or left by a run that was killed."""

    id: str
    lease: Lease
    keys: tuple[str, ...]


@dataclass
class ScopeListing:
    """One scope in one store: its backups newest first, and what is not a backup."""

    scope: Scope
    backups: list[StoredBackup] = field(default_factory=list)
    leased: list[Leased] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def good(self, now: datetime) -> list[StoredBackup]:
        """Neither failed nor from the future, newest first."""
        limit = now + _retention.FUTURE_TOLERANCE
        return [backup for backup in self.backups if not backup.failed and backup.manifest.started_at <= limit]

    def stale(self, now: datetime) -> list[Leased]:
        """What killed runs left: the lease has expired."""
        return [leased for leased in self.leased if not leased.lease.live(now)]


class _Directory:
    """The objects of one backup directory, as listed."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}

    @property
    def ours(self) -> bool:
        """With neither manifest nor lease it is somebody else's: never counted, never touched."""
        return MANIFEST in self.entries or LEASE in self.entries

    def records(self) -> list[Entry]:
        return [self.entries[name] for name in _RECORDS if name in self.entries]


def _directories(entries: Iterable[Entry]) -> Iterator[_Directory]:
    """Backup directories of a sorted listing, each as soon as it is complete."""
    current: _Directory | None = None
    for entry in entries:
        path, _slash, name = entry.key.rpartition("/")
        if path.count("/") != 3 or not is_id(path.rpartition("/")[2]):
            continue
        if current is None or current.path != path:
            if current is not None and current.ours:
                yield current
            current = _Directory(path)
        current.entries[name] = entry
    if current is not None and current.ours:
        yield current


class Catalogue:
    """Reads one store. ``cache`` saves reading records again; without one every record is read."""

    def __init__(self, store: Store, cache: RecordCache | None = None) -> None:
        self.store = store
        self._cache = cache

    def scope(self, scope: Scope) -> ScopeListing:
        """One scope, empty when the store has nothing of it."""
        return self.scopes(scope.system, scope.engine, scope.database).get(scope, ScopeListing(scope))

    def scopes(
        self, system: str | None = None, engine: str | None = None, database: str | None = None
    ) -> dict[Scope, ScopeListing]:
        """Every scope found, narrowed exactly; costs the listing's pages plus one read for each record not seen before."""
        prefix = _prefix(system, engine, database)
        directories = list(_directories(self.store.entries(prefix)))
        records = self._read([entry for directory in directories for entry in directory.records()])
        if self._cache is not None:
            self._cache.keep_only(prefix, set(records))
        listings: dict[Scope, ScopeListing] = {}
        for directory in directories:
            scope = Scope(*directory.path.split("/")[:3])
            if (engine and scope.engine != engine) or (database and scope.database != database):
                continue
            _add(listings.setdefault(scope, ScopeListing(scope)), directory, records)
        for listing in listings.values():
            listing.backups.sort(key=lambda backup: (backup.manifest.started_at, backup.id), reverse=True)
        return listings

    def _read(self, entries: Sequence[Entry]) -> dict[str, bytes | Unreadable]:
        known: dict[str, bytes | Unreadable] = {}
        unknown = []
        for entry in entries:
            data = self._cache.get(entry) if self._cache is not None else None
            if data is None:
                unknown.append(entry)
            else:
                known[entry.key] = data
        with ThreadPoolExecutor(_READERS) as pool:
            for entry, found in zip(unknown, pool.map(self._read_one, unknown), strict=True):
                if found is None:
                    continue
                known[entry.key] = found
                if self._cache is not None and isinstance(found, bytes):
                    self._cache.put(entry, found)
        return known

    def _read_one(self, entry: Entry) -> bytes | Unreadable | None:
        try:
            return self.store.get(entry.key)
        except NotFound:
            return None  # deleted since it was listed
        except StoreError as error:
            return Unreadable(str(error))


def read_scopes(
    store: Store, system: str, engine: str | None, database: str | None, cache_dir: str, *, remember: bool
) -> dict[Scope, ScopeListing]:
    """The scopes of a store. Only remote stores are worth a cache; ``remember`` is false in check mode."""
    cache = None if store.type == "local" else RecordCache(cache_dir, store.label)
    found = Catalogue(store, cache).scopes(system, engine, database)
    if cache is not None and remember:
        cache.save()
    return found


def read_scope(store: Store, scope: Scope, cache_dir: str, *, remember: bool) -> ScopeListing:
    """One scope of a store, empty when the store has nothing of it."""
    found = read_scopes(store, scope.system, scope.engine, scope.database, cache_dir, remember=remember)
    return found.get(scope, ScopeListing(scope))


def _prefix(system: str | None, engine: str | None, database: str | None) -> str:
    parts: list[str] = []
    for part in (system, engine, database):
        if not part:
            break
        parts.append(part)
    return "".join(f"{part}/" for part in parts)


def _add(listing: ScopeListing, directory: _Directory, records: dict[str, bytes | Unreadable]) -> None:
    """Sort a directory into its scope's listing; a record that cannot be read is noted, and its backup still counts."""
    path, keys = directory.path, tuple(entry.key for entry in directory.entries.values())

    def read(name: str, parse: Callable[[bytes, str], _Record]) -> _Record | None:
        data = records.get(f"{path}/{name}")
        try:
            if isinstance(data, Unreadable):
                raise data
            return None if data is None else parse(data, path)
        except Unreadable as error:
            listing.unreadable.append(str(error))
            return None

    if f"{path}/{MANIFEST}" in records:
        manifest = read(MANIFEST, parse_manifest)
        if manifest is not None:
            listing.backups.append(
                StoredBackup(
                    manifest=manifest,
                    keys=keys,
                    size=sum(entry.size for entry in directory.entries.values()),
                    storage_class=_class_of(directory, manifest),
                    verification=read(VERIFICATION, parse_verification),
                    hold=read(HOLD, parse_hold),
                )
            )
    else:
        lease = read(LEASE, parse_lease)
        if lease is not None:
            listing.leased.append(Leased(path.rpartition("/")[2], lease, keys))


def _class_of(directory: _Directory, manifest: Manifest) -> str | None:
    """The class of the data artefact: the first of the manifest."""
    for artefact in manifest.artefacts[:1]:
        entry = directory.entries.get(artefact.name)
        return entry.storage_class if entry else None
    return None
