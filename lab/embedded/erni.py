# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ERNI system's data: conversations in PostgreSQL, guardrail verdicts and sessions in Redis."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
import redis
from psycopg import sql

DATABASE = "erni_agents"
OWNER = "erni_user"
SIZES = {"demo.projects": 1_500, "demo.conversations": 18_000}
"""About 100 MB in PostgreSQL."""

_GUARDRAILS = 4_000
_SESSIONS = 800
_SESSION_SECONDS = 30 * 86_400
_SCHEMA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "erni.sql")


@contextmanager
def connected(postgres: Mapping[str, Any], database: str, user: str, password: str) -> Iterator[psycopg.Connection]:
    """A connection in autocommit mode."""
    with psycopg.connect(
        host=postgres["host"], port=postgres["port"], dbname=database, user=user, password=password, autocommit=True
    ) as connection:
        yield connection


def create(postgres: Mapping[str, Any], database: str, sizes: Mapping[str, int]) -> None:
    """Make roles, grants, ``database`` and its rows; what an interrupted attempt left is replaced."""
    with connected(postgres, "postgres", postgres["superuser"], postgres["superuser_password"]) as admin:
        present = {name for (name,) in admin.execute("SELECT rolname FROM pg_roles")}
        for role, options in (
            ("erni_readers", sql.SQL("NOLOGIN")),
            (OWNER, _login(admin, OWNER, postgres["password"])),
            (
                "erni_reporting",
                _login(admin, "erni_reporting", secrets.token_urlsafe(18)) + sql.SQL(" IN ROLE erni_readers"),
            ),
        ):
            if role not in present:
                admin.execute(sql.SQL("CREATE ROLE {} {}").format(sql.Identifier(role), options))
        name, owner = sql.Identifier(database), sql.Identifier(OWNER)
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(name, owner))
        admin.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(name))
        admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO erni_readers").format(name))
    with (
        open(_SCHEMA, encoding="utf-8") as file,
        connected(postgres, database, OWNER, postgres["password"]) as connection,
        connection.transaction(),
    ):
        for setting, value in sizes.items():
            connection.execute("SELECT set_config(%s, %s, true)", (setting, str(value)))
        connection.execute(file.read())


def _login(admin: psycopg.Connection, role: str, password: str) -> sql.Composed:
    """Hashed on this side, so that the server's log can never show it."""
    hashed = admin.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    return sql.SQL("LOGIN PASSWORD {}").format(hashed.decode())


def drop(postgres: Mapping[str, Any], database: str) -> None:
    """Remove a database that ``create`` made."""
    with connected(postgres, "postgres", postgres["superuser"], postgres["superuser_password"]) as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))


def fill_cache(server: Mapping[str, Any]) -> None:
    """Put the keys there, and on disk."""
    client = redis.Redis(host=server["host"], port=server["port"], password=server["password"])
    with client.pipeline(transaction=False) as pipeline:
        for number in range(_GUARDRAILS):
            digest = hashlib.sha256(f"question {number}".encode()).hexdigest()[:16]
            verdict = {"relevant": number % 7 != 0, "reason": f"rule {number % 11}", "model": "gpt-4o-mini"}
            pipeline.set(f"guardrail:relevance:{digest}", json.dumps(verdict))
        for number in range(_SESSIONS):
            digest = hashlib.sha256(f"session {number}".encode()).hexdigest()[:24]
            pipeline.hset(f"session:{digest}", mapping={"conversation": number + 1, "agent": "Triage"})
            pipeline.expire(f"session:{digest}", _SESSION_SECONDS)
        pipeline.execute()
    client.save()
    client.close()
