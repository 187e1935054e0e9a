# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove a backup by restoring it into a scratch place, and record the verdict beside it in each store."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from .._catalog import ScopeListing, StoredBackup, read_scope
from .._checks import unanswered
from .._cipher.base import Decryptor
from .._engine.base import Engine
from .._errors import Damaged, InputError, StoreError
from .._lock import scope_lock
from .._pipeline import StoredArtefacts
from .._records import MANIFEST, VERIFICATION, CheckResult, Manifest, Scope, Verification, encode, format_time, utc_now
from .._result import Action
from .._schedule import due_since
from .._scratch import scratch_directory
from .._store.base import ARCHIVE_CLASSES, Store


@dataclass(frozen=True)
class Target:
    """The backup to verify, and the stores that hold a readable copy of it, in the description's order."""

    manifest: Manifest
    stores: tuple[Store, ...]


@dataclass(frozen=True)
class Outcome:
    """The verdict, and what became of it in each store (label -> recorded verdict or why none was recorded)."""

    verification: Verification
    recorded: dict[str, str]
    errors: list[str]


def verification_due(listings: Sequence[ScopeListing], schedule: str, now: datetime) -> str | None:
    """Why a verification is due now, or ``None``: judged by the newest passed verification in any store."""
    passed = [
        b.verification.verified_at for listing in listings for b in listing.backups if b.verification and b.passed
    ]
    slot = due_since(schedule, max(passed, default=None), now)
    if slot is None:
        return None
    return f"the slot of {format_time(slot)} has no passed verification yet" if passed else "no backup was verified yet"


def choose_target(copies: Sequence[tuple[Store, ScopeListing]], wanted: str | None, now: datetime) -> Target | None:
    """Pure: the backup asked for by id, else the newest that has not failed; only where it can be read."""
    readable: dict[str, tuple[Manifest, list[Store]]] = {}
    for store, listing in copies:
        for backup in listing.backups if wanted else listing.good(now):
            if backup.storage_class not in ARCHIVE_CLASSES and wanted in (None, backup.id):
                readable.setdefault(backup.id, (backup.manifest, []))[1].append(store)
    if not readable:
        return None
    manifest, stores = max(readable.values(), key=lambda found: (found[0].started_at, found[0].id))
    return Target(manifest, tuple(stores))


@dataclass
class VerificationJob:
    """Everything one verification needs; ``wanted`` is an id that was asked for."""

    scope: Scope
    engine: Engine
    stores: Sequence[Store]
    wanted: str | None
    schedule: str | None
    work_dir: str
    cache_dir: str
    decryptor: Decryptor | None = None
    copies: Sequence[tuple[Store, ScopeListing]] = ()

    def plan(self, now: datetime, *, remember: bool) -> tuple[Target | None, list[Action]]:
        """What to verify now and why; nothing while the newest slot has a passed verification."""
        self.copies = [
            (store, read_scope(store, self.scope, self.cache_dir, remember=remember)) for store in self.stores
        ]
        reason = self._reason(now)
        if reason is None:
            return None, []
        target = choose_target(self.copies, self.wanted, now)
        if target is None:
            raise InputError(
                f"There is no {f'backup {self.wanted}' if self.wanted else 'good backup'} of {self.scope} that can be read in "
                f"{', '.join(store.label for store in self.stores)}: take one, or restore it from its archive class first."
            )
        if self._method(target.manifest) == "checksum":
            reason += "; only its bytes will be compared, as the backup is encrypted and no decryption key is given"
        return target, [Action("verify", f"{target.manifest.path} from {target.stores[0].label}", reason)]

    def _method(self, manifest: Manifest) -> str:
        """Without a key, all that can be proved is that the bytes are those that were written."""
        return "checksum" if manifest.encrypted and self.decryptor is None else "restore"

    def _reason(self, now: datetime) -> str | None:
        if self.wanted or not self.schedule:
            return "asked for"
        return verification_due([listing for _store, listing in self.copies], self.schedule, now)

    def run(self, target: Target) -> Outcome:
        """Restore it, judge it, record the verdict in every store. A damaged copy gives way to the next store's."""
        with scope_lock(self.work_dir, "verification", self.scope):
            verdicts: dict[str, Verification] = {}
            errors: list[str] = []
            for store in target.stores:
                try:
                    verdict = verdicts[store.label] = self._verify(store, target.manifest)
                except StoreError as error:
                    errors.append(str(error))
                    continue
                if verdict.passed or verdict.checks:
                    break  # a failed check speaks of the backup itself, not of this copy's bytes
            if not verdicts:
                raise StoreError(" ".join(errors))
            if not verdict.passed:
                errors += [other.reason or "" for other in verdicts.values() if other is not verdict]
            outcome = Outcome(verdict, {}, errors)
            for store, listing in self.copies:
                for backup in listing.backups:
                    if backup.id == target.manifest.id:
                        self._note(outcome, store, backup, verdicts.get(store.label), target.manifest)
            return outcome

    def _note(
        self, outcome: Outcome, store: Store, backup: StoredBackup, own: Verification | None, manifest: Manifest
    ) -> None:
        """Record in one store; a store that cannot be read or written keeps nobody else from the verdict."""
        try:
            outcome.recorded[store.label] = self._record(outcome, store, backup, own, manifest)
        except StoreError as error:
            outcome.recorded[store.label] = f"not recorded: {error}"
            outcome.errors.append(f"The verdict was not recorded in {store.label}: {error}")

    def _verify(self, store: Store, manifest: Manifest) -> Verification:
        reader = StoredArtefacts(store, manifest, self.decryptor)
        method = self._method(manifest)
        verdict = Verification(manifest.id, utc_now(), False, method, store.label)
        try:
            if method == "checksum":
                _drain(reader)
                return replace(verdict, passed=True, verified_at=utc_now())
            with (
                scratch_directory(self.work_dir) as directory,
                self.engine.scratch(reader, directory) as place,
            ):
                started = time.monotonic()
                self.engine.restore(reader, place)
                seconds = round(time.monotonic() - started, 2)
                checks = tuple(self.engine.verify(reader, place))
                if error := unanswered(manifest.path, checks):
                    raise error
                return replace(
                    verdict, passed=all(check.passed for check in checks), verified_at=utc_now(),
                    restore_seconds=seconds, server_version=place.server_version, checks=checks,
                    reason=_failed(checks),
                )  # fmt: skip
        except Damaged as error:
            return replace(verdict, verified_at=utc_now(), reason=str(error))

    def _record(
        self, outcome: Outcome, store: Store, backup: StoredBackup, own: Verification | None, manifest: Manifest
    ) -> str:
        """Write a store's record: its own verdict, or the decisive one once its bytes are proved to be the same.

        A damaged copy beside one that was proved is an error too: whoever reads only that the run went well would count on both.
        """
        decisive = outcome.verification
        if own is None:
            if backup.storage_class in ARCHIVE_CLASSES:
                return f"not recorded: archived in {backup.storage_class}, its bytes cannot be read"
            own = decisive
            try:
                _drain(StoredArtefacts(store, manifest))  # the verified one's: the same id may hold other bytes
            except Damaged as error:
                own = replace(decisive, passed=False, method="checksum", restored_from=store.label,
                              restore_seconds=None, checks=(), reason=str(error))  # fmt: skip
        store.get(
            f"{backup.manifest.path}/{MANIFEST}"
        )  # NotFound when a prune took the backup meanwhile: no record then
        store.put(f"{backup.manifest.path}/{VERIFICATION}", encode(own.to_dict()))
        if decisive.passed and not own.passed:
            outcome.errors.append(f"{own.reason} The copy in {decisive.restored_from} was proved good.")
        return "passed" if own.passed else "failed"


def _drain(reader: StoredArtefacts) -> None:
    for name in reader.names():
        for _data in reader.stored(name):
            pass


def _failed(checks: Sequence[CheckResult]) -> str | None:
    failed = [f"{check.name} is {check.observed}, expected {check.expected}" for check in checks if not check.passed]
    return "; ".join(failed) or None


def rto_met(verification: Verification, rto: timedelta | None) -> bool | None:
    """Whether the restore took no longer than the recovery time objective; ``None`` where nothing was restored or declared."""
    if rto is None or verification.restore_seconds is None:
        return None
    return verification.restore_seconds <= rto.total_seconds()
