# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive's index: a table in PostgreSQL, read in one snapshot, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from .._engine._postgresql_connection import Session, Target, session
from .._errors import EngineError, InputError
from .._require import require
from .._runtime.base import Instance
from .base import Row

_BATCH = 5000
_SECONDS = 3600.0
"""Sorting a large table takes its time."""

_DECLARE = """
DECLARE archive NO SCROLL CURSOR FOR
SELECT {row} FROM {table} WHERE {key} IS NOT NULL ORDER BY {key}::text COLLATE "C"
"""
_BOUNDARIES = """
SELECT k FROM (
  SELECT k, row_number() OVER (ORDER BY k) AS n, count(*) OVER () AS total FROM (
    SELECT DISTINCT {key}::text COLLATE "C" AS k FROM {table} WHERE {key} IS NOT NULL
  ) AS keys
) AS numbered WHERE n %% %s = 0 OR n = total ORDER BY k
"""
_COLUMNS = """
SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""

_TEXT = {"hex": "lower({checksum}::text)", "theirs": "lower(t.{checksum}::text)", "stored": "n.c"}
_BYTES = {"hex": "encode({checksum}, 'hex')", "theirs": "encode(t.{checksum}, 'hex')", "stored": "decode(n.c, 'hex')"}
"""A checksum as hexadecimal text, and back, where its column is text and where it is bytea."""

_GIVEN = "unnest(%s::text[], %s::bigint[], %s::text[]) AS n(k, s, c)"
_INSERT = f"""
INSERT INTO {{table}} ({{key}}, {{size}}, {{checksum}}) SELECT n.k, n.s, {{stored}} FROM {_GIVEN}
WHERE NOT EXISTS (SELECT FROM {{table}} AS t WHERE t.{{key}}::text = n.k)
ON CONFLICT DO NOTHING RETURNING {{key}}::text
"""  # noqa: S608 - names are quoted by psycopg
_DELETE = f"""
DELETE FROM {{table}} AS t USING {_GIVEN} WHERE t.{{key}}::text = n.k
AND t.{{size}}::bigint IS NOT DISTINCT FROM n.s AND {{theirs}} IS NOT DISTINCT FROM n.c RETURNING t.{{key}}::text
"""  # noqa: S608


@dataclass(frozen=True)
class Index:
    """A table and its columns for key, size (bytes) and checksum, as they are called there."""

    instance: Instance
    target: Target
    table: tuple[str, ...]
    key: str
    size: str
    checksum: str
    variable: str

    @property
    def label(self) -> str:
        return f"{'.'.join(self.table)} in {self.target}"

    @contextmanager
    def opened(self) -> Iterator[OpenIndex]:
        """A session; ``InputError`` where there is no such table or column."""
        host, port = self.instance.endpoint(self.target.host, self.target.port)
        with session(replace(self.target, host=host, port=port), "runbook.ops archive") as opened:
            yield OpenIndex(self, opened)


class OpenIndex:
    """The index in one session, for one thread at a time."""

    def __init__(self, index: Index, opened: Session) -> None:
        self._session = opened
        self._index = index
        self._sql = require("psycopg.sql", "psycopg[binary]")
        self._names = {"table": self._sql.Identifier(*index.table)} | {
            name: self._sql.Identifier(getattr(index, name)) for name in ("key", "size", "checksum")
        }
        self._binary = self._look_at_columns()["checksum"] == "bytea"
        texts = _BYTES if self._binary else _TEXT
        self._names |= {name: self._statement(text) for name, text in texts.items()}
        self._names["row"] = self._statement("{key}::text, {size}::bigint, {hex}")

    def _look_at_columns(self) -> dict[str, str]:
        index = self._index
        quoted = self._names["table"].as_string(None)
        found = dict(self._session.rows(_COLUMNS, [quoted]))
        if not found:
            raise InputError(
                f"{index.variable}.table is {'.'.join(index.table)!r}, but {index.target} has no such table: correct it, with its "
                "schema before it where that is not public."
            )
        for name in ("key", "size", "checksum"):
            if getattr(index, name) not in found:
                raise InputError(
                    f"{index.variable}.columns.{name} is {getattr(index, name)!r}, but {'.'.join(index.table)} has only the columns "
                    f"{', '.join(found)}: correct it."
                )
        return {name: found[getattr(index, name)] for name in ("key", "size", "checksum")}

    def begin(self) -> None:
        """Everything that is read from now on is of this moment."""
        self._session.rows("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def end(self) -> None:
        self._session.rows("ROLLBACK")

    def count(self) -> int:
        counted: int = self._session.value(self._statement("SELECT count(*) FROM {table}"), seconds=_SECONDS)
        return counted

    def boundaries(self, distance: int) -> list[str]:
        """Every so many keys, in their order, one, and the last of all."""
        return [key for (key,) in self._session.rows(self._statement(_BOUNDARIES), [distance], seconds=_SECONDS)]

    def batches(self) -> Iterator[list[Row]]:
        """All rows with a key in the order of its bytes, in the transaction that was begun."""
        self._session.rows(self._statement(_DECLARE), seconds=_SECONDS)
        fetch = f"FETCH FORWARD {_BATCH} FROM archive"
        try:
            while rows := self._session.rows(fetch, seconds=_SECONDS):
                yield [Row(*row) for row in rows]
        except UnicodeError as error:
            raise EngineError(f"{self._index.label} holds a key that is no text ({error}): correct that row.") from None

    def nameless(self) -> int:
        """Rows without a key."""
        counted: int = self._session.value(
            self._statement("SELECT count(*) FROM {table} WHERE {key} IS NULL"), seconds=_SECONDS
        )
        return counted

    def look(self, keys: Sequence[str]) -> dict[str, list[Row]]:
        """The rows of some keys as they are now."""
        rows: dict[str, list[Row]] = {}
        asked = [key for key in keys if _storable(key)]
        statement = self._statement("SELECT {row} FROM {table} WHERE {key}::text = ANY(%s::text[])")
        for row in self._session.rows(statement, [asked], seconds=_SECONDS):
            rows.setdefault(row[0], []).append(Row(*row))
        return rows

    def insert(self, rows: Sequence[Row]) -> list[str]:
        """Add rows whose keys the index has not; the keys that were added."""
        return [key for (key,) in self._session.rows(self._statement(_INSERT), _columns(rows), seconds=_SECONDS)]

    def remove(self, rows: Sequence[Row]) -> list[str]:
        """Remove rows that are still what they were; the keys whose rows were removed."""
        return [key for (key,) in self._session.rows(self._statement(_DELETE), _columns(rows), seconds=_SECONDS)]

    def _statement(self, text: str) -> Any:
        return self._sql.SQL(text).format(**self._names)


def _columns(rows: Sequence[Row]) -> list[list[Any]]:
    return [[row[column] for row in rows] for column in range(3)]


def _storable(key: str) -> bool:
    """Whether PostgreSQL can hold the text at all."""
    try:
        key.encode("utf-8")
    except UnicodeError:
        return False
    return "\0" not in key
