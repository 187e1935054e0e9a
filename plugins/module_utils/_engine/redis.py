# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis: the RDB file of a background save of our own, checked byte by byte on its way, proved by loading it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Self

from .._checks import Check, parse_checks
from .._durations import parse_duration
from .._errors import CommandFailed, Damaged, EngineError, InputError, NoSpace
from .._records import CheckResult
from .._redis.connection import ANSWER, Login, NotPermitted, Redis
from .._redis.rdb import Rdb, RdbCheck
from .._redis.save import BackgroundSave
from .._runtime.base import Instance, Limits
from .._scratch import require_space
from ._limits import DEFAULT_LIMITS, limits_of
from ._redis_scratch import RedisPlace, TwinPlace, on_this_host
from .base import ArtefactReader, Dump, Engine, Facts, OpenArtefact, Place

DATA = "data.rdb"
TOOL = "BGSAVE"

_SERVER_ACCOUNT = "redis"
"""Whom the server runs as in every image of it that there is."""

_CLOCK_TICK = timedelta(seconds=1)
"""A file's time may be the second before the request's: Redis reads the two from clocks that turn a tick apart."""

_UNFIT = re.compile(
    r"Can't handle RDB format version \d+|no matching module[^\n]*|module data I can't load[^\n]*|handle more than \d+ databases"
)
"""What a server says of a sound file that is not for it."""

_BROKEN = re.compile(r"Wrong RDB checksum|Short read[^\n]*|Internal error in RDB[^\n]*|Unexpected EOF[^\n]*")
"""What it says of a broken one. The lines around these may name keys, so nothing else is repeated."""


class RedisEngine(Engine):
    """All databases of one server."""

    name = "redis"

    def __init__(
        self, instance: Instance, login: Login, *, checks: Sequence[Check] = (), timeout: float = 14400.0,
        bin_dir: str | None = None, run_as: str | None = None, variable: str = "database",
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:  # fmt: skip
        self._instance = instance
        self._login = login
        self._checks = checks
        self._timeout = timeout
        self._bin_dir = bin_dir
        self._run_as = run_as
        self._variable = variable
        self._limits = limits

    @classmethod
    def declared(cls, variable: str, database: Mapping[str, Any], instance: Instance) -> Self:
        """From one entry of ``runbook_databases``; ``InputError`` names the variable and the key."""
        port = database.get("port") or 6379
        if not (isinstance(port, int) and 0 < port < 65536):
            raise InputError(f"{variable}.port is {port!r}, which is no TCP port: give a number from 1 to 65535.")
        user, password = database.get("user"), database.get("password")
        if user and not password:
            raise InputError(f"{variable}.user is {user!r} but {variable}.password is not set: set it, or remove user.")
        return cls(
            instance, Login(database.get("host") or "127.0.0.1", port, user, password),
            checks=parse_checks(f"{variable}.checks", database.get("checks"), cls.name),
            timeout=parse_duration(f"{variable}.timeout", database.get("timeout") or "4h").total_seconds(),
            bin_dir=database.get("bin_dir"), run_as=database.get("run_as"), variable=variable,
            limits=limits_of(f"{variable}.scratch", database.get("scratch")),
        )  # fmt: skip

    def preflight(self) -> Facts:
        with self._connected() as server:
            info = server.info()
            return Facts(
                str(info["redis_version"]), TOOL,
                estimated_bytes=int(info["used_memory"]),  # the file has no pointers and no free space in it
                details={"role": info["role"], "rdb_path": self._rdb_path(server)},
            )  # fmt: skip

    def dump(self, open_artefact: OpenArtefact) -> Dump:
        with self._connected() as server:
            path = self._rdb_path(server)
            save = BackgroundSave(server, self._timeout)
            save.begin()
            # Counted beside the save, so that with nobody writing they are the counts of the file.
            observed = {check.name: server.count_keys(check.subject) for check in self._checks}
            saved = save.wait()
        rdb = self._fetch(path, open_artefact, saved.requested_at)
        return Dump(saved.server_version, TOOL, rdb.created_at or saved.requested_at, observed)

    def check(self, reader: ArtefactReader) -> None:
        name = reader.names()[0]
        check = RdbCheck(name)
        for data in reader.read(name):
            check.feed(data)
        check.finish()

    @contextmanager
    def scratch(self, reader: ArtefactReader, directory: str) -> Iterator[Place]:
        size = reader.manifest.artefacts[0].raw_size
        limits = replace(self._limits, files=size)
        with self._instance.twin(limits, self._run_as or _SERVER_ACCOUNT) or nullcontext() as twin:
            if twin is not None:
                yield TwinPlace(twin, os.path.join(self._bin_dir or "", "redis-server"), self._limits.memory)
                return
            require_space(directory, size, f"the restored {DATA}")
            with on_this_host(directory, self._bin_dir, self._run_as, self._variable) as place:
                yield place

    def restore(self, reader: ArtefactReader, place: Place) -> None:
        place = _own(place)
        name = reader.names()[0]
        check = RdbCheck(name)
        place.put(_checked(reader.read(name), check), timeout=self._timeout)
        rdb = check.finish()
        self._require_memory(rdb.used_memory, place)
        try:
            place.start(timeout=self._timeout)
        except EngineError:
            _judge_log(place.log(), name, rdb, place.server_version)
            raise

    def verify(self, reader: ArtefactReader, place: Place) -> list[CheckResult]:
        with closing(Redis(_own(place).login())) as server:
            return [
                check.judge_count(server.count_keys(check.subject), _expired(server.info())) for check in self._checks
            ]

    def _require_memory(self, needed: int, place: RedisPlace) -> None:
        """``NoSpace`` unless the data set fits: loading it must not have the kernel kill its neighbours, or itself."""
        if place.memory is not None and place.memory < needed:
            raise NoSpace(
                f"The throw-away container may take {place.memory >> 20} MiB of memory, the data set took {needed >> 20} MiB in its "
                f"server: raise {self._variable}.scratch.memory_mib."
            )
        if place.on_this_host:
            _require_free_memory(needed)

    @contextmanager
    def _connected(self) -> Iterator[Redis]:
        host, port = self._instance.endpoint(self._login.host, self._login.port)
        login = replace(self._login, host=host, port=port)
        with closing(Redis(login, answer_within=min(ANSWER, self._timeout))) as server:
            yield server

    def _rdb_path(self, server: Redis) -> str:
        try:
            return server.rdb_path()
        except NotPermitted as error:
            raise EngineError(f"{error} A backup needs it to find the file that was saved.") from None

    def _fetch(self, path: str, open_artefact: OpenArtefact, requested_at: datetime) -> Rdb:
        check = RdbCheck(f"{path} on {self._instance.name}")
        with open_artefact(DATA, "rdb") as sink:

            def checked(data: bytes) -> None:
                check.feed(data)
                sink(data)

            self._instance.fetch(path, checked, timeout=self._timeout)
            rdb = check.finish()
            if rdb.created_at is not None and rdb.created_at < requested_at - _CLOCK_TICK:
                raise EngineError(
                    f"{path} on {self._instance.name} is from {rdb.created_at:%Y-%m-%d %H:%M:%S} UTC, before the save that {self._login} "
                    "has just made there: host and port lead to another server than service does, or its files are elsewhere."
                )
            self._check_by_tool(path)
        return rdb

    def _check_by_tool(self, path: str) -> None:
        """Have the server's own checker parse every value, where it is installed: the CRC cannot see a bug in Redis.

        One that does not know the file's format, as an older server's in PATH, says nothing about the file.
        """
        tool = os.path.join(self._bin_dir or "", "redis-check-rdb")
        try:
            installed = self._instance.run([tool, "--version"], timeout=ANSWER).returncode == 0
        except CommandFailed:
            installed = False
        if installed and (checked := self._instance.run([tool, path], timeout=self._timeout)).returncode != 0:
            said = checked.stdout.decode(errors="replace")
            if _UNFIT.search(said):
                return
            found = re.search(r"ERROR DETECTED ---\n([^\n]*)", said)
            raise Damaged(
                f"redis-check-rdb rejects {path} on {self._instance.name}: {found[1] if found else checked.stderr}."
            )


def _checked(chunks: Iterator[bytes], check: RdbCheck) -> Iterator[bytes]:
    """``Damaged`` in mid-stream, before a server sees the file."""
    for data in chunks:
        check.feed(data)
        yield data


def _own(place: Place) -> RedisPlace:
    if not isinstance(place, RedisPlace):
        raise EngineError("A Redis backup can be restored into a Redis scratch place only.")
    return place


def _expired(info: Mapping[str, Any]) -> int:
    """Keys of the file that a server dropped, of whatever name: while it loaded them, and since."""
    return int(info.get("rdb_last_load_keys_expired", 0)) + int(info.get("expired_keys", 0))


def _require_free_memory(needed: int) -> None:
    with suppress(OSError), open("/proc/meminfo", encoding="ascii") as meminfo:
        match = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read(), re.MULTILINE)
        if match and int(match[1]) << 10 < needed:
            raise NoSpace(
                f"This host has {int(match[1]) >> 10} MiB of memory free, the data set took {needed >> 20} MiB in its server: "
                "verify it on a larger host."
            )


def _judge_log(log: str, name: str, rdb: Rdb, version: str) -> None:
    """Raise what a server's log says of the file that it ended on, if that is what it ended on."""
    unfit, broken = _UNFIT.search(log), _BROKEN.search(log)
    if unfit:
        raise EngineError(
            f"{name} was written by Redis {rdb.server_version} (RDB version {rdb.version}), which redis-server {version} here "
            f"cannot load ({unfit[0]}): set bin_dir to a server at least as new, with the same modules."
        )
    if broken:
        raise Damaged(f"{name} cannot be loaded by redis-server {version}: {broken[0]}.")
