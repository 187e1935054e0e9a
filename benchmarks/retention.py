# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Planning for many backups, and what listing many of them costs a bucket."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

from ansible_collections.runbook.ops.plugins.module_utils._catalog import read_scopes
from ansible_collections.runbook.ops.plugins.module_utils._policy import parse_policy
from ansible_collections.runbook.ops.plugins.module_utils._records import (
    MANIFEST,
    VERIFICATION,
    Artefact,
    Manifest,
    Scope,
    Verification,
    encode,
    new_id,
)
from ansible_collections.runbook.ops.plugins.module_utils._retention import Backup, plan
from ansible_collections.runbook.ops.plugins.module_utils._store._s3_bucket import Credentials
from ansible_collections.runbook.ops.plugins.module_utils._store.s3 import S3Store
from support.s3_requests import counted

from lab.embedded.servers import start_s3

from . import laboratory
from .laboratory import Scale
from .pairs import Spread
from .rows import Row, at_most

_POLICY = {
    "hourly": {"within": "2d"},
    "daily": {"within": "30d"},
    "weekly": {"within": "90d"},
    "monthly": {"count": 60},
}
_PLAN_SECONDS = 2.0
_NEWEST = datetime(2026, 3, 1, tzinfo=timezone.utc)
_VERIFIED = 25
_WRITERS = 16


def measure(scale: Scale) -> Iterator[Row]:
    yield _planning(scale)
    yield from _listing(scale)


def _planning(scale: Scale) -> Row:
    policy = parse_policy(_POLICY, keep_last_good=1, keep_labelled="30d", max_delete="100%")
    backups = [
        Backup(
            id=f"{number:08x}", started_at=_NEWEST - timedelta(minutes=30 * number), passed=True if number % 7 else None
        )
        for number in range(scale.planned_backups)
    ]
    taken = []
    for _round in range(scale.rounds):
        started = time.monotonic()
        plan(backups, policy, _NEWEST)
        taken.append(time.monotonic() - started)
    spread = Spread.of(taken)
    what = f"Retention: plan for {scale.planned_backups:,} backups"
    return at_most(what, spread.median, _PLAN_SECONDS, " s", f"{spread.low:.2f}-{spread.high:.2f}")


def _listing(scale: Scale) -> Iterator[Row]:
    with laboratory.workplace() as place:
        server = start_s3(place / "s3", bucket="bench")
        try:
            store = S3Store(
                "bench", region=server.region, endpoint_url=server.endpoint_url,
                credentials=Credentials(access_key=server.access_key, secret_key=server.secret_key),
            )  # fmt: skip
            manifests = _stored(store, scale.listed_backups)
            cache = str(place / "cache")
            read_scopes(store, "bench", None, None, cache, remember=True)
            for manifest in manifests[:_VERIFIED]:
                verdict = Verification(manifest.id, _NEWEST, True, "restore", store.label)
                store.put(f"{manifest.path}/{VERIFICATION}", encode(verdict.to_dict()))
            with counted(store) as requests:
                started = time.monotonic()
                found = read_scopes(store, "bench", None, None, cache, remember=True)
                seconds = time.monotonic() - started
        finally:
            server.stop()
    objects, listed = 2 * len(manifests) + _VERIFIED, sum(len(listing.backups) for listing in found.values())
    what = f"{listed:,} backups in S3 ({objects:,} objects), listed again after {_VERIFIED} records changed, {seconds:.1f} s:"
    yield at_most(f"{what} list requests", requests["ListObjectsV2"], math.ceil(objects / 1000) + 2, "")
    yield at_most(f"{what} GETs", requests["GetObject"], _VERIFIED, "")


def _stored(store: S3Store, number: int) -> list[Manifest]:
    """That many small backups in the store."""
    manifests = [_manifest(_NEWEST - timedelta(hours=hours)) for hours in range(number)]

    def put(manifest: Manifest) -> None:
        store.put(f"{manifest.path}/{manifest.artefacts[0].name}", b"0123456789")
        store.put(f"{manifest.path}/{MANIFEST}", encode(manifest.to_dict()))

    with ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(put, manifests))
    return manifests


def _manifest(started_at: datetime) -> Manifest:
    digest = "0" * 64
    artefact = Artefact(
        name="data.pgc.zst", format="pg_custom", compression="zstd", encryption=None, size=10, raw_size=10,
        sha256=digest, raw_sha256=digest,
    )  # fmt: skip
    return Manifest(
        id=new_id(started_at), scope=Scope("bench", "postgresql", "app"), label="scheduled", started_at=started_at,
        finished_at=started_at, consistent_at=started_at, server_version="18.4", tool="pg_dump 18.4",
        artefacts=(artefact,), observed={}, source={},
    )  # fmt: skip
