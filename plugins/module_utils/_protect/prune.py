# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply retention plans to stores: plan every scope in each store, then delete, move and sweep what the plans say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .._catalog import Leased, ScopeListing, StoredBackup, read_scope, read_scopes
from .._errors import RunbookError
from .._policy import Policy
from .._records import Manifest
from .._result import Action
from .._retention import Plan, Transition, plan
from .._store.base import Store
from . import publication


@dataclass
class PrunedScope:
    """One scope in one store: its plan, and what became of it."""

    store: Store
    listing: ScopeListing
    plan: Plan
    stale: list[Leased]
    freed: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def where(self) -> str:
        return f"{self.listing.scope} in {self.store.label}"

    @property
    def errors(self) -> list[str]:
        """A sentence for each refusal and failure, naming scope and store."""
        refused = [f"{self.where}: {self.plan.refused.rstrip('.')}."] if self.plan.refused else []
        return refused + [f"{self.where}: {failure}" for failure in self.failures]

    @property
    def kept(self) -> int:
        stay = self.plan.keep + (self.plan.delete if self.plan.refused else [])
        return sum(verdict.backup.size for verdict in stay)

    def doomed(self) -> list[StoredBackup]:
        """What will be deleted: nothing where the plan is refused."""
        if self.plan.refused:
            return []
        ids = {verdict.backup.id for verdict in self.plan.delete}
        return [backup for backup in self.listing.backups if backup.id in ids]

    def moves(self) -> list[Transition]:
        """What changes its storage class: nothing where the plan is refused."""
        return [] if self.plan.refused else self.plan.transition

    def actions(self) -> list[Action]:
        """What is, or would be, done here."""
        reasons = {verdict.backup.id: ", ".join(verdict.reasons) for verdict in self.plan.delete}
        done = [Action("delete", f"{b.manifest.path} in {self.store.label}", reasons[b.id]) for b in self.doomed()]
        path = self.listing.scope.path
        done += [
            Action("transition", f"{path}/{move.backup.id} in {self.store.label}", move.reason) for move in self.moves()
        ]
        done += [
            Action("sweep", f"{path}/{leased.id} in {self.store.label}", "left by a run that was killed")
            for leased in self.stale
        ]
        return done

    def to_dict(self) -> dict[str, Any]:
        scope = self.listing.scope
        return {
            "store": self.store.label,
            "system": scope.system,
            "engine": scope.engine,
            "database": scope.database,
            **self.plan.to_dict(),
            "swept": [leased.id for leased in self.stale],
            "refused": self.plan.refused,
        }


@dataclass
class PruneJob:
    """Retention for a system, narrowed by engine and database; ``policies`` belong to the stores, one each."""

    system: str
    engine: str | None
    database: str | None
    stores: Sequence[Store]
    policies: Sequence[Policy]
    cache_dir: str

    @property
    def what(self) -> str:
        return "/".join(filter(None, (self.system, self.engine, self.database)))

    def plan(self, now: datetime, *, remember: bool) -> list[PrunedScope]:
        """One plan for each scope and store. ``freed`` is what the plan would free."""
        planned = []
        for store, policy in zip(self.stores, self.policies, strict=True):
            store.check(write=False)
            found = read_scopes(store, self.system, self.engine, self.database, self.cache_dir, remember=remember)
            for _scope, listing in sorted(found.items()):
                backups = [backup.for_planning() for backup in listing.backups]
                scope_plan = plan(backups, policy, now, listing.unreadable)
                stale = [] if scope_plan.refused else listing.stale(now)
                pruned = PrunedScope(store, listing, scope_plan, stale)
                pruned.freed = sum(backup.size for backup in pruned.doomed())
                planned.append(pruned)
        return planned

    def apply(self, planned: Sequence[PrunedScope], now: datetime) -> None:
        """Carry the plans out, every scope; ``freed`` becomes what is confirmed gone."""
        policies = {store.label: policy for store, policy in zip(self.stores, self.policies, strict=True)}
        for pruned in planned:
            try:
                _apply(pruned, self._still_doomed(pruned, policies[pruned.store.label], now))
            except RunbookError as error:
                pruned.failures.append(str(error))

    def _still_doomed(self, pruned: PrunedScope, policy: Policy, now: datetime) -> list[StoredBackup]:
        """Large stores take minutes: what was held, or failed its verification, since the plan was made is looked at again."""
        doomed = pruned.doomed()
        if not doomed:
            return []
        listing = read_scope(pruned.store, pruned.listing.scope, self.cache_dir, remember=False)
        again = plan([backup.for_planning() for backup in listing.backups], policy, now, listing.unreadable)
        still = set() if again.refused else {verdict.backup.id for verdict in again.delete}
        return [backup for backup in doomed if backup.id in still]


def prune(jobs: Sequence[PruneJob], now: datetime, *, check: bool) -> tuple[list[PrunedScope], list[str]]:
    """Every job, whatever became of those before it: the scopes, and a sentence for each job that could not be planned.
    ``check``: planned only."""
    done: list[PrunedScope] = []
    failures = []
    for job in jobs:
        try:
            planned = job.plan(now, remember=not check)
        except RunbookError as error:
            failures.append(f"{job.what}: {error}")
            continue
        if not check:
            job.apply(planned, now)
        done += planned
    return done, failures


def _apply(pruned: PrunedScope, doomed: list[StoredBackup]) -> None:
    pruned.freed = 0
    if doomed:
        report = publication.remove(pruned.store, doomed)
        pruned.freed += report.freed
        pruned.failures += [f"{backup} was not deleted: {reason}" for backup, reason in report.errors.items()]
    manifests = {backup.id: backup.manifest for backup in pruned.listing.backups}
    for move in pruned.moves():
        try:
            _move(pruned.store, manifests[move.backup.id], move.target)
        except RunbookError as error:
            pruned.failures.append(str(error))
    if pruned.plan.refused:
        return  # a wrong clock would judge leases wrongly too
    report = publication.sweep(pruned.store, pruned.listing.scope.path, pruned.stale)
    pruned.freed += report.freed
    pruned.failures += [f"{backup} was not swept: {reason}" for backup, reason in report.errors.items()]


def _move(store: Store, manifest: Manifest, storage_class: str) -> None:
    """Only the data moves: the small files beside it are not worth an archive's minimum size."""
    for artefact in manifest.artefacts[:1]:
        store.set_storage_class(f"{manifest.path}/{artefact.name}", storage_class)
