# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mistake in a declared check condemns no backup; what was true when it was taken and is not any more, does."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import InputError
from ansible_collections.runbook.ops.plugins.module_utils._protect.verification import Outcome
from ansible_collections.runbook.ops.plugins.module_utils._records import utc_now
from ansible_collections.runbook.ops.plugins.module_utils._store.base import Store
from ansible_collections.runbook.ops.plugins.module_utils._store.declared import store_of
from support.fault_report import Fault
from support.procedures import Protected, failed, postgresql, sqlite

from lab.embedded.servers import PostgresServer


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_of("stores[0]", {"type": "local", "path": str(tmp_path / "store")})


def checking(protected: Protected, *checks: Mapping[str, Any]) -> Protected:
    return replace(protected, database={**protected.database, "checks": list(checks)})


def verified(protected: Protected, store: Store) -> Outcome:
    job = protected.verification(store)
    target, _actions = job.plan(utc_now(), remember=False)
    assert target
    return job.run(target)


MISTAKES: dict[str, dict[str, Any]] = {
    "a table that was never there": {"table": "entries", "rows": ">=1"},
    "a column that was never there": {"table": "entry", "newest": "at", "within": "1h"},
    "equality with what was not counted": {"sql": "SELECT max(id) FROM entry", "name": "last", "expect": "source"},
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistaken_check_condemns_nothing(tmp_path: Path, store: Store, mistake: str, fault: Fault) -> None:
    protected = sqlite(tmp_path)
    protected.take(store)
    said = failed(InputError, lambda: verified(checking(protected, MISTAKES[mistake]), store))
    (backup,) = protected.listing(store).backups
    assert ("has no verdict" in said, "correct the description's checks" in said, backup.verification) == (
        True,
        True,
        None,
    )
    assert verified(protected, store).verification.passed
    fault(f"a check with {mistake}", said, "no verdict is recorded; corrected, the same backup passes")


def test_another_check_that_fails_decides(tmp_path: Path, store: Store) -> None:
    protected = sqlite(tmp_path)
    protected.take(store)
    both = checking(protected, MISTAKES["a table that was never there"], {"table": "entry", "rows": 10_000})
    assert not verified(both, store).verification.passed


def test_a_table_that_was_there_when_the_backup_was_taken_must_be_in_it(tmp_path: Path, store: Store) -> None:
    """The dump is said to hold a table that it does not: evidence, whatever else is mistaken."""
    protected = checking(sqlite(tmp_path), {"table": "entry", "rows": "source"}, {"table": "also", "rows": "source"})
    with closing(sqlite3.connect(protected.database["path"])) as connection:
        connection.execute("CREATE TABLE also (id INTEGER)")
    engine = protected.engine()
    job = replace(protected.backup(store), engine=engine)
    honest = engine._copy

    def without(source: sqlite3.Connection, copy: str, deadline: Any) -> None:
        honest(source, copy, deadline)
        with closing(sqlite3.connect(copy)) as dumped:
            dumped.execute("DROP TABLE also")

    engine._copy = without
    assert job.take(job.preflight(job.look(remember=False)))
    verdict = verified(protected, store).verification
    assert (verdict.passed, [check.passed for check in verdict.checks]) == (False, [True, False])


SILENT = {
    "a table": ({"table": "entries", "rows": ">=1"}, "table_rows:entries"),
    "a column": ({"table": "entry", "newest": "at", "within": "1h"}, "freshness:entry.at"),
    "a column without times": ({"table": "entry", "newest": "data", "within": "1h"}, "freshness:entry.data"),
    "a query": ({"sql": "SELECT 1 FROM entries", "name": "wrong", "expect": 1}, "sql:wrong"),
    "an ordering": (
        {"sql": "SELECT data FROM entry ORDER BY id COLLATE nocas", "name": "order", "expect": 1},
        "sql:order",
    ),
    "a query that writes": ({"sql": "DELETE FROM entry RETURNING 1", "name": "writes", "expect": 1}, "sql:writes"),
}


def contents(directory: Path, *, marks: bool) -> dict[str, bytes]:
    """Every file's bytes. A reader of a database in use leaves its mark in the ``-shm``, as every reader does."""
    return {
        file.name: file.read_bytes() if marks or not file.name.endswith("-shm") else b""
        for file in directory.iterdir() if file.is_file()
    }  # fmt: skip


FILES = {"in use": True, "at rest": False, "behind a link": True, "after a crash": True, "without its -wal": False}


@pytest.mark.parametrize("state", FILES)
def test_check_mode_asks_the_checks_of_a_file_and_writes_nothing_beside_it(tmp_path: Path, state: str) -> None:
    protected = sqlite(tmp_path)
    path, looked_at = Path(protected.database["path"]), tmp_path / "looked at.db"
    asked = checking(protected, *(check for check, _name in SILENT.values()), {"table": "late", "rows": "source"})
    with closing(sqlite3.connect(path)) as application:
        application.execute("PRAGMA journal_mode = WAL")
        application.execute("CREATE TABLE late (id INTEGER)")
        application.execute("INSERT INTO entry (data) VALUES ('text')")
        application.commit()
        if state == "behind a link":
            looked_at.symlink_to(path)
        elif state == "after a crash":
            for suffix in ("", "-wal", "-shm"):
                shutil.copy(f"{path}{suffix}", f"{looked_at}{suffix}")
        else:
            looked_at = path
        if not FILES[state]:
            application.close()
        if state == "without its -wal":
            Path(f"{path}-shm").touch()
        before, touched = contents(tmp_path, marks=state == "after a crash"), tmp_path.stat().st_mtime_ns
        there = replace(asked, database={**asked.database, "path": str(looked_at)})
        doubts = there.engine().doubts()
        assert set(doubts) == (set() if state == "without its -wal" else {name for _check, name in SILENT.values()})
        assert contents(tmp_path, marks=state == "after a crash") == before
        assert tmp_path.stat().st_mtime_ns == touched, "a file was made, and removed again"


def test_a_mistaken_check_costs_no_backup_of_a_file(tmp_path: Path, store: Store) -> None:
    job = checking(
        sqlite(tmp_path), *(check for check, _name in SILENT.values()), {"table": "entry", "rows": "source"}
    ).backup(store)
    manifest = job.take(job.preflight(job.look(remember=False)))
    assert (
        manifest
        and "table_rows:entry" in manifest.observed
        and set(job.doubts) == {name for _check, name in SILENT.values()}
    )


def test_check_mode_asks_a_server_its_checks(postgres: PostgresServer, tmp_path: Path, store: Store) -> None:
    with postgresql(postgres, tmp_path) as protected:
        job = checking(
            protected, {"table": "order", "rows": ">=1"}, {"table": "orders", "newest": "id", "within": "1h"},
            {"table": "orders", "rows": "source"}, {"extension": "vector"},
        ).backup(store)  # fmt: skip
        job.predict(job.preflight(job.look(remember=False)), utc_now())
        assert job.doubts == {
            "table_rows:order": 'no answer: relation "order" does not exist',
            "freshness:orders.id": "no answer: column id holds no dates or times",
            "extension:vector": "absent, expected present",
        }


def test_what_a_server_does_not_answer_is_told_with_its_backup(
    postgres: PostgresServer, tmp_path: Path, store: Store
) -> None:
    with postgresql(postgres, tmp_path) as protected:
        mistaken = checking(protected, {"table": "order", "rows": "source"}, {"table": "orders", "rows": "source"})
        job = mistaken.backup(store)
        assert job.take(job.preflight(job.look(remember=False)))
        assert list(job.doubts) == ["table_rows:order"]
        failed(InputError, lambda: verified(mistaken, store))
        assert verified(protected, store).verification.passed


def test_what_is_not_what_is_expected_is_told_before_a_verification_condemns_the_backup(
    tmp_path: Path, store: Store
) -> None:
    protected = sqlite(tmp_path)
    forty = {"sql": "SELECT 40", "name": "forty"}
    asked = checking(protected, {**forty, "expect": ">=41"}, {"sql": "SELECT 40", "name": "right", "expect": 40})
    job = asked.backup(store)
    job.predict(job.preflight(job.look(remember=False)), utc_now())
    assert job.doubts == {"sql:forty": "40, expected >=41"}
    assert job.take(job.preflight(job.look(remember=False))) and job.doubts == {"sql:forty": "40, expected >=41"}


def test_a_verdict_that_was_the_check_s_fault_can_be_taken_back(tmp_path: Path, store: Store) -> None:
    protected = sqlite(tmp_path)
    right, wrong = (checking(protected, {"sql": "SELECT 40", "name": "forty", "expect": number}) for number in (40, 41))
    job = right.backup(store)
    assert job.take(job.preflight(job.look(remember=False)))
    assert not verified(wrong, store).verification.passed
    failed(InputError, lambda: verified(right, store))
    (verdict,) = (tmp_path / "store").rglob("verification.json")
    verdict.unlink()
    assert verified(right, store).verification.passed
