# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups whose verification can be interfered with, and the verification itself."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.runbook.ops.plugins.module_utils._engine.base import Engine
from contract.shelf import Shelf
from contract.subjects.postgresql import PostgresqlSubject

WAITING = """
CREATE EXTENSION pg_trgm;
CREATE FUNCTION waits(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
  IF current_setting('application_name') = 'pg_restore' THEN PERFORM pg_sleep(120); END IF; RETURN n; END $$;
CREATE TABLE waiting AS SELECT 1 AS n;
CREATE INDEX slow ON waiting (waits(n));
"""
"""Dumped at once, restored for two minutes."""

GREEDY = """
CREATE FUNCTION takes(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
  IF current_setting('application_name') = 'pg_restore' THEN PERFORM length(repeat('x', 900000000)); END IF; RETURN n; END $$;
CREATE TABLE wanting AS SELECT 1 AS n;
CREATE INDEX large ON wanting (takes(n));
"""
"""Restoring it takes 900 MB of memory."""


def verified(engine: Engine, shelf: Shelf, directory: Path) -> bool:
    with engine.scratch(shelf, str(directory)) as place:
        engine.restore(shelf, place)
        return all(result.passed for result in engine.verify(shelf, place))


def heals(waiting: PostgresqlSubject, shelf: Shelf, directory: Path) -> None:
    """The next run, of a backup that does not wait, is nothing out of the ordinary."""
    with waiting.connect() as connection:
        connection.execute("DROP INDEX slow")
    engine = waiting.engine([{"table": "waiting", "rows": "source"}])
    shelf.take(engine)
    assert verified(engine, shelf, directory)
