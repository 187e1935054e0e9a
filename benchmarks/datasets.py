# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two PostgreSQL databases, the same bytes on every machine: prose, and noise that no compressor can pack.

Seeded once: a database that has its final name is whole.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
from psycopg import sql

from lab.embedded.servers import PostgresServer

TABLES = 4
"""So that a parallel restore has something to do at once."""

_ROWS_A_WRITE = 200

RowBody = Callable[[], bytes]


@dataclass(frozen=True)
class Dataset:
    """A kind of data. bodies makes the texts of its rows; encoding is the database's."""

    kind: str
    encoding: str
    bodies: Callable[[random.Random], RowBody]


def _prose(generator: random.Random) -> RowBody:
    """Sentences of 4,000 words, each as often as words are (Zipf); 16 MB of them, more than zstd looks back."""
    words = ["".join(generator.choices("etaoinshrdlucmfwgypbvk", k=2 + n % 9)) for n in range(4000)]
    weights = [1 / (rank + 2) for rank in range(len(words))]
    drawn = iter(generator.choices(words, weights, k=12 * 250_000))
    sentences = [" ".join(twelve).capitalize() + "." for twelve in zip(*[drawn] * 12, strict=True)]
    return lambda: " ".join(generator.choices(sentences, k=6)).encode()


def _noise(generator: random.Random) -> RowBody:
    """Random bytes, but for the nine that a text cannot hold or a dump would escape."""
    plain = bytes.maketrans(b"\0\b\t\n\v\f\r\\\x7f", b"012345678")
    return lambda: generator.randbytes(1900).translate(plain)


TEXT = Dataset("text", "UTF8", _prose)
NOISE = Dataset("incompressible", "SQL_ASCII", _noise)


def seeded(server: PostgresServer, dataset: Dataset, megabytes: int) -> str:
    """The name of a database whose dump has at least ``megabytes`` MB; it is made when it is not there."""
    name = f"bench_{dataset.kind}_{megabytes}"
    with _connected(server, "postgres") as admin:
        if not admin.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchall():
            _make(server, admin, dataset, megabytes, name)
    return name


def _make(server: PostgresServer, admin: psycopg.Connection, dataset: Dataset, megabytes: int, name: str) -> None:
    partial, final = sql.Identifier(f"{name}_partial"), sql.Identifier(name)
    options = sql.SQL("TEMPLATE template0 ENCODING {} LOCALE 'C'").format(dataset.encoding)
    admin.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(partial))
    admin.execute(sql.SQL("CREATE DATABASE {} {}").format(partial, options))
    with _connected(server, f"{name}_partial") as connection:
        body = dataset.bodies(random.Random(dataset.kind))
        for number in range(TABLES):
            _fill(connection, sql.Identifier(f"pages_{number}"), body, megabytes * 1_000_000 // TABLES)
        connection.execute("VACUUM ANALYZE")
    admin.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(partial, final))


def _fill(connection: psycopg.Connection, table: sql.Identifier, body: RowBody, size: int) -> None:
    connection.execute(
        sql.SQL("CREATE TABLE {} (id bigint, created_at timestamptz NOT NULL, body text NOT NULL)").format(table)
    )
    connection.execute("SET client_encoding = SQL_ASCII")  # bytes as they are
    with connection.cursor() as cursor, cursor.copy(sql.SQL("COPY {} FROM STDIN").format(table)) as copy:
        for rows in _rows(body, size):
            copy.write(rows)
    connection.execute(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY (id)").format(table))
    connection.execute(sql.SQL("CREATE INDEX ON {} (created_at)").format(table))


def _rows(body: RowBody, size: int) -> Iterator[bytes]:
    """COPY's text format, ``size`` bytes or a little more, some rows at a time."""
    written = number = 0
    while written < size:
        rows = []
        for number in range(number, number + _ROWS_A_WRITE):
            day, second = divmod(number, 86_400)
            rows.append(
                b"%d\t2026-01-%02d %02d:00:%02d+00\t%b\n" % (number, 1 + day % 28, second // 3600, number % 60, body())
            )
        number += 1
        block = b"".join(rows)
        written += len(block)
        yield block


def _connected(server: PostgresServer, database: str) -> psycopg.Connection:
    return psycopg.connect(
        host=server.host, port=server.port, user=server.user, password=server.password, dbname=database, autocommit=True
    )
