# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real procedures over real databases and stores, and what must be true of a store whatever happened to them."""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._catalog import Catalogue, ScopeListing
from ansible_collections.runbook.ops.plugins.module_utils._description import engine_of
from ansible_collections.runbook.ops.plugins.module_utils._pipeline import ArtefactWriter, StoredArtefacts
from ansible_collections.runbook.ops.plugins.module_utils._policy import Policy, parse_policy
from ansible_collections.runbook.ops.plugins.module_utils._protect.backup import BackupJob
from ansible_collections.runbook.ops.plugins.module_utils._protect.copy import CopyJob
from ansible_collections.runbook.ops.plugins.module_utils._protect.prune import PrunedScope, PruneJob
from ansible_collections.runbook.ops.plugins.module_utils._protect.publication import publishing
from ansible_collections.runbook.ops.plugins.module_utils._protect.verification import VerificationJob
from ansible_collections.runbook.ops.plugins.module_utils._records import (
    HOLD,
    LEASE,
    MANIFEST,
    VERIFICATION,
    Manifest,
    Scope,
    new_id,
    utc_now,
)
from ansible_collections.runbook.ops.plugins.module_utils._runtime.local import LocalRuntime
from ansible_collections.runbook.ops.plugins.module_utils._store._keys import PARTIAL
from ansible_collections.runbook.ops.plugins.module_utils._store.base import Store
from ansible_collections.runbook.ops.plugins.module_utils._store.declared import store_of
from ansible_collections.runbook.ops.plugins.module_utils._store.local import LocalStore
from ansible_collections.runbook.ops.plugins.module_utils._store.s3 import S3Store
from contract.subjects.postgresql import postgresql_subject

from lab.embedded.servers import PostgresServer, S3Server

SYSTEM = "faults"


def policy(count: int = 1000, **also: Any) -> Policy:
    """Keep the newest ``count``."""
    given = {"keep_last_good": 1, "keep_labelled": "30d", "max_delete": "100%", **also}
    return parse_policy({"last": {"count": count}}, **given)


@dataclass(frozen=True)
class Protected:
    """One database as an operator describes it, and the jobs that protect it."""

    database: Mapping[str, Any]
    work_dir: str

    @property
    def scope(self) -> Scope:
        return Scope(SYSTEM, self.database["engine"], self.database["name"])

    def engine(self) -> Any:
        return engine_of("database", self.database, LocalRuntime(), self.work_dir)

    def backup(self, store: Store, schedule: str | None = None) -> BackupJob:
        label = "scheduled" if schedule else "manual"
        return BackupJob(self.scope, self.engine(), store, label, schedule, {}, self.work_dir, self.work_dir)

    def take(self, store: Store) -> Manifest:
        job = self.backup(store)
        manifest = job.take(job.preflight(job.look(remember=False)))
        assert manifest
        return manifest

    def copy(self, *stores: Store) -> list[str]:
        """Copy what is missing; the sentences of what failed."""
        job = self.copying(*stores)
        return job.apply(job.plan(utc_now(), remember=False))[1]

    def copying(self, *stores: Store) -> CopyJob:
        each = len(stores)
        return CopyJob(self.scope, stores, [policy()] * each, [None] * each, None, [], self.work_dir, self.work_dir)

    def verification(self, *stores: Store, wanted: str | None = None) -> VerificationJob:
        return VerificationJob(self.scope, self.engine(), stores, wanted, None, self.work_dir, self.work_dir)

    def listing(self, store: Store) -> ScopeListing:
        return Catalogue(store).scope(self.scope)

    def forged(self, store: Store, age: timedelta) -> Manifest:
        """A small backup with a past, or a future, made of text."""
        started_at = utc_now() - age
        backup_id = new_id(started_at)
        directory = f"{self.scope.path}/{backup_id}"
        with publishing(store, directory) as publication:
            writer = ArtefactWriter(store, directory, encryptor=None, size_hint=0, progress=publication.progress)
            with writer.open("data.sqlite", "sqlite") as sink:
                sink(secrets.token_bytes(2000))
            manifest = Manifest(
                backup_id, self.scope, "manual", started_at, started_at, started_at, "3", "test",
                tuple(writer.artefacts),
            )  # fmt: skip
            publication.publish(manifest)
        return manifest


def sqlite(directory: Path, *, name: str = "sme", megabytes: float = 0.2) -> Protected:
    """A database file that does not compress."""
    path, work_dir = directory / f"{name}.db", directory / "work"
    work_dir.mkdir(exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, data BLOB)")
        for _row in range(int(megabytes * 10)):
            connection.execute("INSERT INTO entry (data) VALUES (randomblob(100000))")
        connection.commit()
    checks = [{"table": "entry", "rows": "source"}]
    return Protected({"engine": "sqlite", "name": name, "path": str(path), "checks": checks}, str(work_dir))


ROWS = """
CREATE TABLE orders AS SELECT n AS id,
  array_to_string(ARRAY(SELECT md5(random()::text || n || m) FROM generate_series(1, 32) m), '') AS text
FROM generate_series(1, 12000) n
"""
"""12 MB that hardly compress: more than every buffer on their way."""


@contextmanager
def postgresql(server: PostgresServer, directory: Path, schema: str = ROWS) -> Iterator[Protected]:
    """A database with a table of orders."""
    with postgresql_subject(server, f"shop_{secrets.token_hex(4)}", schema) as made:
        work_dir = directory / "work"
        work_dir.mkdir()
        yield Protected(made.declaration(checks=[{"table": "orders", "rows": "source"}]), str(work_dir))


def new_bucket(s3: S3Server, endpoint_url: str | None = None, *, lock: bool = False) -> dict[str, Any]:
    """A new bucket as an operator describes it; ``lock``: with Object Lock, and so with versions."""
    declared = {
        "type": "s3", "bucket": f"b{secrets.token_hex(8)}", "prefix": "off-site", "region": s3.region,
        "endpoint_url": s3.endpoint_url, "access_key": s3.access_key, "secret_key": s3.secret_key,
    }  # fmt: skip
    store = store_of("stores[1]", declared)
    assert isinstance(store, S3Store)
    store.bucket.client.create_bucket(
        Bucket=store.bucket.name, CreateBucketConfiguration={"LocationConstraint": s3.region},
        ObjectLockEnabledForBucket=lock,
    )  # fmt: skip
    return {**declared, "endpoint_url": endpoint_url or s3.endpoint_url}


def prune(*stores: Store, count: int = 2) -> list[PrunedScope]:
    job = PruneJob(SYSTEM, None, None, stores, [policy(count)] * len(stores), "/nowhere")
    planned = job.plan(utc_now(), remember=False)
    job.apply(planned, utc_now())
    return planned


def whole(protected: Protected, store: Store) -> set[str]:
    """The ids of the backups that the catalogue shows, each of which must have every byte that its manifest speaks of."""
    listing = protected.listing(store)
    assert listing.unreadable == []
    for backup in listing.backups:
        reader = StoredArtefacts(store, backup.manifest)
        for name in reader.names():
            for _data in reader.stored(name):
                pass
    return {backup.id for backup in listing.backups}


def leftovers(store: Store) -> list[str]:
    """What belongs to no backup: objects, unfinished files and uploads."""
    wanted = set()
    for listing in Catalogue(store).scopes().values():
        for backup in listing.backups:
            names = [artefact.name for artefact in backup.manifest.artefacts]
            wanted |= {f"{backup.manifest.path}/{name}" for name in (*names, MANIFEST, VERIFICATION, HOLD, LEASE)}
    return sorted(found for found in {*(e.key for e in store.entries("")), *unfinished(store)} if found not in wanted)


def unfinished(store: Store) -> Iterator[str]:
    if isinstance(store, LocalStore):
        root = Path(store.root)
        yield from (str(path.relative_to(root)) for path in root.rglob(f"*{PARTIAL}"))
        yield from (
            str(path.relative_to(root)) for path in root.rglob("*") if path.is_dir() and not any(path.iterdir())
        )
    elif isinstance(store, S3Store):
        listed = store.bucket.client.list_multipart_uploads(Bucket=store.bucket.name)
        yield from (upload["Key"] for upload in listed.get("Uploads", []))


def tomorrow(store: Store) -> None:
    """Let a day pass for what was left unfinished in a directory."""
    if isinstance(store, LocalStore):
        for name in unfinished(store):
            os.utime(os.path.join(store.root, name), (time.time() - 90000,) * 2)


def damage(store: Store, key: str, change: str) -> None:
    """Flip a byte in the middle of an object, cut its last byte off, or take it away."""
    if change == "missing":
        store.delete([key])
        return
    data = bytearray(b"".join(store.read(key)))
    if change == "flipped":
        data[len(data) // 2] ^= 1
    else:
        del data[-1:]
    store.put(key, bytes(data))


def failed(error: type[Exception], run: Callable[[], object]) -> str:
    """The sentence of a run that fails."""
    with pytest.raises(error) as caught:
        run()
    return str(caught.value)


def nothing_but(protected: Protected, store: Store, good: set[str]) -> None:
    """The store holds these backups, whole, and nothing else; the next run adds one."""
    assert (whole(protected, store), leftovers(store)) == (good, [])
    after = protected.take(store)
    assert (whole(protected, store), leftovers(store)) == (good | {after.id}, [])
