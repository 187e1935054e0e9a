# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The SME system's data: an ERP's SQLite database in WAL mode."""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import suppress

_SCHEMA = """
CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE, role TEXT NOT NULL);
CREATE TABLE products (id INTEGER PRIMARY KEY, sku TEXT NOT NULL UNIQUE, name TEXT NOT NULL, price_cents INTEGER NOT NULL);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users, product_id INTEGER NOT NULL REFERENCES products,
    quantity INTEGER NOT NULL CHECK (quantity > 0), created_at TEXT NOT NULL
);
CREATE TABLE audit (
    id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL, action TEXT NOT NULL, created_at TEXT NOT NULL
);
CREATE INDEX orders_by_user ON orders (user_id);
"""
USERS, PRODUCTS, ORDERS = 200, 500, 6_000
KEPT_ORDERS = 20_000
"""The writer deletes what is older, so that a demo that runs for weeks stays small."""


def create(path: str) -> None:
    """Make the database whole or not at all; one that is there already is kept."""
    if os.path.exists(path):
        return
    partial = f"{path}.partial"
    for suffix in ("", "-wal", "-shm"):
        if os.path.exists(partial + suffix):
            os.unlink(partial + suffix)
    chance = random.Random(1925)  # noqa: S311 - the same rows on every machine
    connection = sqlite3.connect(partial)
    with connection:
        connection.executescript(_SCHEMA)
        connection.executemany(
            "INSERT INTO users VALUES (?, ?, ?)",
            ((n, f"user{n}@example.com", chance.choice(("admin", "sales", "stock"))) for n in range(1, USERS + 1)),
        )
        connection.executemany(
            "INSERT INTO products VALUES (?, ?, ?, ?)",
            ((n, f"SKU-{n:05}", f"Product {n}", chance.randrange(100, 99_900)) for n in range(1, PRODUCTS + 1)),
        )
        for _time in range(ORDERS):
            place_order(connection, chance)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    os.rename(partial, path)


def connect(path: str) -> sqlite3.Connection:
    """As the application does it."""
    connection = sqlite3.connect(path, timeout=30)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def last_write(path: str) -> int | None:
    """When something was last written. Without opening it: root would make files that the writer cannot write to."""
    with suppress(FileNotFoundError):
        return os.stat(f"{path}-wal").st_mtime_ns
    return None


def place_order(connection: sqlite3.Connection, chance: random.Random) -> None:
    """One order and its audit record; the caller commits."""
    order = connection.execute(
        "INSERT INTO orders (user_id, product_id, quantity, created_at) VALUES (?, ?, ?, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))",
        (chance.randint(1, USERS), chance.randint(1, PRODUCTS), chance.randint(1, 20)),
    ).lastrowid
    connection.execute(
        "INSERT INTO audit (order_id, action, created_at) VALUES (?, 'created', strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))",
        (order,),
    )


def forget_old_orders(connection: sqlite3.Connection) -> None:
    """Keep the newest; the caller commits."""
    for table, column in (("audit", "order_id"), ("orders", "id")):
        connection.execute(
            f"DELETE FROM {table} WHERE {column} <= (SELECT max(id) FROM orders) - ?",  # noqa: S608 - names above
            (KEPT_ORDERS,),
        )
