# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks that are full, or fill while a procedure works: said plainly, nothing left behind, the next run works."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils import _scratch
from ansible_collections.runbook.ops.plugins.module_utils._engine import postgresql as postgresql_engine
from ansible_collections.runbook.ops.plugins.module_utils._engine import sqlite as sqlite_engine
from ansible_collections.runbook.ops.plugins.module_utils._errors import NoSpace, RunbookError
from ansible_collections.runbook.ops.plugins.module_utils._records import utc_now
from ansible_collections.runbook.ops.plugins.module_utils._store.local import LocalStore
from support.fault_report import Fault
from support.procedures import Protected, failed, leftovers, nothing_but, postgresql, sqlite, whole

from lab.embedded.servers import PostgresServer

KIB, MIB = 1 << 10, 1 << 20


@pytest.fixture
def shop(postgres: PostgresServer, tmp_path: Path) -> Iterator[Protected]:
    with postgresql(postgres, tmp_path) as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "store"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    mounted = []

    def mount(size: int) -> Path:
        path = tmp_path / "small"
        path.mkdir()
        argv = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=711", "tmpfs", str(path)]
        if os.geteuid() != 0 or subprocess.run(argv, check=False, capture_output=True).returncode:
            pytest.skip("NOT RUN: a small disk to fill needs root and the right to mount a tmpfs")
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        subprocess.run(["umount", str(path)], check=True)


@contextmanager
def filled(disk: Path, leaving: int) -> Iterator[None]:
    """All but so many bytes of a disk are taken."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(_scratch.free_space(str(disk)) - leaving, 1))
    yield
    filler.unlink()


@pytest.mark.parametrize("phase", ["preflight", "lease", "artefact", "manifest"])
def test_the_store_is_full(tmp_path: Path, small_disk: Callable[[int], Path], phase: str, fault: Fault) -> None:
    disk = small_disk(2 * MIB)
    store, protected = LocalStore(str(disk / "store")), sqlite(tmp_path)
    good = {protected.take(store).id}
    job = protected.backup(store)
    listing = job.look(remember=False)
    facts = job.preflight(listing)
    artefact = protected.listing(store).backups[0].manifest.artefacts[0].size
    # In pages of 4 KiB: the lease takes one; so does the manifest, when the lease and the artefact have theirs.
    leaving = {
        "preflight": 64 * KIB,
        "lease": 0,
        "artefact": artefact // 2,
        "manifest": -(-artefact // 4096) * 4096 + 4096,
    }
    with filled(disk, leaving[phase]):
        run = (lambda: job.preflight(listing)) if phase == "preflight" else (lambda: job.take(facts))
        said = failed(NoSpace, run)
        assert str(store.label) in said
        assert whole(protected, store) == good
        assert leftovers(store) == []
    nothing_but(protected, store, good)
    fault(f"the store's disk is full ({phase})", said, "earlier backup whole, store clean, next run works")


def test_the_other_store_is_mounted_read_only(
    tmp_path: Path, store: LocalStore, small_disk: Callable[[int], Path], fault: Fault
) -> None:
    """The owner of everything is not told to become somebody who may; check mode sees it as well."""
    disk = small_disk(2 * MIB)
    far, protected = LocalStore(str(disk / "store")), sqlite(tmp_path)
    protected.take(store)
    job = protected.copying(store, far)
    for begun in (disk, far.root):  # what cannot be written: where the store's directory would be, then that directory
        plans = job.plan(utc_now(), remember=False)
        assert job.foresee(plans) == []
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        (foreseen,), (said,) = job.foresee(plans), protected.copy(store, far)
        assert foreseen == said
        assert f"{begun} is mounted read-only: mount it for writing" in said
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        assert protected.copy(store, far) == [] and whole(protected, far) == whole(protected, store)
        protected.take(store)
    fault("the other store is mounted read-only", said, "local backup good, foreseen by check mode, next run copies")


def test_the_disk_of_the_scratch_copy_is_full(
    tmp_path: Path, store: LocalStore, small_disk: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    protected = sqlite(tmp_path, megabytes=2)
    disk = small_disk(1 * MIB)
    cramped = replace(protected, work_dir=str(disk))
    before = failed(NoSpace, lambda: cramped.take(store))
    facts = (job := protected.backup(store)).preflight(job.look(remember=False))
    monkeypatch.setattr(sqlite_engine, "require_space", lambda *_: None)  # somebody else fills it after we looked
    during = failed(NoSpace, lambda: cramped.backup(store).take(facts))
    assert "disk is full" in during
    assert [name for name in os.listdir(disk) if not name.startswith(".")] == []
    nothing_but(protected, store, set())
    fault("no space for SQLite's scratch copy (preflight)", before, "nothing written, next run works")
    fault("the disk fills during SQLite's scratch copy", during, "scratch removed, store clean, next run works")


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_the_disk_of_the_verification_is_full(
    request: pytest.FixtureRequest, tmp_path: Path, store: LocalStore, small_disk: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch, engine: str, fault: Fault,
) -> None:  # fmt: skip
    protected = sqlite(tmp_path, megabytes=2) if engine == "sqlite" else request.getfixturevalue("shop")
    good = {protected.take(store).id}
    disk = small_disk(1 * MIB if engine == "sqlite" else 60 * MIB)  # an empty server takes 40 of them
    cramped = replace(protected, work_dir=str(disk))

    def verify(place: Protected) -> Any:
        job = place.verification(store)
        target, _actions = job.plan(utc_now(), remember=False)
        assert target
        return job.run(target)

    before = failed(NoSpace, lambda: verify(cramped))
    for module in (sqlite_engine, postgresql_engine):
        monkeypatch.setattr(module, "require_space", lambda *_: None)  # somebody else fills it after we looked
    during = failed(RunbookError, lambda: verify(cramped))
    assert any(words in during for words in ("space", "full")), during
    assert protected.listing(store).backups[0].verification is None, "a full disk says nothing about the backup"
    assert [name for name in os.listdir(disk) if not name.startswith(".")] == []
    assert (whole(protected, store), leftovers(store)) == (good, [])
    assert verify(protected).verification.passed
    fault(
        f"no space for a verification's scratch ({engine}, preflight)", before, "no verdict recorded, next run passes"
    )
    fault(
        f"the disk fills during a verification ({engine})",
        during,
        "no verdict recorded, scratch removed, next run passes",
    )
