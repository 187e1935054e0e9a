# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is and what is due, for one database across its stores. Pure, once the stores have been read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .._catalog import ScopeListing, StoredBackup
from .._description import Objectives
from .._policy import Policy
from .._records import Scope, Verification, format_time
from .._retention import FUTURE_TOLERANCE, plan
from .._schedule import next_slot
from .backup import backup_due
from .copy import wanted_copies
from .verification import rto_met, verification_due


@dataclass(frozen=True)
class Schedules:
    """When each job runs, in UTC; what has none runs only when asked for (a copy: as soon as something is missing)."""

    backup: str | None = None
    copy: str | None = None
    verify: str | None = None


@dataclass(frozen=True)
class Shelf:
    """One store's part of a database: its label, what it holds, and the policy that rules there.

    ``away`` says why a store could not be read; its listing is then empty, which means nothing.
    """

    store: str
    listing: ScopeListing
    policy: Policy
    away: str | None = None


@dataclass(frozen=True)
class DatabaseStatus:
    """One database across its stores, the primary first."""

    scope: Scope
    shelves: Sequence[Shelf]
    schedules: Schedules
    objectives: Objectives
    now: datetime

    def due_backup(self) -> str | None:
        if self.schedules.backup is None or self.shelves[0].away:
            return None
        return backup_due(self.shelves[0].listing, self.schedules.backup, self.now)

    def due_copy(self) -> str | None:
        missing = []
        source = self.shelves[0].listing
        for shelf in self.shelves[1:]:
            if shelf.away:
                continue
            wanted = wanted_copies(source, shelf.listing, shelf.policy, self.schedules.copy, self.now)
            if wanted:
                missing.append(f"{shelf.store} lacks {len(wanted)}")
        return ", ".join(missing) or None

    def due_verification(self) -> str | None:
        listings = [shelf.listing for shelf in self.shelves]
        if self.schedules.verify is None or not any(listing.good(self.now) for listing in listings):
            return None
        return verification_due(listings, self.schedules.verify, self.now)

    def newest_good(self) -> StoredBackup | None:
        """The newest good backup in any store: what a recovery would use."""
        good = [backup for shelf in self.shelves for backup in shelf.listing.good(self.now)[:1]]
        return max(good, key=lambda backup: backup.manifest.started_at, default=None)

    def newest_verification(self) -> Verification | None:
        found = [b.verification for shelf in self.shelves for b in shelf.listing.backups if b.verification]
        return max(found, key=lambda verification: (verification.verified_at, verification.passed), default=None)

    def summary(self) -> dict[str, Any]:
        """What the operator, the metrics and the alerts need to know."""
        newest, verification = self.newest_good(), self.newest_verification()
        passed = [b.verification for s in self.shelves for b in s.listing.backups if b.verification and b.passed]
        age = (self.now - newest.manifest.started_at).total_seconds() if newest else None
        rpo = self.objectives.rpo
        return {
            "engine": self.scope.engine,
            "database": self.scope.database,
            "newest": newest and _brief(newest),
            "age_seconds": None if age is None else int(age),
            "rpo_seconds": rpo and int(rpo.total_seconds()),
            "rpo_met": None if rpo is None else age is not None and age <= rpo.total_seconds(),
            "last_verified_at": max((format_time(v.verified_at) for v in passed), default=None),
            "verification": verification and verification.to_dict(),
            "rto_met": verification and rto_met(verification, self.objectives.rto),
            "due": {
                "backup": self.due_backup(),
                "copy": self.due_copy(),
                "verification": self.due_verification(),
            },
            "next_backup": self._next(self.schedules.backup),
            "next_verification": self._next(self.schedules.verify),
            "stores": [self._shelf(shelf) for shelf in self.shelves],
        }

    def _next(self, schedule: str | None) -> str | None:
        return format_time(next_slot(schedule, self.now)) if schedule else None

    def _shelf(self, shelf: Shelf) -> dict[str, Any]:
        listing = shelf.listing
        future = [b.id for b in listing.backups if b.manifest.started_at > self.now + FUTURE_TOLERANCE]
        return {
            "store": shelf.store,
            "away": shelf.away,
            "backups": len(listing.backups),
            "bytes": sum(backup.size for backup in listing.backups),
            "in_progress": [
                {"id": leased.id, **leased.lease.to_dict()} for leased in listing.leased if leased.lease.live(self.now)
            ],
            "stale": [leased.id for leased in listing.stale(self.now)],
            "unreadable": list(listing.unreadable),
            "future": future,
        }

    def rows(self, newest: int) -> list[dict[str, Any]]:
        """One row for each backup in each store, newest first; ``newest`` limits them where it is not 0."""
        return [row for shelf in self.shelves for row in self._rows(shelf)[: newest or None]]

    def _rows(self, shelf: Shelf) -> list[dict[str, Any]]:
        planned = plan([b.for_planning() for b in shelf.listing.backups], shelf.policy, self.now)
        keep = {verdict.backup.id: verdict for verdict in planned.keep}
        rows = []
        for backup in shelf.listing.backups:
            verdict = keep.get(backup.id)
            rows.append(
                {
                    "store": shelf.store,
                    "engine": self.scope.engine,
                    "database": self.scope.database,
                    **_brief(backup),
                    "age_seconds": int((self.now - backup.manifest.started_at).total_seconds()),
                    "kept_by": verdict.reasons if verdict else [],
                    "kept_until": verdict.until and format_time(verdict.until) if verdict else None,
                }
            )
        return rows


def _brief(backup: StoredBackup) -> dict[str, Any]:
    manifest, verification = backup.manifest, backup.verification
    return {
        "id": backup.id,
        "label": manifest.label,
        "started_at": format_time(manifest.started_at),
        "seconds": int((manifest.finished_at - manifest.started_at).total_seconds()),
        "size": backup.size,
        "storage_class": backup.storage_class,
        "encrypted": manifest.encrypted,
        "verified": None if verification is None else "passed" if verification.passed else "failed",
        "verified_by": verification and verification.method,
        "held": backup.hold.reason if backup.hold else None,
    }
