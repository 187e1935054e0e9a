# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL for the contract suite: a database with rows, an extension, and a role that owns a table."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from ansible_collections.runbook.ops.plugins.module_utils._engine._postgresql_session import dump_session
from ansible_collections.runbook.ops.plugins.module_utils._engine.postgresql import PostgresqlEngine
from ansible_collections.runbook.ops.plugins.module_utils._runtime.base import Instance
from ansible_collections.runbook.ops.plugins.module_utils._runtime.local import LocalInstance
from contract.subjects.base import Subject
from psycopg import sql
from support.containers import Server

from lab.embedded.servers import PostgresServer

SCHEMA = """
CREATE EXTENSION vector;
CREATE TABLE orders (id int PRIMARY KEY, placed_at timestamptz NOT NULL, total numeric(12, 2), place vector(3));
INSERT INTO orders SELECT n, now() - n * interval '1 minute', n * 1.5, '[1,2,3]' FROM generate_series(1, 500) n;
CREATE SCHEMA "Back Office";
CREATE TABLE "Back Office"."Notes" (text text);
INSERT INTO "Back Office"."Notes" SELECT repeat('Übergröße ', 20) FROM generate_series(1, 40);
"""


class PostgresqlSubject(Subject):
    extension = "vector"

    def __init__(self, server: PostgresServer | Server, database: str, role: str) -> None:
        self.secret = server.password
        self.server = server
        self.database = database
        self.failing = {"table": "orders", "rows": ">=1000"}
        self.holding = (
            {"table": "orders", "rows": "source"},
            {"table": "Back Office.Notes", "rows": ">=40"},
            {"table": "orders", "newest": "placed_at", "within": "1h"},
            {"sql": "SELECT sum(total) FROM orders", "name": "turnover", "expect": "source"},
            {"sql": "SELECT lower('ÜBER')", "name": "letters", "expect": "über"},
            {"extension": self.extension},
            {"role": role},
        )

    def connect(self, **also: Any) -> psycopg.Connection[Any]:
        server = self.server
        login = {"host": server.host, "port": server.port, "user": server.user, "password": server.password}
        return psycopg.connect(**{**login, "dbname": self.database, "autocommit": True, **also})

    def declaration(self, **also: Any) -> dict[str, Any]:
        server = self.server
        return {
            "engine": "postgresql", "name": self.database, "host": server.host, "port": server.port,
            "user": server.user, "password": server.password, "bin_dir": server.bin_dir, "timeout": "60s", **also,
        }  # fmt: skip

    def engine(self, checks: Sequence[Mapping[str, Any]] = (), **also: Any) -> PostgresqlEngine:
        return PostgresqlEngine.declared("databases[0]", self.declaration(checks=checks, **also), self.instance)

    @property
    def instance(self) -> Instance:
        return LocalInstance()

    def unreachable(self) -> PostgresqlEngine:
        return self.engine(port=1)

    def change(self) -> None:
        with self.connect() as connection:
            connection.execute("DELETE FROM orders WHERE id % 2 = 0")

    def busy(self) -> AbstractContextManager[None]:
        return dump_session(self.engine()._reached(), lock_timeout=1)  # type: ignore[return-value]


@contextmanager
def postgresql_subject(
    server: PostgresServer | Server, name: str, schema: str = SCHEMA, kind: type[PostgresqlSubject] = PostgresqlSubject
) -> Iterator[PostgresqlSubject]:
    """A database of this name, and a role that owns a table of it and is a member of another."""
    role = f"keeper_{secrets.token_hex(4)}"
    made = kind(server, name, role)
    with made.connect(dbname="postgres") as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        connection.execute(f"CREATE ROLE {role} LOGIN; GRANT pg_read_all_data TO {role} WITH ADMIN OPTION")
    try:
        with made.connect() as connection:
            connection.execute(schema)
            connection.execute(f"CREATE TABLE kept (id int); ALTER TABLE kept OWNER TO {role}")
        yield made
    finally:
        with made.connect(dbname="postgres") as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            connection.execute(f"DROP ROLE {role}")


@contextmanager
def subject(directory: Path, request: pytest.FixtureRequest) -> Iterator[Subject]:
    with postgresql_subject(request.getfixturevalue("postgres"), f"shop_{secrets.token_hex(4)}") as made:
        yield made
