# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publishing and removing backup directories so that a kill at any point leaves nothing that looks good.

Writing: lease, artefacts, manifest, lease removed. Deleting: lease, manifest, the rest, lease removed. A directory
with a lease and no manifest is swept once its lease has expired (``docs/backup_format.md``).
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

from .._catalog import Leased, StoredBackup
from .._errors import NotFound, RunbookError, StoreError, Unreadable
from .._records import LEASE, MANIFEST, Lease, Manifest, encode, parse_lease, utc_now
from .._store.base import DeleteReport, Store

LEASE_TIME = timedelta(hours=1)
"""How long a killed writer's leavings stay untouched."""

RENEWAL = timedelta(seconds=15)
"""How often a living writer says that it lives, and how far it has come."""

_WRITERS = 8


def _owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


class Publication:
    """One backup directory being written. ``progress`` keeps its lease alive; ``publish`` makes it a backup."""

    def __init__(self, store: Store, directory: str) -> None:
        self.store = store
        self.directory = directory
        self._owner = f"{_owner()}:{secrets.token_hex(4)}"
        self._lease_key = f"{directory}/{LEASE}"
        self._renew_at = 0.0  # by the monotonic clock: one that is stepped back must not stop renewals
        self.progress(0)

    def progress(self, done_bytes: int) -> None:
        """Called while bytes flow."""
        if time.monotonic() >= self._renew_at:
            lease = Lease(self._owner, "write", utc_now() + LEASE_TIME, done_bytes)
            self.store.put(self._lease_key, encode(lease.to_dict()))
            self._renew_at = time.monotonic() + RENEWAL.total_seconds()

    def publish(self, manifest: Manifest, records: dict[str, bytes] | None = None) -> None:
        """Put the records that belong beside the manifest, then the manifest, then let the lease go."""
        self._require_whole(manifest)
        for name, data in (records or {}).items():
            self.store.put(f"{self.directory}/{name}", data)
        self.store.put(f"{self.directory}/{MANIFEST}", encode(manifest.to_dict()))
        with suppress(StoreError):  # the backup is good; an old lease beside a manifest means nothing
            self.store.delete([self._lease_key])

    def _require_whole(self, manifest: Manifest) -> None:
        """A writer that slept past its lease may have been swept: what is published must be there, and ours."""
        sizes = {entry.key: entry.size for entry in self.store.entries(f"{self.directory}/")}
        lost = [a.name for a in manifest.artefacts if sizes.get(f"{self.directory}/{a.name}") != a.size]
        if lost or not self._ours():
            raise StoreError(
                f"{self.directory} in {self.store.label} was taken from this run, which was silent for longer than its lease"
                f"{' (' + lost[0] + ' is gone)' if lost else ''}: nothing was published, run it again."
            )

    def _ours(self) -> bool:
        try:
            return parse_lease(self.store.get(self._lease_key), self.directory).owner == self._owner
        except (NotFound, Unreadable):
            return False

    def withdraw(self) -> None:
        """Remove everything that was written; what cannot be removed keeps its lease and is swept later.

        A directory that has a manifest by now is a backup, and one whose lease is another's is at work: both stay.
        """
        with suppress(RunbookError):
            if not self._ours():
                return
            self.store.sweep(f"{self.directory}/", older_than=timedelta(0))
            keys = {entry.key for entry in self.store.entries(f"{self.directory}/")} - {self._lease_key}
            if f"{self.directory}/{MANIFEST}" not in keys and not self.store.delete(sorted(keys)).errors:
                self.store.delete([self._lease_key])


@contextmanager
def publishing(store: Store, directory: str) -> Iterator[Publication]:
    """Write a backup directory; left by an exception, it is withdrawn."""
    publication = Publication(store, directory)
    try:
        yield publication
    except BaseException:
        publication.withdraw()
        raise


def remove(store: Store, backups: Sequence[StoredBackup]) -> DeleteReport:
    """Delete whole backups in batches. ``deleted`` and ``errors`` of the report speak of backup ids."""
    lease = encode(Lease(_owner(), "delete", utc_now() + LEASE_TIME).to_dict())
    leases = {backup.id: f"{backup.manifest.path}/{LEASE}" for backup in backups}
    with ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(lambda key: store.put(key, lease), leases.values()))
    manifests = {f"{backup.manifest.path}/{MANIFEST}": backup.id for backup in backups}
    first = store.delete(manifests)
    errors = {manifests[key]: reason for key, reason in first.errors.items()}
    rest = {key: b.id for b in backups if b.id not in errors for key in b.keys if key not in manifests}
    second = store.delete(key for key, backup in rest.items() if key != leases[backup])
    errors.update({rest[key]: reason for key, reason in second.errors.items()})
    # What lost its manifest but not all the rest keeps its lease, so that the sweep tries again.
    unfinished = {backup.id for backup in backups if backup.id in errors and not _has_manifest(store, backup)}
    store.delete(key for backup, key in leases.items() if backup not in unfinished)
    deleted = [backup.id for backup in backups if backup.id not in errors]
    return DeleteReport(deleted, errors, first.freed + second.freed)


def _has_manifest(store: Store, backup: StoredBackup) -> bool:
    try:
        return bool(store.get(f"{backup.manifest.path}/{MANIFEST}"))
    except StoreError:
        return False


def left_behind(lease: Lease, now: datetime) -> bool:
    """Whether nobody is at work there: the lease has expired, or was a process of this host's that has ended."""
    host, _colon, rest = lease.owner.partition(":")
    pid = rest.partition(":")[0]
    if not lease.live(now):
        return True
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OverflowError, PermissionError):
        pass
    return False


def sweep(store: Store, path: str, stale: Sequence[Leased]) -> DeleteReport:
    """Remove what killed runs left in the scope at ``path``: directories whose writer is gone, and what lies about
    unfinished for a day, such as a record that was being put beside a good backup."""
    report = DeleteReport()
    store.sweep(f"{path}/")
    for leased in stale:
        directory = f"{path}/{leased.id}/"
        store.sweep(directory, older_than=timedelta(0))
        keys = [key for key in leased.keys if not key.endswith(f"/{LEASE}")]
        result = store.delete(keys)
        report.freed += result.freed
        if result.errors:
            report.errors[leased.id] = next(iter(result.errors.values()))
        else:
            store.delete([directory + LEASE])
            report.deleted.append(leased.id)
    return report
