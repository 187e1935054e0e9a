# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scratch databases in a throw-away twin of the instance that was backed up: its own server's programs, none of its data."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from .. import _server
from .._errors import EngineError
from .._runtime.base import Completed, Instance, Limits
from ._postgresql_connection import Target, session
from ._postgresql_programs import Programs
from ._postgresql_scratch import APPLICATION, SERVER_SETTINGS, ScratchDatabase, create, database_name

_HOME = "/var/tmp/runbook"  # noqa: S108 - in a container that nobody else is in
_DATA = f"{_HOME}/data"
_LOG = f"{_HOME}/server.log"
_PORT = 5432
_SETUP_SECONDS = 120.0

_SHARE = 8
"""A sort has this part of the memory, and the cache too: two sorts of a job, two jobs and the sessions fit beside."""


@dataclass(frozen=True)
class TwinDatabase(ScratchDatabase):
    """Restored by the twin's programs, which find the server on their own loopback."""

    @contextmanager
    def kept(self, chunks: Iterable[bytes], *, timeout: float) -> Iterator[str]:
        path = f"{_HOME}/data.pgc"  # gone with the twin
        self.instance.place(path, chunks, timeout=timeout)
        yield path

    @property
    def inside(self) -> Target:
        return replace(self.target, host=_server.LOOPBACK, port=_PORT)


@contextmanager
def in_twin(
    twin: Instance, programs: Programs, directory: str, *, limits: Limits, backup_id: str, encoding: str
) -> Iterator[ScratchDatabase]:
    """A server in the twin, and one database in it; both end with the twin."""
    # No role of a backup has this name, so all of them can be created beside it.
    owner = Target("", 0, f"runbook_{secrets.token_hex(8)}", secrets.token_urlsafe(24), "postgres")
    _done(twin, "mkdir", ["mkdir", "-m", "700", _HOME])
    argv = _server.initdb_argv(programs.path("initdb"), _DATA, owner.user)
    _done(twin, "initdb", argv, f"{owner.password}\n".encode())
    # Our session comes from the host, and needs the password that is known here alone.
    _done(twin, "tee", ["tee", "-a", f"{_DATA}/pg_hba.conf"], b"host all all all scram-sha-256\n")
    given = {
        **SERVER_SETTINGS,
        **_within(limits),
        "listen_addresses": "*",
        "port": str(_PORT),
        "unix_socket_directories": "",
    }
    settings = " ".join(f"-c {name}={value or chr(39) * 2}" for name, value in given.items())
    start = ["-D", _DATA, "-l", _LOG, "-w", "-t", f"{_SETUP_SECONDS:.0f}", "-o", settings, "start"]
    started = twin.run([programs.path("pg_ctl"), *start], timeout=_SETUP_SECONDS)
    if started.returncode != 0:
        said = twin.run(["tail", "-n", "5", _LOG], timeout=_SETUP_SECONDS).stdout.decode(errors="replace")
        raise EngineError(
            f"PostgreSQL does not start in the throw-away container {twin.name}: {' | '.join(said.split(chr(10)))}."
        )
    host, port = twin.endpoint(_server.LOOPBACK, _PORT)
    with session(replace(owner, host=host, port=port), APPLICATION) as opened:
        name = database_name(backup_id)
        create(opened, name, encoding)
        target = replace(opened.target, database=name)
        place = TwinDatabase(opened.server_version, opened.server_major, target, directory, True, twin)
    yield place


def _within(limits: Limits) -> dict[str, str]:
    part = min(limits.memory // _SHARE, 256 << 20) >> 20
    return {"shared_buffers": f"{part}MB", "maintenance_work_mem": f"{part}MB"}


def _done(twin: Instance, program: str, argv: list[str], stdin: bytes = b"") -> Completed:
    ended = twin.run(argv, timeout=_SETUP_SECONDS, stdin=stdin)
    if ended.returncode != 0:
        raise EngineError(
            f"{program} failed in the throw-away container {twin.name}: {ended.stderr or ended.returncode}."
        )
    return ended
