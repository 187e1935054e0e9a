# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two PostgreSQL databases, the same on every machine: prose, and random bytes, which no compressor can pack.

Seeded once: a database that has its final name is whole.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import psycopg
from psycopg import sql

from lab.embedded.servers import PostgresServer

TABLES = 4
"""So that a parallel restore has something to do at once."""

_AT_ONCE = 200
"""Rows."""

RowBody = Callable[[], bytes]


@dataclass(frozen=True)
class Dataset:
    """A kind of data: rows with a body of type ``column``, some ``row_bytes`` each, as COPY reads it from ``bodies``."""

    kind: str
    column: str
    row_bytes: int
    bodies: Callable[[random.Random], RowBody]


def _prose(generator: random.Random) -> RowBody:
    """Sentences of 4,000 words, each as often as words are (Zipf); 16 MB of them, more than zstd looks back."""
    words = ["".join(generator.choices("etaoinshrdlucmfwgypbvk", k=2 + n % 9)) for n in range(4000)]
    weights = [1 / (rank + 2) for rank in range(len(words))]
    drawn = iter(generator.choices(words, weights, k=12 * 250_000))
    sentences = [" ".join(twelve).capitalize() + "." for twelve in zip(*[drawn] * 12, strict=True)]
    return lambda: " ".join(generator.choices(sentences, k=6)).encode()


def _noise(generator: random.Random) -> RowBody:
    """As images and documents lie in tables. A dump writes them in hex, so it packs to a half and no further."""
    return lambda: b"\\\\x" + generator.randbytes(1900).hex().encode()


TEXT = Dataset("text", "text", 455, _prose)
NOISE = Dataset("incompressible", "bytea", 1900, _noise)


def seeded(server: PostgresServer, dataset: Dataset, megabytes: int) -> str:
    """The name of a database with that many megabytes of bodies; it is made when it is not there."""
    name = f"bench_{dataset.kind}_{megabytes}"
    with _connected(server, "postgres") as admin:
        if not admin.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchall():
            _make(server, admin, dataset, megabytes, name)
    return name


def _make(server: PostgresServer, admin: psycopg.Connection, dataset: Dataset, megabytes: int, name: str) -> None:
    partial, final = sql.Identifier(f"{name}_partial"), sql.Identifier(name)
    admin.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(partial))
    admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(partial))
    with _connected(server, f"{name}_partial") as connection:
        body = dataset.bodies(random.Random(dataset.kind))
        for number in range(TABLES):
            table = sql.Identifier(f"pages_{number}")
            _fill(connection, table, dataset.column, body, megabytes * 1_000_000 // dataset.row_bytes // TABLES)
        connection.execute("VACUUM ANALYZE")
    admin.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(partial, final))


def _fill(connection: psycopg.Connection, table: sql.Identifier, column: str, body: RowBody, rows: int) -> None:
    made = "CREATE TABLE {} (id bigint, created_at timestamptz NOT NULL, body {} NOT NULL)"
    connection.execute(sql.SQL(made).format(table, sql.SQL(column)))
    with connection.cursor() as cursor, cursor.copy(sql.SQL("COPY {} FROM STDIN").format(table)) as copy:
        for first in range(0, rows, _AT_ONCE):
            copy.write(b"".join(_row(number, body()) for number in range(first, min(first + _AT_ONCE, rows))))
    connection.execute(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY (id)").format(table))
    connection.execute(sql.SQL("CREATE INDEX ON {} (created_at)").format(table))


def _row(number: int, body: bytes) -> bytes:
    """A line of COPY's text format, a second after the one before."""
    day, second = divmod(number, 86_400)
    at = b"2026-01-%02d %02d:%02d:%02d+00" % (1 + day, second // 3600, second // 60 % 60, second % 60)
    return b"%d\t%b\t%b\n" % (number, at, body)


def _connected(server: PostgresServer, database: str) -> psycopg.Connection:
    return psycopg.connect(
        host=server.host, port=server.port, user=server.user, password=server.password, dbname=database, autocommit=True
    )
