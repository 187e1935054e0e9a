# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What declared checks ask of an SQLite database, in its source's snapshot and in a restored copy alike."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

from .._checks import Check, doubts

_WRONG_QUESTION = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG)
"""What SQLite says of SQL that is wrong. A write is ``SQLITE_READONLY`` itself, whose other kinds are about the file."""


def asked(source: sqlite3.Connection, checks: Sequence[Check], now: datetime) -> tuple[dict[str, Any], dict[str, str]]:
    """What belongs in the manifest, and the checks that are wrong: the backup is worth more than they are."""
    values: dict[str, Any] = {}
    silence: dict[str, str] = {}
    for check in checks:
        try:
            values[check.name] = observe(source, check)
        except ValueError as error:
            silence[check.name] = str(error)
        except sqlite3.Error as error:
            if code_of(error) != sqlite3.SQLITE_READONLY and code_of(error) & 0xFF not in _WRONG_QUESTION:
                raise
            silence[check.name] = str(error)
    observed = {check.name: values[check.name] for check in checks if check.observable and check.name in values}
    return observed, doubts(checks, values, silence, now)


def observe(database: sqlite3.Connection, check: Check) -> Any:
    """What the check sees: a value for JSON, or a UTC datetime or ``None`` (newest)."""
    row = database.execute(_question(check)).fetchone()
    value = row[0] if row else None
    if check.kind == "newest":
        return moment_of(value)
    return value.hex() if isinstance(value, bytes) else value


def _question(check: Check) -> str:
    if check.query is not None:
        return check.query
    table = _quoted(check.subject)
    if check.column is not None:  # qualified, because SQLite takes an unknown "name" alone for a string
        return f"SELECT max({table}.{_quoted(check.column)}) FROM {table}"  # nosec B608  # noqa: S608
    return f"SELECT count(*) FROM {table}"  # nosec B608  # noqa: S608


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def moment_of(value: Any) -> datetime | None:
    """SQLite has no type for times: ISO 8601 text (UTC when it names no zone), or seconds or milliseconds since 1970."""
    if value is None:
        return None
    with suppress(ValueError, OverflowError, OSError):
        if isinstance(value, (int, float)):
            return datetime.fromtimestamp(value / 1000 if value > 1e11 else value, timezone.utc)
        moment = datetime.fromisoformat(str(value).strip())
        return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)
    raise ValueError(f"{value!r} is neither an ISO 8601 time nor seconds since 1970")


def code_of(error: sqlite3.Error) -> int:
    """SQLite's own; what Python's module finds wrong has none, and is wrong SQL."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code
