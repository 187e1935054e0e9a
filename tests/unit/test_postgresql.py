# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL's pure parts: values as JSON holds them, and texts of its programs as they are understood."""

from __future__ import annotations

import json
import uuid
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._engine._postgresql_checks import jsonable
from ansible_collections.runbook.ops.plugins.module_utils._engine._postgresql_connection import Deadline, Target
from ansible_collections.runbook.ops.plugins.module_utils._engine._postgresql_contents import has_role, roles, telling
from ansible_collections.runbook.ops.plugins.module_utils._engine._postgresql_scratch import server_programs
from ansible_collections.runbook.ops.plugins.module_utils._engine.base import Dump
from ansible_collections.runbook.ops.plugins.module_utils._errors import Damaged, InputError, TimedOut
from contract.shelf import Shelf
from psycopg.conninfo import conninfo_to_dict

BERLIN = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("value", "held"),
    [
        (None, None),
        (True, True),
        (1 << 80, 1 << 80),
        (Decimal("12"), 12),
        (Decimal("12.50"), "12.50"),
        (Decimal("NaN"), "NaN"),
        (1.5, 1.5),
        (float("inf"), "inf"),
        (datetime(2026, 3, 1, 2, 0, 0, 250000, BERLIN), "2026-03-01T00:00:00.250000Z"),
        (datetime(2026, 3, 1, 2), "2026-03-01T02:00:00"),
        (date(2026, 3, 1), "2026-03-01"),
        (time(2, 30), "02:30:00"),
        (b"\x00\xff", "00ff"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ([1, 2], "[1, 2]"),
    ],
)
def test_every_value_fits_into_json(value: Any, held: Any) -> None:
    assert jsonable(value) == held
    assert json.loads(json.dumps(jsonable(value), allow_nan=False)) == held


def test_a_target_never_shows_its_password_and_keeps_its_names() -> None:
    target = Target("/var/run/my socket", 5432, "o'brien", "canary", "a=b 'c' \\")
    assert "canary" not in f"{target!r}{target}{target.conninfo}"
    parsed = conninfo_to_dict(target.conninfo)
    assert (parsed["host"], parsed["user"], parsed["dbname"]) == (target.host, target.user, target.database)
    assert target.environment == {"PGPASSWORD": "canary"}


def test_rows_are_not_quoted_from_a_report() -> None:
    report = (
        "pg_restore: while PROCESSING TOC:\n"
        'pg_restore: error: COPY failed for table "users": ERROR:  duplicate key value violates unique constraint "u"\n'
        "DETAIL:  Key (email)=(canary@example.org) already exists.\n"
        "CONTEXT:  COPY users, line 2\n"
        "pg_restore: error: a worker process died unexpectedly\n"
    )
    assert "duplicate key" in telling(report)
    assert "canary" not in telling(report)
    assert telling("") == "it said nothing"


GLOBALS = b"""\\restrict abc
SET client_encoding = 'UTF8';
CREATE ROLE app;
CREATE ROLE "Back Office";
ALTER ROLE app WITH LOGIN;
GRANT app TO "Back Office" WITH ADMIN OPTION, INHERIT TRUE GRANTED BY postgres;
GRANT "Back Office" TO app WITH INHERIT TRUE GRANTED BY "the ""boss"" here";
GRANT SET ON PARAMETER work_mem TO app;
\\unrestrict abc

--
-- PostgreSQL database cluster dump complete
--
"""


@pytest.fixture
def globals_of(tmp_path: Path) -> Any:
    def shelved(text: bytes) -> Shelf:
        shelf = Shelf(tmp_path)

        class Engine:
            name = "postgresql"

            def dump(self, open_artefact: Any) -> Any:
                for stem, data in (("data.pgc", b""), ("globals.sql", text)):
                    with open_artefact(stem, "any") as sink:
                        sink(data)

                return Dump("18", "pg_dump 18", datetime.now(timezone.utc))

        shelf.take(Engine())  # type: ignore[arg-type]
        return shelf

    return shelved


def test_globals_are_made_fit_for_a_server_of_anothers(globals_of: Any) -> None:
    text = roles(globals_of(GLOBALS)).decode()
    assert "restrict" not in text
    assert "GRANTED BY" not in text
    assert 'GRANT app TO "Back Office" WITH ADMIN OPTION, INHERIT TRUE;' in text
    assert 'GRANT "Back Office" TO app WITH INHERIT TRUE;' in text
    assert "GRANT SET ON PARAMETER work_mem TO app;" in text


def test_globals_without_their_closing_line_are_incomplete(globals_of: Any) -> None:
    with pytest.raises(Damaged, match="closing line"):
        roles(globals_of(GLOBALS[: GLOBALS.index(b"GRANT")]))


def test_a_role_is_found_by_its_exact_name(globals_of: Any) -> None:
    shelf = globals_of(GLOBALS)
    assert {name: has_role(shelf, name) for name in ("app", "Back Office", "ap", "back office", "apps")} == {
        "app": True, "Back Office": True, "ap": False, "back office": False, "apps": False,
    }  # fmt: skip


def test_server_programs_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"bin_dir is .*postgres, initdb.*name a scratch server"):
        server_programs(str(tmp_path))


def test_a_deadline_that_passed_says_whose() -> None:
    with pytest.raises(TimedOut, match=r"The backup of x did not finish within its timeout of 0 s"):
        Deadline(0, "The backup of x").left()
