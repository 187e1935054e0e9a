# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ERP keeps in SQLite: the business in one file in WAL mode, alerts in another."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

DIRECTORY = os.environ.get("SME_DIRECTORY", "/workspaces/sme_erp/backend")
BUSINESS = os.path.join(DIRECTORY, "sme_erp_dev.db")
ALERTS = os.path.join(DIRECTORY, "ops", "alerts.db")
BUSY_SECONDS = 10
_SESSIONS = """
CREATE TABLE IF NOT EXISTS sessions (
    token_digest TEXT PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users, created_at TEXT NOT NULL
)
"""
_ALERTS = """
CREATE TABLE IF NOT EXISTS alerts (
    id INTEGER PRIMARY KEY, severity TEXT NOT NULL, title TEXT NOT NULL, resolved INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL
)
"""


@contextmanager
def transaction(path: str = BUSINESS) -> Iterator[sqlite3.Connection]:
    """A connection of one request's own; all it did is kept, or nothing is."""
    connection = sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            yield connection
    finally:
        connection.close()


def prepare() -> None:
    """The tables that are the application's own. The business's file has to be there: an empty one would look healthy."""
    with transaction() as business:
        business.execute(_SESSIONS)
    with sqlite3.connect(ALERTS, timeout=BUSY_SECONDS) as alerts:
        alerts.execute("PRAGMA journal_mode = WAL")
        alerts.execute(_ALERTS)
    alerts.close()


def query(sql: str, *values: Any) -> list[dict[str, Any]]:
    """What a question that changes nothing is answered; it waits for no writer."""
    connection = sqlite3.connect(f"file:{BUSINESS}?mode=rw", uri=True, timeout=BUSY_SECONDS)
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute(sql, values)]
    finally:
        connection.close()


def sign_in(email: str) -> str | None:
    """A token for this user, if there is one; only its digest is kept."""
    token = secrets.token_urlsafe(24)
    with transaction() as business:
        user = business.execute("SELECT id FROM users WHERE email = ?", (email,)).fetchone()
        if user is None:
            return None
        business.execute("INSERT INTO sessions VALUES (?, ?, ?)", (_digest(token), user["id"], _now()))
        business.execute("DELETE FROM sessions WHERE rowid < (SELECT max(rowid) FROM sessions) - 5000")
    return token


def user_of(token: str) -> int | None:
    rows = query("SELECT user_id FROM sessions WHERE token_digest = ?", _digest(token))
    return rows[0]["user_id"] if rows else None


def place(user: int, product: int, quantity: int) -> int | None:
    """An order and its audit record; nothing where there is no such product."""
    with transaction() as business:
        if business.execute("SELECT 1 FROM products WHERE id = ?", (product,)).fetchone() is None:
            return None
        order = business.execute(
            "INSERT INTO orders (user_id, product_id, quantity, created_at) VALUES (?, ?, ?, ?)",
            (user, product, quantity, _now()),
        ).lastrowid
        business.execute("INSERT INTO audit (order_id, action, created_at) VALUES (?, 'created', ?)", (order, _now()))
    return order


def alert(severity: str, title: str) -> None:
    with transaction(ALERTS) as alerts:
        alerts.execute("INSERT INTO alerts (severity, title, created_at) VALUES (?, ?, ?)", (severity, title, _now()))


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _digest(token: str) -> str:
    """Keyed, so that whoever reads a backup cannot find tokens out by trying."""
    return hmac.new(os.environ["SECRET_KEY"].encode(), token.encode(), hashlib.sha256).hexdigest()
