# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fourteen months of history for the demo: a real small backup, published once for each day with its dates moved back."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.runbook.ops.plugins.module_utils._catalog import Catalogue
from ansible_collections.runbook.ops.plugins.module_utils._description import engine_of
from ansible_collections.runbook.ops.plugins.module_utils._protect.backup import BackupJob, source_of
from ansible_collections.runbook.ops.plugins.module_utils._records import (
    MANIFEST,
    Manifest,
    Scope,
    encode,
    is_id,
    utc_now,
)
from ansible_collections.runbook.ops.plugins.module_utils._runtime.local import LocalRuntime
from ansible_collections.runbook.ops.plugins.module_utils._store.base import Store
from ansible_collections.runbook.ops.plugins.module_utils._store.declared import store_of

from . import erni

SYSTEM = "demo"
DAYS = 425
HOUR = 2
"""Of the day, in UTC: when the documents have backups taken."""

_SCOPES = (Scope(SYSTEM, "postgresql", erni.DATABASE), Scope(SYSTEM, "files", "configuration"))
_TABLES = ("projects", "conversations", "messages", "consultations")
_YOUNG = "erni_agents_when_young"
_YOUNG_SIZES = {"demo.projects": 5, "demo.conversations": 40}
_RECENT = timedelta(days=30)
_THREADS = 8


@dataclass(frozen=True)
class Template:
    """A real backup to repeat: its manifest and its artefacts' bytes."""

    manifest: Manifest
    artefacts: dict[str, bytes]

    @classmethod
    def read(cls, store: Store, manifest: Manifest) -> Template:
        names = [artefact.name for artefact in manifest.artefacts]
        return cls(manifest, {name: store.get(f"{manifest.path}/{name}") for name in names})

    def at(self, scope: Scope, moment: datetime) -> Manifest:
        """The manifest of the same backup, had it been taken of ``scope`` at ``moment``."""
        shift = moment - self.manifest.started_at
        suffix = hashlib.sha256(f"{scope} {moment}".encode()).hexdigest()[:8]
        return replace(
            self.manifest, id=f"{moment:%Y%m%dT%H%M%SZ}-{suffix}", scope=scope, label="scheduled", started_at=moment,
            finished_at=self.manifest.finished_at + shift, consistent_at=self.manifest.consistent_at + shift,
        )  # fmt: skip


def has_history(store: Store, scope: Scope, now: datetime) -> bool:
    """Whether the scope holds a backup from before the last month."""
    ids = (entry.key.split("/")[3] for entry in store.entries(f"{scope.path}/"))
    return any(is_id(name) and name < f"{now - _RECENT:%Y%m%d}" for name in ids)


def build(
    store: Store, scope: Scope, template: Template, *, now: datetime, days: int = DAYS, storage_class: str | None = None
) -> int:
    """Publish a backup for each of the ``days`` before today; 0 where the scope has a history already.

    Manifests come last, and ids follow from the days, so that a killed run is simply done again.
    """
    if has_history(store, scope, now):
        return 0
    newest = now.replace(hour=HOUR, minute=0, second=0, microsecond=0) - timedelta(days=1)
    manifests = [template.at(scope, newest - timedelta(days=day)) for day in range(days)]

    def write_artefacts(manifest: Manifest) -> None:
        for name, data in template.artefacts.items():
            with store.upload(f"{manifest.path}/{name}", size_hint=len(data), storage_class=storage_class) as upload:
                upload.write(data)
                upload.commit()

    def write_manifest(manifest: Manifest) -> None:
        store.put(f"{manifest.path}/{MANIFEST}", encode(manifest.to_dict()))

    with ThreadPoolExecutor(_THREADS) as pool:
        for step in (write_artefacts, write_manifest):
            for _done in pool.map(step, manifests):
                pass  # raises what the thread raised
    return len(manifests)


def build_all(state: dict[str, Any]) -> dict[str, int]:
    """The history of the demo in both of its stores: of the database when it was small, and of the configuration."""
    now = utc_now()
    stores = [(store_of("stores", entry), entry.get("storage_class")) for entry in declared_stores(state)]
    built: dict[str, int] = {}
    for scope in _SCOPES:
        wanting = [(store, storage_class) for store, storage_class in stores if not has_history(store, scope, now)]
        template = _template(state, scope, stores[0][0]) if wanting else None
        if template is None:
            continue
        for store, storage_class in wanting:
            count = build(store, scope, template, now=now, storage_class=storage_class)
            built[f"{store.label} {scope}"] = count
    return built


def complete(state: dict[str, Any]) -> bool:
    """Whether every store has all of it: a scope without a backup to repeat has none yet."""
    stores = [store_of("stores", entry) for entry in declared_stores(state)]
    return all(has_history(store, scope, utc_now()) for scope in _SCOPES for store in stores)


def declared_stores(state: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """The stores as the demo's inventory declares them."""
    s3 = {key: state["s3"][key] for key in ("bucket", "region", "endpoint_url", "access_key", "secret_key")}
    return [
        {"type": "local", "path": state["backups"]},
        {"type": "s3", "prefix": "", "storage_class": "STANDARD_IA", **s3},
    ]


def _template(state: dict[str, Any], scope: Scope, store: Store) -> Template | None:
    """A small backup for the scope; the configuration's own newest, where there is one."""
    if scope.engine == "postgresql":
        return young_database(state)
    newest = next(iter(Catalogue(store).scope(scope).backups), None)
    return Template.read(store, newest.manifest) if newest else None


def young_database(state: dict[str, Any]) -> Template:
    """A real backup of a database with the same schema and few rows."""
    postgres, work_dir = state["postgres"], state["work_dir"]
    directory = os.path.join(work_dir, "young")
    shutil.rmtree(directory, ignore_errors=True)
    erni.create(postgres, _YOUNG, _YOUNG_SIZES)
    try:
        database = {
            **{key: postgres[key] for key in ("host", "port", "user", "password", "bin_dir")},
            "engine": "postgresql", "name": _YOUNG, "checks": [{"table": table, "rows": "source"} for table in _TABLES],
        }  # fmt: skip
        store = store_of("young", {"type": "local", "path": directory})
        job = BackupJob(
            scope=Scope(SYSTEM, "postgresql", _YOUNG), engine=engine_of("young", database, LocalRuntime()), store=store,
            label="scheduled", schedule=None, source=source_of("local", ""), work_dir=work_dir, cache_dir=work_dir,
        )  # fmt: skip
        manifest = job.take(job.preflight(job.look(remember=False)))
        if manifest is None:
            raise RuntimeError("a backup without a schedule is always taken")
        return Template.read(store, manifest)
    finally:
        erni.drop(postgres, _YOUNG)
        shutil.rmtree(directory, ignore_errors=True)
