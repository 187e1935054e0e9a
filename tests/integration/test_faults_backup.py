# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong while a backup is taken: one clear sentence, nothing published, nothing lost, the next run works."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._description import Objectives
from ansible_collections.runbook.ops.plugins.module_utils._errors import Busy, CommandFailed
from ansible_collections.runbook.ops.plugins.module_utils._protect import backup as _backup
from ansible_collections.runbook.ops.plugins.module_utils._protect.status import DatabaseStatus, Schedules, Shelf
from ansible_collections.runbook.ops.plugins.module_utils._records import Manifest, utc_now
from ansible_collections.runbook.ops.plugins.module_utils._store.base import Upload
from ansible_collections.runbook.ops.plugins.module_utils._store.local import LocalStore
from support.fault_report import Fault
from support.procedures import ROWS, Protected, failed, leftovers, nothing_but, policy, postgresql, prune, sqlite, whole
from support.processes import children, gone
from support.slots import DAILY

from lab.embedded.servers import PostgresServer


@pytest.fixture
def shop(postgres: PostgresServer, tmp_path: Path) -> Iterator[Protected]:
    """40 MB: more than zstd's workers take in before they give something out, however busy the machine is."""
    with postgresql(postgres, tmp_path, ROWS.replace("12000", "40000")) as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "store"))


class Pausing(LocalStore):
    """Stops in the middle of the first artefact's bytes until it may go on."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.reached, self.may_go_on = threading.Event(), threading.Event()

    @contextmanager
    def upload(self, key: str, *, size_hint: int, storage_class: str | None = None) -> Iterator[Upload]:
        with super().upload(key, size_hint=size_hint, storage_class=storage_class) as upload:
            write = upload.write

            def paused(data: bytes) -> None:
                write(data[: len(data) // 2])
                self.reached.set()
                assert self.may_go_on.wait(60)
                write(data[len(data) // 2 :])

            if "/data." in key:
                upload.write = paused  # type: ignore[method-assign]
            yield upload


class Running:
    """A backup that stands in the middle of its first artefact, in a thread."""

    def __init__(self, protected: Protected, path: str) -> None:
        self.store = Pausing(path)
        self.outcome: list[Manifest | BaseException] = []
        self._protected = protected
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self.store.reached.wait(60), self.outcome

    def _run(self) -> None:
        try:
            self.outcome.append(self._protected.take(self.store))
        except BaseException as error:
            self.outcome.append(error)

    def end(self) -> Manifest | BaseException:
        self.store.may_go_on.set()
        self._thread.join(60)
        return self.outcome[0]


# Programs that end early


def test_pg_dump_is_killed(shop: Protected, store: LocalStore, fault: Fault) -> None:
    good = {shop.take(store).id}
    running = Running(shop, store.root)
    (dump,) = (pid for pid, name in children(os.getpid()).items() if name == "pg_dump")
    os.kill(dump, signal.SIGKILL)
    error = running.end()
    assert isinstance(error, CommandFailed)
    assert str(error) == "pg_dump was ended by SIGKILL, and said nothing."
    assert gone(dump)
    nothing_but(shop, store, good)
    fault("SIGKILL of pg_dump in the middle of a dump", error, "earlier backup whole, store clean, next run works")


HALF = """#!/bin/sh
case "$*" in *--version*) exec {real} "$@" ;; esac
{real} "$@" | head -c 100000
echo "pg_dump: error: server closed the connection unexpectedly" >&2
exit 1
"""


def test_pg_dump_fails_half_way(shop: Protected, store: LocalStore, tmp_path: Path, fault: Fault) -> None:
    """A fault that the real program cannot be made to show reliably: it stands in front of the real one."""
    good = {shop.take(store).id}
    real, bin_dir = Path(shop.database["bin_dir"]), tmp_path / "bin"
    bin_dir.mkdir()
    for program in real.iterdir():
        (bin_dir / program.name).symlink_to(program)
    (bin_dir / "pg_dump").unlink()
    (bin_dir / "pg_dump").write_text(HALF.format(real=real / "pg_dump"))
    (bin_dir / "pg_dump").chmod(0o755)
    said = failed(CommandFailed, lambda: replace(shop, database={**shop.database, "bin_dir": str(bin_dir)}).take(store))
    assert "pg_dump failed with return code 1: pg_dump: error: server closed the connection unexpectedly" in said
    nothing_but(shop, store, good)
    fault("pg_dump fails after half of the dump", said, "earlier backup whole, store clean, next run works")


# Two at a time


def test_two_backups_at_once(shop: Protected, store: LocalStore, tmp_path: Path, fault: Fault) -> None:
    running = Running(shop, store.root)
    (tmp_path / "elsewhere").mkdir()
    other_host = replace(shop, work_dir=str(tmp_path / "elsewhere"))
    here, there = (failed(Busy, lambda run=run: run.take(store)) for run in (shop, other_host))
    assert f"Another backup of {shop.scope} is running on this host (process {os.getpid()})" in here
    assert f"{shop.database['name']}" in there
    assert "Another backup of" in there
    assert all(said.endswith("let it finish, nothing was touched.") for said in (here, there))
    made = running.end()
    assert isinstance(made, Manifest)
    assert whole(shop, store) == {made.id}
    assert leftovers(store) == []
    fault("two backups of a database at once, one host", here, "one backup, whole")
    fault("two backups of a database at once, two hosts", there, "one backup, whole")


def test_a_slot_is_served_once(tmp_path: Path, store: LocalStore, fault: Fault) -> None:
    """The second of two scheduled runs that both found the slot empty."""
    protected = sqlite(tmp_path)
    first, second = (protected.backup(store, schedule=DAILY) for _run in range(2))
    facts = second.preflight(second.look(remember=False))
    assert first.take(facts)
    assert second.take(facts) is None
    assert len(whole(protected, store)) == 1
    fault("two scheduled runs for one slot", "the second takes nothing", "one backup, whole")


def test_a_prune_during_a_backup(shop: Protected, store: LocalStore, fault: Fault) -> None:
    kept = shop.take(store).id
    old = shop.forged(store, timedelta(days=3)).id
    running = Running(shop, store.root)
    before = leftovers(store)
    (pruned,) = prune(store, count=1)
    assert (pruned.errors, [backup.id for backup in pruned.doomed()]) == ([], [old])
    assert leftovers(store) == before
    assert any(name.endswith("/lease.json") for name in before)
    assert whole(shop, store) == {kept}
    made = running.end()
    assert isinstance(made, Manifest)
    assert whole(shop, store) == {kept, made.id}
    assert leftovers(store) == []
    fault("a prune during a backup", "old backup deleted, the running one left alone", "running backup ends whole")


# Clocks


def test_the_clock_stepped_back(
    tmp_path: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    protected, other = sqlite(tmp_path), sqlite(tmp_path, name="other")
    now, schedule = utc_now(), "* * * * *"
    past = {protected.forged(store, timedelta(days=days)).id for days in (2, 3)}
    theirs = [other.forged(store, timedelta(days=days)).id for days in (1, 2)]
    with monkeypatch.context() as ahead:
        ahead.setattr(_backup, "utc_now", lambda: now + timedelta(hours=2))
        future = protected.take(store)
    job = protected.backup(store, schedule)
    reason = job.reason(job.look(remember=False), now)
    assert reason
    assert "has no backup yet" in reason
    status = DatabaseStatus(
        protected.scope,
        [Shelf(store.label, job.look(remember=False), policy())],
        Schedules(),
        Objectives(None, None),
        now,
    )
    assert status.summary()["stores"][0]["future"] == [future.id]
    pruned: Mapping[str, Any] = {scope.listing.scope.database: scope for scope in prune(store, count=1)}
    (refused,) = pruned["sme"].errors
    assert future.id in refused
    assert whole(protected, store) == past | {future.id}
    assert (pruned["other"].errors, whole(other, store)) == ([], {theirs[0]})
    facts = job.preflight(job.look(remember=False))
    made = job.take(facts)
    assert made
    assert whole(protected, store) == past | {future.id, made.id}
    fault(
        "the clock stepped back: newest backup in the future",
        refused,
        "due again; the list names it; prune refuses here, does the others",
    )
