# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Retention against Object Lock: what is locked stays, is named, and frees nothing; what is left half gone is finished later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._protect.prune import PrunedScope, PruneJob
from ansible_collections.runbook.ops.plugins.module_utils._records import (
    HOLD,
    LEASE,
    MANIFEST,
    VERIFICATION,
    Manifest,
    Verification,
    encode,
    format_time,
    utc_now,
)
from ansible_collections.runbook.ops.plugins.module_utils._store.declared import store_of
from ansible_collections.runbook.ops.plugins.module_utils._store.s3 import S3Store
from support.procedures import SYSTEM, Protected, leftovers, new_bucket, policy, sqlite, whole

from lab.embedded.servers import S3Server

LATER = timedelta(hours=2)
"""A lease that is left now has expired by then."""


@dataclass(frozen=True)
class Shelf:
    """A bucket with Object Lock, and so with versions, that holds three backups of one database; two are to go."""

    store: S3Store
    protected: Protected
    newest: Manifest
    middle: Manifest
    oldest: Manifest

    def hold(self, manifest: Manifest, name: str, status: str = "ON") -> None:
        """A legal hold on one object: nobody's credentials delete it."""
        self.store.bucket.client.put_object_legal_hold(
            **self.store.bucket.name_of(f"{manifest.path}/{name}"), LegalHold={"Status": status}
        )

    def versions(self, *, leases: bool = False) -> dict[tuple[str, str], int]:
        """Every version of every object with its size, hidden ones too."""
        bucket = self.store.bucket
        pages = bucket.client.get_paginator("list_object_versions").paginate(Bucket=bucket.name)
        found: list[dict[str, Any]] = [v for p in pages for k in ("Versions", "DeleteMarkers") for v in p.get(k, ())]
        return {
            (v["Key"], v["VersionId"]): v.get("Size", 0) for v in found if leases or not v["Key"].endswith(f"/{LEASE}")
        }

    def prune(self, now: datetime | None = None) -> PrunedScope:
        job = PruneJob(SYSTEM, None, None, [self.store], [policy(1)], "/nowhere")
        planned = job.plan(now or utc_now(), remember=False)
        job.apply(planned, utc_now())
        (pruned,) = planned
        return pruned

    def leases(self) -> list[str]:
        listed = self.store.entries(f"{self.protected.scope.path}/")
        return [entry.key for entry in listed if entry.key.endswith(f"/{LEASE}")]


@pytest.fixture
def shelf(s3: S3Server, tmp_path: Path) -> Shelf:
    """The oldest backup was verified twice, so its first verdict lies hidden under the second."""
    store = store_of("stores[0]", new_bucket(s3, lock=True))
    assert isinstance(store, S3Store)
    protected = Protected({"engine": "sqlite", "name": "sme"}, str(tmp_path))
    newest, middle, oldest = (protected.forged(store, timedelta(days=days)) for days in range(3))
    for verified in (oldest, oldest, newest):  # the newest too, or the oldest would be the last good one
        verdict = Verification(verified.id, utc_now(), True, "restore", store.label)
        store.put(f"{verified.path}/{VERIFICATION}", encode(verdict.to_dict()))
    return Shelf(store, protected, newest, middle, oldest)


def of(versions: dict[tuple[str, str], int], manifest: Manifest) -> dict[tuple[str, str], int]:
    return {found: size for found, size in versions.items() if f"/{manifest.id}/" in found[0]}


def test_nothing_locked_frees_every_version(shelf: Shelf) -> None:
    before = shelf.versions()
    pruned = shelf.prune()
    assert pruned.errors == [] and whole(shelf.protected, shelf.store) == {shelf.newest.id}
    assert shelf.versions(leases=True) == of(before, shelf.newest), "no hidden version, no marker, no lease"
    assert pruned.freed == sum(before.values()) - sum(of(before, shelf.newest).values())


def test_a_locked_manifest_keeps_its_backup_whole(shelf: Shelf) -> None:
    shelf.hold(shelf.oldest, MANIFEST)
    before = shelf.versions()
    for gone in (of(before, shelf.middle), {}):  # a second run tries again, and frees nothing
        pruned = shelf.prune()
        (said,) = pruned.errors
        assert f"{shelf.oldest.id} was not deleted: " in said and said.startswith(f"{shelf.protected.scope} in s3:")
        assert "it stays until its retention or legal hold ends" in said and shelf.middle.id not in said
        assert whole(shelf.protected, shelf.store) == {shelf.newest.id, shelf.oldest.id}
        assert of(shelf.versions(), shelf.oldest) == of(before, shelf.oldest)
        assert (pruned.freed, shelf.leases()) == (sum(gone.values()), [])

    shelf.hold(shelf.oldest, MANIFEST, "OFF")
    pruned = shelf.prune()
    assert (pruned.errors, pruned.freed) == ([], sum(of(before, shelf.oldest).values()))
    assert (whole(shelf.protected, shelf.store), leftovers(shelf.store)) == ({shelf.newest.id}, [])


def test_a_locked_artefact_is_left_to_a_later_sweep(shelf: Shelf) -> None:
    artefact = shelf.oldest.artefacts[0]
    shelf.hold(shelf.oldest, artefact.name)
    before = shelf.versions()
    pruned = shelf.prune()
    (said,) = pruned.errors
    assert f"{shelf.oldest.id} was not deleted: " in said and "until its retention or legal hold ends" in said
    assert whole(shelf.protected, shelf.store) == {shelf.newest.id}, "without its manifest it is no backup"
    assert list(of(shelf.versions(), shelf.oldest).values()) == [artefact.size]
    assert pruned.freed == sum(before.values()) - sum(of(before, shelf.newest).values()) - artefact.size
    assert shelf.leases() == [f"{shelf.oldest.path}/{LEASE}"], "the directory stays ours"

    live = shelf.prune()
    assert (live.actions(), live.errors, live.freed) == ([], [], 0), "nobody touches it before the lease expires"

    locked = shelf.prune(utc_now() + LATER)
    (said,) = locked.errors
    assert f"{shelf.oldest.id} was not swept: " in said and artefact.name in said
    assert locked.freed == 0 and shelf.leases() == [f"{shelf.oldest.path}/{LEASE}"]

    shelf.hold(shelf.oldest, artefact.name, "OFF")
    healed = shelf.prune(utc_now() + LATER)
    assert (healed.errors, healed.freed) == ([], artefact.size)
    assert shelf.versions(leases=True) == of(before, shelf.newest)


def test_the_next_backup_sweeps_it_as_well(shelf: Shelf, tmp_path: Path) -> None:
    """What a backup cannot sweep does not stop it either."""
    shelf.hold(shelf.oldest, shelf.oldest.artefacts[0].name)
    shelf.prune()
    lease = f"{shelf.oldest.path}/{LEASE}"
    expired = {"owner": "elsewhere:7", "purpose": "delete", "expires_at": format_time(utc_now() - LATER)}
    shelf.store.put(lease, encode(expired))
    protected = sqlite(tmp_path)
    good = {shelf.newest.id, protected.take(shelf.store).id}
    assert (whole(protected, shelf.store), shelf.leases()) == (good, [lease])
    shelf.hold(shelf.oldest, shelf.oldest.artefacts[0].name, "OFF")
    good.add(protected.take(shelf.store).id)
    assert (whole(protected, shelf.store), leftovers(shelf.store)) == (good, [])


@pytest.mark.parametrize(
    ("until", "kept"),
    [(None, True), (timedelta(days=1), True), (-timedelta(days=1), False)],
    ids=["for ever", "until tomorrow", "until yesterday"],
)
def test_a_hold_in_a_bucket(shelf: Shelf, until: timedelta | None, kept: bool) -> None:
    """Ours, which needs no Object Lock: a record beside the manifest."""
    record = {"reason": "audit 7", "until": until and format_time(utc_now() + until), "by": "ops"}
    shelf.store.put(f"{shelf.oldest.path}/{HOLD}", encode(record))
    before = shelf.versions()
    pruned = shelf.prune()
    reasons = {verdict.backup.id: verdict.reasons for verdict in pruned.plan.keep}
    assert reasons.get(shelf.oldest.id) == (["held: audit 7"] if kept else None)
    assert pruned.errors == []
    assert whole(shelf.protected, shelf.store) == {shelf.newest.id, *([shelf.oldest.id] if kept else [])}
    assert of(shelf.versions(leases=True), shelf.oldest) == (of(before, shelf.oldest) if kept else {})
