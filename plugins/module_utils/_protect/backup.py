# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take one backup: engine over runtime into store, published last and atomically."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .._catalog import ScopeListing, read_scope
from .._cipher.base import Encryptor
from .._engine.base import Engine, Facts
from .._errors import NoSpace, StoreError
from .._lock import scope_lock
from .._pipeline import ArtefactWriter
from .._records import Manifest, Scope, format_time, new_id, utc_now
from .._schedule import due_since
from .._store.base import Store
from .publication import publishing, sweep

SCHEDULED = "scheduled"
COUNTS_AS_SUCCESS = ("scheduled", "manual")
"""Labels whose backups serve a schedule's slot; a ``pre_*`` backup may hold the damage it was taken before."""


def backup_due(listing: ScopeListing, schedule: str, now: datetime) -> str | None:
    """Why a scheduled backup is due now, or ``None``."""
    newest = next((b for b in listing.good(now) if b.manifest.label in COUNTS_AS_SUCCESS), None)
    slot = due_since(schedule, newest.manifest.started_at if newest else None, now)
    if slot is None:
        return None
    if newest is None:
        return "there is no good backup yet"
    return f"the slot of {format_time(slot)} has no backup yet"


@dataclass
class BackupJob:
    """Everything one backup needs. ``schedule`` counts for the label ``scheduled`` only: others are always taken."""

    scope: Scope
    engine: Engine
    store: Store
    label: str
    schedule: str | None
    source: dict[str, Any]
    work_dir: str
    cache_dir: str
    encryptor: Encryptor | None = None
    storage_class: str | None = None
    doubts: Mapping[str, str] = field(default_factory=dict)
    """By name, checks that no verification of this backup would pass, and what the database says to them."""

    def look(self, *, remember: bool) -> ScopeListing:
        """What the store has of this scope."""
        return read_scope(self.store, self.scope, self.cache_dir, remember=remember)

    def reason(self, listing: ScopeListing, now: datetime) -> str | None:
        """Why this backup is to be taken now; ``None`` when the schedule's newest slot is served."""
        if self.label != SCHEDULED or not self.schedule:
            return f"asked for as {self.label}"
        return backup_due(listing, self.schedule, now)

    def preflight(self, listing: ScopeListing) -> Facts:
        """Reach the database and the store, and see that the backup fits. Writes nothing."""
        self.store.check(write=True)
        facts = self.engine.preflight()
        self._require_space(facts, listing)
        return facts

    def _require_space(self, facts: Facts, listing: ScopeListing) -> None:
        """The estimate as the newest good backup compressed, and a quarter more; the whole estimate where there is none."""
        free = self.store.free_space()
        newest = next(iter(listing.good(utc_now())), None)
        raw = sum(artefact.raw_size for artefact in newest.manifest.artefacts) if newest else 0
        ratio = min(1.0, 1.25 * newest.size / raw) if newest and raw else 1.0
        needed = int(facts.estimated_bytes * ratio)
        if free is not None and free < needed:
            raise NoSpace(
                f"{self.store.label} has {free >> 20} MiB free, a backup of {self.scope} may need {-(-needed >> 20)} MiB: "
                "prune, free some space, or name another store."
            )

    def take(self, facts: Facts) -> Manifest | None:
        """Take and publish it; ``None`` when another run has served the slot meanwhile."""
        with scope_lock(self.work_dir, "backup", self.scope):
            started_at, listing = utc_now(), self.look(remember=True)
            with suppress(StoreError):  # a prune says what cannot be removed; a backup does not depend on it
                sweep(self.store, self.scope.path, listing.stale(started_at))
            if self.reason(listing, started_at) is None:
                return None
            backup_id = new_id(started_at)
            directory = f"{self.scope.path}/{backup_id}"
            with publishing(self.store, directory) as publication:
                writer = ArtefactWriter(
                    self.store, directory, encryptor=self.encryptor, size_hint=facts.estimated_bytes,
                    progress=publication.progress, storage_class=self.storage_class,
                )  # fmt: skip
                dump = self.engine.dump(writer.open)
                self.doubts = dump.doubts
                manifest = Manifest(
                    id=backup_id, scope=self.scope, label=self.label, started_at=started_at, finished_at=utc_now(),
                    consistent_at=dump.consistent_at, server_version=dump.server_version, tool=dump.tool,
                    artefacts=tuple(writer.artefacts), observed=dump.observed, source=self.source,
                )  # fmt: skip
                publication.publish(manifest)
            return manifest

    def predict(self, facts: Facts, now: datetime) -> Manifest:
        """The manifest that ``take`` would write, as far as it can be known: for check mode and its diff."""
        self.doubts = self.engine.doubts()
        return Manifest(
            id=new_id(now), scope=self.scope, label=self.label, started_at=now, finished_at=now, consistent_at=now,
            server_version=facts.server_version, tool=facts.tool, artefacts=(), source=self.source,
        )  # fmt: skip


def source_of(runtime: str, service: str) -> dict[str, Any]:
    """Where a backup came from, for its manifest."""
    return {"runtime": runtime, "service": service, "host": platform.node()}
