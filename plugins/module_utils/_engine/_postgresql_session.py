# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The side session of a dump: the database's backup lock, the snapshot that is dumped, and what is seen in it."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from .._checks import Check
from .._errors import Busy, EngineError, RunbookError, TimedOut
from .._records import format_time
from ._postgresql_checks import observe
from ._postgresql_connection import Deadline, Session, StatementFailed, Target, session

_LOCK = (0x72756E62, 0x6261636B)
"""``runb``, ``back``: the advisory lock's two keys. The server keeps such locks apart by database already."""

_LOCK_NOT_AVAILABLE, _QUERY_CANCELED = "55P03", "57014"

_HOLDER = """
SELECT a.pid, a.application_name, a.backend_start
FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND (l.classid, l.objid, l.objsubid) = (%s::bigint::oid, %s::bigint::oid, 2)
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

_EXCLUSIVE = """
SELECT l.relation::regclass::text, a.pid, a.usename, a.application_name, a.xact_start
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'relation' AND l.granted AND l.mode = 'AccessExclusiveLock' AND l.relation >= 16384
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY a.xact_start LIMIT 3
"""
"""A dump takes ACCESS SHARE locks, which wait for ACCESS EXCLUSIVE ones alone. 16384: the first OID of users' own."""


class Snapshot:
    """A transaction that reads one moment's rows: a check is asked in it, and one that is wrong spoils nothing."""

    def __init__(self, opened: Session, lock_timeout: float) -> None:
        self._session = opened
        self._lock_timeout = lock_timeout
        opened.rows("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        opened.rows("SELECT set_config('lock_timeout', %s, true)", [f"{lock_timeout * 1000:.0f}ms"])

    def observe(self, checks: Sequence[Check], deadline: Deadline) -> tuple[dict[str, Any], dict[str, str]]:
        """The checks' values, and the server's words on those that it cannot answer: the backup is worth more than they are."""
        observed: dict[str, Any] = {}
        silence: dict[str, str] = {}
        for check in checks:
            self._session.rows("SAVEPOINT observing")
            try:
                self._session.limit_statements(deadline.left())
                observed[check.name] = observe(self._session, check, seconds=deadline.left())
            except StatementFailed as error:
                self._session.rows("ROLLBACK TO observing")
                self._give_up_on_waits(check, error)
                silence[check.name] = error.said
        return observed, silence

    def _give_up_on_waits(self, check: Check, error: StatementFailed) -> None:
        if error.sqlstate == _LOCK_NOT_AVAILABLE:
            raise EngineError(
                f"{self._session.target}: check {check.name} waited {self._lock_timeout:g} s for a lock{self.blockers()}: "
                "let that transaction end, or raise lock_timeout."
            ) from None
        if error.sqlstate == _QUERY_CANCELED:
            raise TimedOut(
                f"{self._session.target}: check {check.name} did not finish within the backup's timeout: "
                "make it cheaper, or raise timeout."
            ) from None

    def blockers(self) -> str:
        """Who holds which table exclusively, as the end of a sentence; empty where that cannot be found out."""
        try:
            found = self._session.rows(_EXCLUSIVE, seconds=2)
        except RunbookError:
            return ""
        held = [
            f"{table} is locked exclusively by server process {pid} ({application or 'unknown application'}, "
            f"user {user}{f', since {format_time(since)}' if since else ''})"
            for table, pid, user, application, since in found
        ]
        return f" ({'; '.join(held)})" if held else ""


class DumpSession(Snapshot):
    """Held open for as long as the dump runs; the lock goes with the session, however that ends."""

    def __init__(self, opened: Session, lock_timeout: float) -> None:
        self._session = opened
        self._lock()
        super().__init__(opened, lock_timeout)
        self.server_version = opened.server_version
        self.server_major = opened.server_major
        self.snapshot, self.consistent_at = self._export()

    def _lock(self) -> None:
        if self._session.value("SELECT pg_try_advisory_lock(%s, %s)", _LOCK):
            return
        raise Busy(
            f"Another backup of {self._session.target} is running{self._holder()}: let it finish, nothing was touched."
        )

    def _holder(self) -> str:
        for pid, application, since in self._session.rows(_HOLDER, _LOCK):
            begun = f", since {format_time(since)}" if since else ""
            return f" (server process {pid}, {application or 'of an unknown application'}{begun})"
        return ""

    def _export(self) -> tuple[str, datetime]:
        """``now()`` is the transaction's start, a moment before its snapshot: never later than what is dumped."""
        ((snapshot, moment),) = self._session.rows("SELECT pg_export_snapshot(), now()")
        return snapshot, moment.replace(microsecond=0)


@contextmanager
def dump_session(target: Target, lock_timeout: float) -> Iterator[DumpSession]:
    """``Busy`` when somebody else dumps this database now, from whatever machine."""
    with session(target, f"runbook.ops backup from {platform.node()}"[:63]) as opened:
        yield DumpSession(opened, lock_timeout)
