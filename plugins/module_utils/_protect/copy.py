# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copy backups from the primary store to the others, byte for byte under the same id, confirmed on the far side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from .._catalog import Leased, ScopeListing, StoredBackup, read_scope
from .._errors import Busy, RunbookError
from .._lock import scope_lock
from .._pipeline import StoredArtefacts
from .._policy import Policy
from .._records import HOLD, VERIFICATION, Manifest, Scope, encode, format_time, utc_now
from .._result import Action
from .._retention import Backup, plan
from .._schedule import newest_slot
from .._store.base import Store
from .publication import left_behind, publishing, sweep


@dataclass(frozen=True)
class CopyPlan:
    """What one destination lacks and its policy would keep, oldest first, and why it is copied now."""

    destination: Store
    backups: tuple[StoredBackup, ...]
    actions: tuple[Action, ...]


def wanted_copies(
    source: ScopeListing, destination: ScopeListing, policy: Policy, schedule: str | None, now: datetime,
    expected: Sequence[Manifest] = (),
) -> list[Manifest]:  # fmt: skip
    """Pure: what is to be copied now, oldest first.

    A backup is copied when the destination lacks it, the destination's own policy would keep it, and the schedule has
    named a moment since it was finished. ``expected`` are backups that check mode says would have been taken by now.
    """
    there = {backup.id for backup in destination.backups}
    missing = {backup.id: backup.for_planning() for backup in source.good(now) if backup.id not in there}
    manifests = {backup.id: backup.manifest for backup in source.backups}
    for manifest in expected:
        manifests.setdefault(manifest.id, manifest)
        missing.setdefault(manifest.id, Backup(manifest.id, manifest.started_at, manifest.label))
    union = [backup.for_planning() for backup in destination.backups] + [
        b for b in missing.values() if b.id not in there
    ]
    kept = {verdict.backup.id for verdict in plan(union, policy, now).keep}
    due = newest_slot(schedule, now) if schedule else None
    wanted = [manifests[found] for found in missing if found in kept and found not in there]
    wanted = [manifest for manifest in wanted if due is None or manifest.finished_at <= due]
    return sorted(wanted, key=lambda manifest: (manifest.started_at, manifest.id))


@dataclass
class CopyJob:
    """The copies of one scope. ``stores[0]`` is the source; ``policies`` and ``storage_classes`` belong to the stores."""

    scope: Scope
    stores: Sequence[Store]
    policies: Sequence[Policy]
    storage_classes: Sequence[str | None]
    schedule: str | None
    expected: Sequence[Manifest]
    work_dir: str
    cache_dir: str

    def plan(self, now: datetime, *, remember: bool) -> list[CopyPlan]:
        """One plan for each destination."""
        listings = [read_scope(store, self.scope, self.cache_dir, remember=remember) for store in self.stores]
        source = {backup.id: backup for backup in listings[0].backups}
        plans = []
        for store, listing, policy in zip(self.stores[1:], listings[1:], self.policies[1:], strict=True):
            wanted = wanted_copies(listings[0], listing, policy, self.schedule, now, self.expected)
            reason = f"{store.label} lacks it and its policy keeps it"
            actions = tuple(Action("copy", f"{manifest.path} -> {store.label}", reason) for manifest in wanted)
            backups = tuple(source[manifest.id] for manifest in wanted if manifest.id in source)
            plans.append(CopyPlan(store, backups, actions))
        return plans

    def foresee(self, plans: Sequence[CopyPlan]) -> list[str]:
        """A sentence for each copy that a store would refuse, as far as that shows without writing."""
        errors = []
        for target in plans:
            if not target.actions:
                continue
            try:
                target.destination.check(write=True)
            except RunbookError as error:
                errors += [f"{action.object}: {error}" for action in target.actions]
        return errors

    def apply(self, plans: Sequence[CopyPlan]) -> tuple[int, list[str]]:
        """Attempt every copy; the bytes copied and a sentence for each that failed."""
        copied, errors = 0, []
        with scope_lock(self.work_dir, "copy", self.scope):
            classes = {store.label: wanted for store, wanted in zip(self.stores, self.storage_classes, strict=True)}
            for target in plans:
                try:
                    now_there = read_scope(target.destination, self.scope, self.cache_dir, remember=True)
                except RunbookError as error:
                    errors.append(str(error))
                    continue
                copied_meanwhile = {backup.id for backup in now_there.backups}
                for backup in target.backups:
                    if backup.id in copied_meanwhile:
                        continue
                    try:
                        self._make_way(target.destination, now_there.leased, backup)
                        copied += copy_backup(
                            backup, self.stores[0], target.destination, classes[target.destination.label]
                        )
                    except RunbookError as error:
                        errors.append(f"{backup.manifest.path} -> {target.destination.label}: {error}")
        return copied, errors

    def _make_way(self, destination: Store, leases: Sequence[Leased], backup: StoredBackup) -> None:
        """Remove what a killed copy left of the same backup; ``Busy`` while somebody is at work there."""
        for leased in leases:
            if leased.id != backup.id:
                continue
            if not left_behind(leased.lease, utc_now()):
                raise Busy(
                    f"{leased.lease.owner} is at work there (lease until {format_time(leased.lease.expires_at)}): "
                    "let it finish, nothing was touched."
                )
            sweep(destination, self.scope.path, [leased])


def copy_backup(backup: StoredBackup, source: Store, destination: Store, storage_class: str | None) -> int:
    """Copy one backup; returns the bytes copied.

    The source's bytes are proved against the manifest while they pass, and the destination confirms what it received,
    so a passed verification holds for the copy as well: it is written beside it, still naming where it was restored from.
    """
    reader = StoredArtefacts(source, backup.manifest)
    copied = 0
    with publishing(destination, backup.manifest.path) as publication:
        for artefact in backup.manifest.artefacts:
            key = f"{backup.manifest.path}/{artefact.name}"
            with destination.upload(key, size_hint=artefact.size, storage_class=storage_class) as upload:
                for data in reader.stored(artefact.name):
                    upload.write(data)
                    copied += len(data)
                    publication.progress(copied)
                upload.commit()
        publication.publish(backup.manifest, _records_beside(backup))
    return copied


def _records_beside(backup: StoredBackup) -> dict[str, bytes]:
    records: dict[str, bytes] = {}
    if backup.passed and backup.verification is not None:
        records[VERIFICATION] = encode(backup.verification.to_dict())
    if backup.hold is not None:
        until = backup.hold.until
        records[HOLD] = encode(
            {"reason": backup.hold.reason, "until": until and format_time(until), "by": backup.hold.by}
        )
    return records
