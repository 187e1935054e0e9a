# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scratch databases, and the throw-away server on this host that one is made in."""

from __future__ import annotations

import errno
import glob
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from .. import _server
from .._errors import EngineError, InputError, NoSpace
from .._require import require
from .._runtime.base import Instance
from .._runtime.local import LocalInstance
from ._postgresql_connection import Session, StatementFailed, Target, session
from .base import Place

APPLICATION = "runbook.ops verification"

CHANGE_SECONDS = 300.0
"""Making or dropping a database waits for a checkpoint."""

_AS_TEXT = (
    "ENCODING 'UTF8' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'",
    "ENCODING 'UTF8' LC_CTYPE 'C.UTF-8'",
    "ENCODING 'UTF8'",
)
"""From the best down: letters beyond ASCII are letters to checks and constraints where the server (17, or the host) can."""

_AS_BYTES = ("ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'",)
"""A database that never looked at its bytes may hold some that are no text in any encoding."""

SERVER_SETTINGS = {**_server.FAST_POSTGRES, "max_connections": "40", "timezone": "UTC"}


@dataclass(frozen=True)
class ScratchDatabase(Place):
    """An empty database to restore into. ``private``: the whole server is ours, so roles may be made in it.

    ``instance`` is where the programs run that restore into it.
    """

    server_version: str
    server_major: int
    target: Target
    directory: str
    private: bool
    instance: Instance = field(default_factory=LocalInstance)

    @property
    def inside(self) -> Target:
        """The database, as those programs reach it."""
        return self.target

    @contextmanager
    def kept(self, chunks: Iterable[bytes], *, timeout: float) -> Iterator[str]:
        """The path of a dump, where those programs can seek in it."""
        path = os.path.join(self.directory, "data.pgc")
        try:
            self._keep(path, chunks)
            yield path
        finally:
            with suppress(FileNotFoundError):
                os.unlink(path)

    def _keep(self, path: str, chunks: Iterable[bytes]) -> None:
        try:
            with open(path, "wb") as file:
                for data in chunks:
                    file.write(data)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise NoSpace(
                    f"{self.directory} ran full while the dump was unpacked there: free some space."
                ) from None
            raise EngineError(f"{path} cannot be written ({error.strerror}).") from None

    def require_major(self, source: str) -> None:
        """``EngineError`` when this server is older than the backup's, whose dumps it need not understand."""
        wanted = re.match(r"\d+", source)
        if wanted and int(wanted[0]) > self.server_major:
            raise EngineError(
                f"The scratch server at {self.target.host}:{self.target.port} is PostgreSQL {self.server_version}, older than "
                f"the {source} that the backup was taken of: name one of version {wanted[0]} or newer, or set bin_dir to its programs."
            )

    def require_extensions(self, wanted: Sequence[str]) -> None:
        """``EngineError`` names the extensions that a restore would need and this server lacks."""
        with session(self.target, APPLICATION) as opened:
            available = {name for (name,) in opened.rows("SELECT name FROM pg_available_extensions")}
        missing = sorted(set(wanted) - available)
        if missing:
            raise EngineError(
                f"The backup needs the extension{'s' if len(missing) > 1 else ''} {', '.join(missing)}, which the scratch "
                f"server (PostgreSQL {self.server_version}) lacks: install them for it, or name a scratch server that has them."
            )


@contextmanager
def throw_away(
    directory: str, *, bin_dir: str | None, account: _server.Account | None, backup_id: str, encoding: str
) -> Iterator[ScratchDatabase]:
    """A server that lives inside ``directory`` for as long as the context, and no longer than this process."""
    # No role of a backup has this name, so all of them can be created beside it.
    owner = Target(_server.LOOPBACK, 0, f"runbook_{secrets.token_hex(8)}", secrets.token_urlsafe(24), "postgres")
    programs = server_programs(bin_dir)
    home = _server.give(os.path.join(directory, "server"), account)
    data_dir = os.path.join(home, "data")
    try:
        _server.initdb(programs, data_dir, account=account, user=owner.user, password=owner.password or "", timeout=120)
        server = _server.start_postgres(
            programs, data_dir, account=account, settings=SERVER_SETTINGS,
            stderr_path=os.path.join(home, "server.log"),
        )  # fmt: skip
        try:
            with session(replace(owner, port=server.port), APPLICATION) as opened:
                name = database_name(backup_id)
                create(opened, name, encoding)
                place = place_of(opened, name, directory, private=True)
            yield place
        finally:
            server.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def server_programs(bin_dir: str | None) -> str:
    """The directory that has ``postgres`` and ``initdb``: ``bin_dir``, else PATH, else where Debian puts them."""
    on_path = shutil.which("postgres")
    debian = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: float(path.split("/")[-2]), reverse=True)
    candidates = [bin_dir] if bin_dir else [*([os.path.dirname(on_path)] if on_path else []), *debian]
    for candidate in candidates:
        if all(os.access(os.path.join(candidate, program), os.X_OK) for program in ("postgres", "initdb")):
            return candidate
    raise InputError(
        f"bin_dir is {bin_dir!r}, where PostgreSQL's server programs (postgres, initdb) are not found: set bin_dir to a "
        "directory that has them, or name a scratch server to restore into."
    )


def database_name(backup_id: str) -> str:
    return f"runbook_verify_{re.sub('[^a-z0-9_]', '_', backup_id.lower())[:40]}_{secrets.token_hex(4)}"


def place_of(opened: Session, name: str, directory: str, *, private: bool) -> ScratchDatabase:
    return ScratchDatabase(
        opened.server_version, opened.server_major, replace(opened.target, database=name), directory, private
    )


def create(opened: Session, name: str, encoding: str, *, of_the_server: bool = False) -> None:
    """With the first of the options that this server knows; ``of_the_server``: its own locale before any of ours."""
    options = ((_AS_TEXT[-1],) if of_the_server else ()) + (_AS_BYTES if encoding == "SQL_ASCII" else _AS_TEXT)
    for number, option in enumerate(options, start=1):
        try:
            opened.rows(f"CREATE DATABASE {quoted(name)} TEMPLATE template0 {option}", seconds=CHANGE_SECONDS)
        except StatementFailed:
            if number == len(options):
                raise
        else:
            return


def quoted(name: str) -> str:
    identifier: str = require("psycopg.sql", "psycopg[binary]").Identifier(name).as_string(None)
    return identifier
