# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Damaged backups, records that cannot be trusted, and an off-site store that goes away."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import StoreError
from ansible_collections.runbook.ops.plugins.module_utils._protect import publication as _publication
from ansible_collections.runbook.ops.plugins.module_utils._protect.prune import PruneJob
from ansible_collections.runbook.ops.plugins.module_utils._protect.prune import prune as prune_jobs
from ansible_collections.runbook.ops.plugins.module_utils._protect.verification import Outcome
from ansible_collections.runbook.ops.plugins.module_utils._records import (
    LEASE,
    MANIFEST,
    Lease,
    Manifest,
    encode,
    format_time,
    utc_now,
)
from ansible_collections.runbook.ops.plugins.module_utils._store import _s3_bucket
from ansible_collections.runbook.ops.plugins.module_utils._store.base import Store
from ansible_collections.runbook.ops.plugins.module_utils._store.declared import store_of
from support.fault_report import Fault
from support.procedures import SYSTEM, Protected, damage, failed, leftovers, new_bucket, policy, prune, sqlite, whole
from support.processes import end, start
from support.s3_proxy import Cut, S3Proxy

from lab.embedded.servers import S3Server


@pytest.fixture
def local(tmp_path: Path) -> Store:
    return store_of("stores[0]", {"type": "local", "path": str(tmp_path / "store")})


@pytest.fixture
def bucket(s3: S3Server) -> Store:
    return store_of("stores[1]", new_bucket(s3))


@pytest.fixture
def protected(tmp_path: Path) -> Protected:
    return sqlite(tmp_path)


def verified(protected: Protected, *stores: Store, wanted: str | None = None) -> Outcome:
    job = protected.verification(*stores, wanted=wanted)
    target, _actions = job.plan(utc_now(), remember=False)
    assert target
    return job.run(target)


def artefact_of(manifest: Manifest) -> str:
    return f"{manifest.path}/{manifest.artefacts[0].name}"


def recorded(protected: Protected, store: Store) -> tuple[bool, str | None]:
    (backup,) = protected.listing(store).backups
    assert backup.verification
    return backup.verification.passed, backup.verification.reason


# Damage


@pytest.mark.parametrize("change", ["flipped", "truncated", "missing"])
@pytest.mark.parametrize("damaged", ["local", "s3"])
def test_one_copy_is_damaged(
    protected: Protected, local: Store, bucket: Store, damaged: str, change: str, fault: Fault
) -> None:
    manifest = protected.take(local)
    assert protected.copy(local, bucket) == []
    bad, good = (local, bucket) if damaged == "local" else (bucket, local)
    damage(bad, artefact_of(manifest), change)
    outcome = verified(protected, local, bucket)
    assert outcome.verification.passed
    assert outcome.verification.restored_from == good.label
    assert outcome.recorded == {bad.label: "failed", good.label: "passed"}
    (said,) = outcome.errors
    assert f"in {bad.label} " in said and said.endswith(f"The copy in {good.label} was proved good.")
    (passed, reason), (other_passed, _reason) = recorded(protected, bad), recorded(protected, good)
    assert (passed, other_passed) == (False, True)
    assert reason
    assert f"in {bad.label} " in reason
    assert {"flipped": "its bytes changed", "truncated": "it is truncated", "missing": "is not in"}[change] in reason
    assert [backup.id for backup in protected.listing(bad).good(utc_now())] == []
    fault(
        f"{change} artefact in {damaged}",
        reason,
        "the other store's copy restored and verified; the bad one counts for nothing",
    )


@pytest.mark.parametrize("change", ["flipped", "truncated", "missing"])
def test_every_copy_is_damaged(protected: Protected, local: Store, bucket: Store, change: str, fault: Fault) -> None:
    manifest = protected.take(local)
    older = protected.forged(local, timedelta(days=1)).id
    assert protected.copy(local, bucket) == []
    for store in (local, bucket):
        damage(store, artefact_of(manifest), change)
    outcome = verified(protected, local, bucket)
    assert (outcome.verification.passed, set(outcome.recorded.values())) == (False, {"failed"})
    assert outcome.verification.reason
    prune(local, bucket, count=1)
    for store in (local, bucket):
        assert whole(protected, store) == {older}, "the failed one is the first to go"
    fault(
        f"{change} artefact in every store",
        outcome.verification.reason,
        "failed verdict recorded; prune keeps the older one",
    )


@pytest.mark.parametrize("change", ["flipped", "truncated", "missing"])
def test_damage_is_not_spread(protected: Protected, local: Store, bucket: Store, change: str, fault: Fault) -> None:
    manifest = protected.take(local)
    older = protected.forged(local, timedelta(days=1)).id
    damage(local, artefact_of(manifest), change)
    (said,) = protected.copy(local, bucket)
    assert said.startswith(f"{manifest.path} -> {bucket.label}: {manifest.artefacts[0].name} ") and local.label in said
    assert (whole(protected, bucket), leftovers(bucket)) == ({older}, [])
    fault(f"a copy of a {change} artefact", said, "nothing of it off-site; the other backup copied")


# Records that cannot be trusted


def not_json(_record: dict[str, Any]) -> bytes:
    return b'{"format": 1, "id": '


def changed(**values: Any) -> Callable[[dict[str, Any]], bytes]:
    return lambda record: json.dumps({**record, **values}).encode()


ahead = changed(started_at=format_time(utc_now() + timedelta(days=2)))


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("unreadable manifest", not_json, ["is not JSON"]),
        ("manifest of format 2", changed(format=2), ["has format 2", "reads format 1 only"]),
        ("manifest that contradicts its path", changed(database="other"), ["path and content disagree"]),
        ("manifest without artefacts", changed(artefacts=None), ["is not a manifest of format 1"]),
        ("manifest dated in the future", ahead, ["is dated in the future", "a clock is or was wrong"]),
    ],
)
@pytest.mark.parametrize("kind", ["local", "s3"])
def test_a_manifest_that_cannot_be_trusted(
    request: pytest.FixtureRequest, tmp_path: Path, protected: Protected, kind: str, name: str,
    change: Callable[[dict[str, Any]], bytes], words: Sequence[str], fault: Fault,
) -> None:  # fmt: skip
    store: Store = request.getfixturevalue("local" if kind == "local" else "bucket")
    other = sqlite(tmp_path, name="other")
    manifests = [protected.forged(store, timedelta(days=days)) for days in range(5)]
    theirs = [other.forged(store, timedelta(days=days)).id for days in range(3)]
    key = f"{manifests[3].path}/{MANIFEST}"
    store.put(key, change(json.loads(store.get(key))))
    before = {entry.key: entry.etag for entry in store.entries(f"{protected.scope.path}/")}
    pruned = {scope.listing.scope.database: scope for scope in prune(store, count=1)}
    (said,) = pruned["sme"].errors
    assert ".." not in said
    assert [word for word in (*words, manifests[3].id, store.label) if word not in said] == [], said
    assert {entry.key: entry.etag for entry in store.entries(f"{protected.scope.path}/")} == before
    assert (pruned["other"].errors, whole(other, store)) == ([], {theirs[0]})
    fault(f"{name} ({kind})", said, "nothing deleted in its scope; the other scope pruned; run fails")


def test_a_database_that_cannot_be_planned_keeps_no_other_from_being_pruned(
    protected: Protected, tmp_path: Path, local: Store, s3: S3Server
) -> None:
    """Its store is gone; the one after it is pruned, and the run tells of the first."""
    gone = store_of("store", {**new_bucket(s3), "bucket": "nowhere"})
    other = sqlite(tmp_path, name="other")
    theirs = [other.forged(local, timedelta(days=days)).id for days in range(3)]
    jobs = [
        PruneJob(SYSTEM, "sqlite", database, [store], [policy(1)], str(tmp_path / "cache"))
        for database, store in (("sme", gone), ("other", local))
    ]
    pruned, failures = prune_jobs(jobs, utc_now(), check=False)
    assert len(failures) == 1 and failures[0].startswith(f"{SYSTEM}/sqlite/sme: ") and "nowhere" in failures[0]
    assert ([scope.errors for scope in pruned], whole(other, local)) == ([[]], {theirs[0]})


# The off-site store goes away


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[S3Proxy]:
    with S3Proxy(s3.endpoint_url) as made:
        yield made


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_s3_bucket.Patience, "pause", lambda *_: None)
    defaults = _s3_bucket.Patience(attempts=2, connect=2, read=5)
    monkeypatch.setattr(_s3_bucket, "PATIENCE", defaults)


@pytest.mark.parametrize(
    ("operation", "skip"), [("*", 0), ("PutObject", 0), ("PutObject", 1), ("PutObject", 2), ("*", 3)]
)
def test_the_off_site_store_goes_away(
    protected: Protected, local: Store, s3: S3Server, proxy: S3Proxy, impatient: None, operation: str, skip: int,
    monkeypatch: pytest.MonkeyPatch, fault: Fault,
) -> None:  # fmt: skip
    """At once; then at the lease, the artefact, the manifest; then for good, so that nothing can be tidied up."""
    place = new_bucket(s3, proxy.endpoint_url)
    behind, far = store_of("s", {**place, "endpoint_url": s3.endpoint_url}), store_of("stores[1]", place)
    good = {protected.take(local).id}
    end(dead := start(lambda: None))
    monkeypatch.setattr(_publication, "_owner", lambda: f"{socket.gethostname()}:{dead}")
    proxy.inject(operation, Cut(), skip=skip)
    said = (
        failed(StoreError, lambda: protected.copy(local, far))
        if (operation, skip) == ("*", 0)
        else " ".join(protected.copy(local, far))
    )
    assert far.label in said
    assert proxy.endpoint_url in said
    assert (whole(protected, local), whole(protected, behind)) == (good, set())
    proxy.heal()
    assert protected.copy(local, far) == []
    assert (whole(protected, local), whole(protected, behind), leftovers(behind)) == (good, good, [])
    fault(
        f"S3 cut off during a copy ({operation}, after {skip} requests)",
        said,
        "local backup good; the next run completes the copy",
    )


def test_a_copy_beside_another(protected: Protected, local: Store, bucket: Store, fault: Fault) -> None:
    """By its lease another host is at it: it is not disturbed, and nothing of its is withdrawn."""
    manifest = protected.take(local)
    lease = Lease("elsewhere:7", "write", utc_now() + timedelta(minutes=5))
    bucket.put(f"{manifest.path}/{LEASE}", encode(lease.to_dict()))
    bucket.put(f"{manifest.path}/data.sqlite.zst", b"the other's")
    (said,) = protected.copy(local, bucket)
    assert "elsewhere:7 is at work there" in said
    assert bucket.get(f"{manifest.path}/data.sqlite.zst") == b"the other's"
    fault("a copy of what another host is copying", said, "nothing touched")
