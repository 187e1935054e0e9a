# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A declared check as one read-only question to a PostgreSQL session, and its answer as JSON holds it."""

from __future__ import annotations

import math
from datetime import date, datetime, time, timezone
from decimal import Decimal
from typing import Any

from .._checks import Check
from .._require import require
from ._postgresql_connection import Session, StatementFailed


def observe(session: Session, check: Check, *, seconds: float) -> Any:
    """What the check sees: a value for JSON, a UTC datetime or ``None`` (newest), or presence.

    ``StatementFailed`` carries the server's words when the question itself is wrong.
    """
    value = session.value(*_question(check), seconds=seconds)
    if check.kind == "newest":
        if value is not None and not isinstance(value, date):  # a datetime is a date
            raise StatementFailed(session.target, f"column {check.column} holds no dates or times", "")
        return _moment(value)
    return value is not None if check.kind in ("extension", "role") else jsonable(value)


def _question(check: Check) -> tuple[Any, list[str] | None]:
    sql = require("psycopg.sql", "psycopg[binary]")
    if check.kind == "extension":
        return "SELECT 1 FROM pg_extension WHERE extname = %s", [check.subject]
    if check.kind == "role":
        return "SELECT 1 FROM pg_roles WHERE rolname = %s", [check.subject]
    if check.kind == "sql":
        return check.query, None
    table = sql.Identifier(*check.subject.split("."))
    if check.kind == "newest":
        return sql.SQL("SELECT max({}) FROM {}").format(sql.Identifier(check.column), table), None
    return sql.SQL("SELECT count(*) FROM {}").format(table), None


def _moment(value: date | None) -> datetime | None:
    """A date counts from its first moment; a time without a zone is taken for UTC, as servers should store it."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)
    return None if value is None else datetime.combine(value, time(), timezone.utc)


def jsonable(value: Any) -> Any:
    """The value as JSON can hold it and a later comparison can meet it."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value == value.to_integral_value() else str(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
    if isinstance(value, (date, time)):
        return value.isoformat()
    return bytes(value).hex() if isinstance(value, (bytes, bytearray, memoryview)) else str(value)
