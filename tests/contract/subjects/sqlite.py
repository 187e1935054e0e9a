# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQLite for the contract suite: a database in WAL mode whose rows are still in the log."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._engine.sqlite import SqliteEngine
from ansible_collections.runbook.ops.plugins.module_utils._runtime.local import LocalInstance
from contract.subjects.base import Subject

SCHEMA = '''
PRAGMA journal_mode = WAL;
CREATE TABLE orders (id INTEGER PRIMARY KEY, placed_at TEXT NOT NULL, total REAL);
CREATE TABLE "Über ""Notes""" ("at time" INTEGER, body TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
INSERT INTO orders SELECT i, datetime('now', '-' || i || ' minutes'), i * 1.5 FROM n;
INSERT INTO "Über ""Notes""" SELECT unixepoch() - id, printf('%200s', id) FROM orders LIMIT 40;
'''


class SqliteSubject(Subject):
    holding = (
        {"table": "orders", "rows": "source"},
        {"table": 'Über "Notes"', "rows": ">=40"},
        {"table": "orders", "newest": "placed_at", "within": "1h"},
        {"table": 'Über "Notes"', "newest": "at time", "within": "1h"},
        {"sql": "SELECT sum(total) FROM orders", "name": "turnover", "expect": "source"},
        {"sql": "SELECT group_concat(id) FROM orders WHERE id < 4", "name": "first ids", "expect": "source"},
    )

    def __init__(self, path: Path, work_dir: Path) -> None:
        self.path = path
        self.work_dir = work_dir
        self.failing = {"table": "orders", "rows": ">=1000"}
        self.connection = sqlite3.connect(path)
        self.connection.executescript(SCHEMA)

    def declaration(self, **also: Any) -> dict[str, Any]:
        return {
            "engine": "sqlite", "name": "shop", "path": str(self.path), "work_dir": str(self.work_dir),
            "lock_timeout": "1s", "timeout": "60s", **also,
        }  # fmt: skip

    def engine(self, checks: Sequence[Mapping[str, Any]] = (), **also: Any) -> SqliteEngine:
        return SqliteEngine.declared("databases[0]", self.declaration(checks=checks, **also), LocalInstance())

    def unreachable(self) -> SqliteEngine:
        return self.engine(path=str(self.path.with_name("gone.db")))

    def change(self) -> None:
        with self.connection:
            self.connection.execute("DELETE FROM orders WHERE id % 2 = 0")


@contextmanager
def subject(directory: Path, request: pytest.FixtureRequest) -> Iterator[Subject]:
    work_dir = directory / "work"
    work_dir.mkdir()
    made = SqliteSubject(directory / "shop & co.db", work_dir)
    with closing(made.connection):
        yield made
