# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A scratch database in a server that somebody else runs and an operator named, which must not be production's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from .._errors import InputError, RunbookError
from ._postgresql_connection import Session, Target, session
from ._postgresql_scratch import APPLICATION, CHANGE_SECONDS, ScratchDatabase, create, database_name, place_of, quoted

_LEFTOVER = re.compile(r"\Arunbook_verify_[a-z0-9_]{1,40}_[0-9a-f]{8}\Z")
_IN_USE = 0x72756E76
"""``runv``: with the name's hash, the advisory lock that a scratch database's run holds as long as it lives."""

_IDENTITY = "SELECT (SELECT system_identifier FROM pg_control_system()), pg_postmaster_start_time()"
"""A copy of a cluster has its identifier, but nothing else was started at that microsecond: only the same server has both."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def declared_server(variable: str, declared: Mapping[str, Any] | None, source: Target) -> Target | None:
    """The server that a database's ``scratch`` names, ``None`` where it names none."""
    if declared is None or not declared.get("host"):
        for key in ("user", "password"):
            if declared and declared.get(key):
                raise InputError(
                    f"{variable}.host is missing, but {key} is set: give the host of the server to restore into, or leave "
                    f"{key} out for a throw-away one."
                )
        return None
    if not declared.get("user"):
        raise InputError(f"{variable}.user is missing: name an account there that may create databases.")
    server = Target.declared(variable, declared, "postgres")
    same_host = server.host == source.host or {server.host, source.host} <= set(_LOOPBACK)
    if same_host and server.port == source.port:
        raise InputError(
            f"{variable} is {server.host}:{server.port}, the very server that is backed up: name another server, "
            "or leave it out for a throw-away one."
        )
    return server


@contextmanager
def named(
    target: Target, source: Callable[[], Target], directory: str, *, variable: str, backup_id: str, encoding: str
) -> Iterator[ScratchDatabase]:
    """A database of its own in the server that ``variable`` names; what killed runs left there is dropped first."""
    with session(target, APPLICATION) as opened:
        _refuse_production(opened, source, variable)
        _drop_leftovers(opened)
        name = database_name(backup_id)
        _claim(opened, name)
        try:
            create(opened, name, encoding, of_the_server=True)
            yield place_of(opened, name, directory, private=False)
        except BaseException:
            with suppress(RunbookError):  # what went wrong first is what the operator must read
                _drop(opened, name)
            raise
        _drop(opened, name)


def _refuse_production(opened: Session, source: Callable[[], Target], variable: str) -> None:
    """The same server may have many addresses, so it is asked who it is. One that is down cannot be the one we are in."""
    try:
        reached = source()
        with session(reached, APPLICATION) as production:
            theirs = production.rows(_IDENTITY)
    except RunbookError:
        return
    if opened.rows(_IDENTITY) == theirs:
        raise InputError(
            f"{variable} is {opened.target.host}:{opened.target.port}, which is the server that is backed up, under another "
            f"address than {reached.host}:{reached.port}: name another server, or leave it out for a throw-away one."
        )


def _claim(opened: Session, name: str) -> bool:
    """Before the database is made, so that it is never without its run's lock while the run lives."""
    return bool(opened.value("SELECT pg_try_advisory_lock(%s, hashtext(%s))", [_IN_USE, name]))


def _drop_leftovers(opened: Session) -> None:
    for (name,) in opened.rows("SELECT datname FROM pg_database WHERE starts_with(datname, 'runbook_verify_')"):
        if _LEFTOVER.match(name) and _claim(opened, name):
            _drop(opened, name)


def _drop(opened: Session, name: str) -> None:
    opened.rows(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)", seconds=CHANGE_SECONDS)
    opened.rows("SELECT pg_advisory_unlock(%s, hashtext(%s))", [_IN_USE, name])
