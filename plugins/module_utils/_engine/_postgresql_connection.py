# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One PostgreSQL database, and sessions with it in which nothing waits for ever and every error is a sentence."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from .._errors import EngineError, InputError, TimedOut
from .._require import require

ANSWER_SECONDS = 30.0
"""A healthy server answers what is asked about itself at once; half a minute of silence is a hung one."""

_CONNECT_SECONDS = 10
_ALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""A firewall that forgets a silent connection, or a peer that is gone, shows within a minute."""


@dataclass(frozen=True)
class Target:
    """A database and who asks for it. The password is never part of any text made of it."""

    host: str
    port: int
    user: str
    password: str | None = field(repr=False)
    database: str

    @classmethod
    def declared(cls, variable: str, declared: Mapping[str, Any], database: str) -> Target:
        """From what a description says of a server."""
        port = declared.get("port")
        if port is not None and not (isinstance(port, int) and 0 < port < 65536):
            raise InputError(f"{variable}.port is {port!r}, which is no TCP port: give a number from 1 to 65535.")
        return cls(
            host=str(declared.get("host") or "localhost"), port=port or 5432, user=str(declared.get("user") or "postgres"),
            password=declared.get("password"), database=database,
        )  # fmt: skip

    def __str__(self) -> str:
        return f"database {self.database!r} on PostgreSQL at {self.host}:{self.port} as user {self.user!r}"

    @property
    def conninfo(self) -> str:
        """For programs' ``--dbname``. Quoted, because libpq takes a bare name with ``=`` in it for a connection
        string; explicit in all parts, because ``PGSERVICE`` in the environment would win over ``PGHOST``."""
        made: str = require("psycopg.conninfo", "psycopg[binary]").make_conninfo(
            host=self.host, port=self.port, user=self.user, dbname=self.database,
            connect_timeout=_CONNECT_SECONDS, **_ALIVE,
        )  # fmt: skip
        return made

    @property
    def environment(self) -> dict[str, str]:
        """For programs: the password; without one they look in the account's password file, as psycopg does."""
        return {} if self.password is None else {"PGPASSWORD": self.password}


class Deadline:
    """The moment by which a whole run must be over."""

    def __init__(self, seconds: float, run: str) -> None:
        self._seconds = seconds
        self._run = run
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that remain; ``TimedOut`` when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimedOut(f"{self._run} did not finish within its timeout of {self._seconds:g} s and was ended.")
        return left


class StatementFailed(EngineError):
    """The server answered a statement with an error; ``said`` is its primary message alone."""

    def __init__(self, target: Target, said: str, sqlstate: str) -> None:
        super().__init__(f"{target}: {said}.")
        self.said = said
        self.sqlstate = sqlstate


class Session:
    """A connection outside any transaction unless one is begun by ``BEGIN``; one statement at a time."""

    def __init__(self, target: Target, connection: Any) -> None:
        self.target = target
        self._connection = connection

    @property
    def server_version(self) -> str:
        """As PostgreSQL names it, e.g. ``18.4``, without a distributor's additions."""
        version: str = self._connection.info.parameter_status("server_version")
        return version.split(" ", maxsplit=1)[0]

    @property
    def server_major(self) -> int:
        version: int = self._connection.info.server_version
        return version // 10000

    def rows(
        self, statement: Any, parameters: Sequence[Any] | None = None, *, seconds: float = ANSWER_SECONDS
    ) -> list[tuple[Any, ...]]:
        """All rows of a statement that returns few, ``[]`` of one that returns none."""
        psycopg = require("psycopg", "psycopg[binary]")
        with self._cut_off_after(seconds) as expired:
            try:
                cursor = self._connection.execute(statement, parameters)
                return cursor.fetchall() if cursor.description else []
            except psycopg.Error as error:
                if expired.is_set():
                    raise TimedOut(
                        f"{self.target} did not answer within {seconds:.0f} s: see whether the server hangs."
                    ) from None
                if error.sqlstate is None and self._connection.closed:
                    raise EngineError(f"The connection to {self.target} was lost ({_said(error)}).") from None
                raise StatementFailed(self.target, _said(error), error.sqlstate or "") from None

    def value(self, statement: Any, parameters: Sequence[Any] | None = None, *, seconds: float = ANSWER_SECONDS) -> Any:
        """The first column of the first row, ``None`` where there is no row."""
        rows = self.rows(statement, parameters, seconds=seconds)
        return rows[0][0] if rows and rows[0] else None

    def limit_statements(self, seconds: float) -> None:
        """Have the server itself end later statements, a moment before a cut connection would."""
        self.rows("SELECT set_config('statement_timeout', %s, false)", [f"{max(seconds * 1000 - 1000, 500):.0f}ms"])

    @contextmanager
    def _cut_off_after(self, seconds: float) -> Iterator[threading.Event]:
        """A stopped server's kernel still answers keepalives and its own time-outs do not run: cut the socket here."""
        expired = threading.Event()

        def cut() -> None:
            expired.set()
            with suppress(Exception), socket.socket(fileno=os.dup(self._connection.fileno())) as duplicate:
                duplicate.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(seconds, cut)
        timer.daemon = True
        timer.start()
        try:
            yield expired
        finally:
            timer.cancel()


@contextmanager
def session(target: Target, application: str) -> Iterator[Session]:
    """A session that operators see as ``application`` in ``pg_stat_activity``; times are UTC in it."""
    psycopg = require("psycopg", "psycopg[binary]")
    try:
        connection = psycopg.connect(
            host=target.host, port=target.port, user=target.user, password=target.password, dbname=target.database,
            connect_timeout=_CONNECT_SECONDS, application_name=application, autocommit=True, client_encoding="utf8", **_ALIVE,
        )  # fmt: skip
    except (psycopg.Error, UnicodeError) as error:  # the latter of a host such as "a..b"
        raise EngineError(_why_unreachable(target, error)) from None
    try:
        opened = Session(target, connection)
        opened.rows(
            "SELECT set_config('TimeZone', 'UTC', false), set_config('idle_in_transaction_session_timeout', '0', false)"
        )
        yield opened
    finally:
        connection.close()


def _why_unreachable(target: Target, error: Exception) -> str:
    """A failed connection carries no SQLSTATE, so the server's own words decide; unknown ones are shown as they are."""
    said = _said(error)
    where = f"PostgreSQL at {target.host}:{target.port}"
    user, database = f"user {target.user!r}", f"database {target.database!r}"
    if isinstance(error, require("psycopg", "psycopg[binary]").errors.ConnectionTimeout):
        return (
            f"{where} did not answer within {_CONNECT_SECONDS} s when asked for {database} as {user}: "
            "check host, port and firewall, and that the server does not hang."
        )
    sentences = {
        "password authentication failed": f"{where} refuses the password of {user} for {database}: correct password or user.",
        "no password supplied": f"{where} demands a password of {user} for {database}: set password.",
        f'database "{target.database}" does not exist': f"{where} has no {database} (asked as {user}): correct name, or create it.",
    }
    return next(
        (sentence for words, sentence in sentences.items() if words in said),
        f"{target} cannot be reached ({said}): check host, port and that the server runs.",
    )


def _said(error: Any) -> str:
    """The server's primary message, else the last telling line of libpq's report."""
    if isinstance(error, UnicodeError):
        return str(error)
    if error.diag.message_primary:
        return str(error.diag.message_primary)
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("\t")]
    return (lines[-1] if lines else type(error).__name__).rpartition("failed: ")[2].removeprefix("FATAL:").strip(" .")
