# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the backend keeps in PostgreSQL, over a pool of connections that live as long as the application."""

from __future__ import annotations

import os
from typing import Any

from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

# The documented tables come with the database; these are the application's own.
_JOBS = """
CREATE TABLE IF NOT EXISTS jobs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversation_id bigint NOT NULL REFERENCES conversations ON DELETE CASCADE,
    kind text NOT NULL,
    status text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'done')),
    result text,
    created_at timestamptz NOT NULL DEFAULT now(),
    done_at timestamptz
)
"""
_PAGES = {
    "conversations": "SELECT id, customer_name, customer_email, status, created_at"
    " FROM conversations ORDER BY created_at DESC, id DESC LIMIT %s",
    "projects": "SELECT project_number, project_type, status, progress, current_stage"
    " FROM projects ORDER BY created_at DESC, id DESC LIMIT %s",
    "consultations": "SELECT specialist_type, specialist_name, consultation_date, consultation_time, status"
    " FROM consultations ORDER BY consultation_date DESC, id DESC LIMIT %s",
}


class Database:
    """Each method is one transaction."""

    def __init__(self) -> None:
        parameters = {
            "host": os.environ.get("DB_HOST", "postgres"), "port": os.environ.get("DB_PORT", "5432"),
            "dbname": os.environ.get("DB_NAME", "erni_agents"), "user": os.environ.get("DB_USER", "erni_user"),
            "password": os.environ["DB_PASSWORD"], "application_name": "erni-backend", "row_factory": dict_row,
        }  # fmt: skip
        self.pool = ConnectionPool(kwargs=parameters, min_size=2, max_size=10, timeout=5, open=False)

    def open(self) -> None:
        self.pool.open(wait=True, timeout=30)
        self._execute(_JOBS)

    def check(self) -> None:
        """Answers a query; connections that died are replaced."""
        self.pool.check()
        self._execute("SELECT 1")

    def page(self, name: str, limit: int) -> list[dict[str, Any]]:
        return self._all(_PAGES[name], limit)

    def messages(self, conversation: int, limit: int) -> list[dict[str, Any]]:
        return self._all(
            "SELECT id, role, agent_name, content, created_at FROM messages WHERE conversation_id = %s ORDER BY id LIMIT %s",
            conversation, limit,
        )  # fmt: skip

    def begin(self, name: str, email: str) -> int:
        return self._id(
            "INSERT INTO conversations (customer_name, customer_email, status) VALUES (%s, %s, 'open') RETURNING id",
            name, email,
        )  # fmt: skip

    def owner(self, conversation: int) -> str | None:
        rows = self._all("SELECT customer_email FROM conversations WHERE id = %s", conversation)
        return rows[0]["customer_email"] if rows else None

    def say(self, conversation: int, content: str, agent: str, reply: str) -> tuple[int, int]:
        """A question and its answer: both or neither."""
        add = "INSERT INTO messages (conversation_id, role, agent_name, content) VALUES (%s, %s, %s, %s) RETURNING id"
        with self.pool.connection() as connection:
            asked = connection.execute(add, (conversation, "user", None, content)).fetchone()
            answered = connection.execute(add, (conversation, "assistant", agent, reply)).fetchone()
        return asked["id"], answered["id"]

    def answer(self, conversation: int) -> str | None:
        """The newest answer."""
        rows = self._all(
            "SELECT content FROM messages WHERE conversation_id = %s AND role = 'assistant' ORDER BY id DESC LIMIT 1",
            conversation,
        )
        return rows[0]["content"] if rows else None

    def enqueue(self, conversation: int, kind: str) -> int:
        return self._id("INSERT INTO jobs (conversation_id, kind) VALUES (%s, %s) RETURNING id", conversation, kind)

    def job(self, number: int) -> dict[str, Any] | None:
        rows = self._all("SELECT id, kind, status, result, created_at, done_at FROM jobs WHERE id = %s", number)
        return rows[0] if rows else None

    def work(self) -> bool:
        """Do the oldest job that nobody else is doing; one whose worker dies is queued still. Whether there was one."""
        with self.pool.connection() as connection:
            job = connection.execute(
                "SELECT id, conversation_id FROM jobs WHERE status = 'queued' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED"
            ).fetchone()
            if not job:
                return False
            connection.execute(
                "UPDATE jobs SET status = 'done', done_at = now(), result = ("
                " SELECT count(*) || ' messages, ' || md5(string_agg(content, '' ORDER BY id)) FROM messages"
                " WHERE conversation_id = %s) WHERE id = %s",
                (job["conversation_id"], job["id"]),
            )
        return True

    def _all(self, query: str, *values: Any) -> list[dict[str, Any]]:
        with self.pool.connection() as connection:
            return connection.execute(query, values).fetchall()

    def _id(self, query: str, *values: Any) -> int:
        return self._all(query, *values)[0]["id"]

    def _execute(self, query: str) -> None:
        with self.pool.connection() as connection:
            connection.execute(query)
