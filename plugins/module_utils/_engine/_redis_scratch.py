# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scratch servers of Redis: a child process on this host, or one in a throw-away twin of the instance."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager

from .. import _server
from .._errors import CommandFailed, EngineError, MissingLibrary, NoSpace, TimedOut
from .._redis.connection import Login, Redis, Unavailable
from .._runtime.base import Instance
from .._runtime.local import LocalInstance
from .base import Place

DATA = "dump.rdb"

_SETTINGS: Mapping[str, str] = {
    "save": "", "appendonly": "no", "dbfilename": DATA,
    "databases": "10000",  # a file from a server with more databases than ours would not load; empty ones cost nothing
}  # fmt: skip

_HOME = "/var/tmp/runbook"  # noqa: S108 - in a container that nobody else is in
_PORT = 6379
_ANSWER_SECONDS = 60.0


class RedisPlace(Place):
    """An empty directory, and the server once it was started on the file that was put there.

    ``memory`` is what the server may take, where it is limited; ``on_this_host`` whether it takes it of this host's.
    """

    memory: int | None = None
    on_this_host: bool = True

    def __init__(self, directory: str, server_version: str) -> None:
        self.directory = directory
        self.server_version = server_version
        self.password = secrets.token_urlsafe(24)

    @property
    def path(self) -> str:
        """Where the server looks for its file."""
        return os.path.join(self.directory, DATA)

    @abstractmethod
    def put(self, chunks: Iterable[bytes], *, timeout: float) -> None:
        """The file at ``path``."""

    @abstractmethod
    def start(self, *, timeout: float) -> None:
        """Start the server and wait until it has loaded the file; ``EngineError`` when it ends instead."""

    @abstractmethod
    def log(self) -> str:
        """What the server said."""

    @abstractmethod
    def login(self) -> Login:
        """How the running server is reached."""


class HostPlace(RedisPlace):
    """On this host; the server dies with this process."""

    def __init__(self, directory: str, binary: str, account: _server.Account | None) -> None:
        super().__init__(directory, version(LocalInstance(), binary))
        self._binary = binary
        self._account = account
        self.server: _server.Server | None = None

    def put(self, chunks: Iterable[bytes], *, timeout: float) -> None:
        try:
            with open(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
                for data in chunks:
                    file.write(data)
                if self._account is not None:
                    os.fchown(file.fileno(), self._account.uid, self._account.gid)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise NoSpace(
                    f"{self.directory} ran full while the RDB file was unpacked there: free some space."
                ) from None
            raise EngineError(f"{self.path} cannot be written ({error.strerror}).") from None

    def start(self, *, timeout: float) -> None:
        self.server = _server.start_redis(
            self._binary, self.directory, account=self._account, password=self.password, settings=_SETTINGS,
            stderr_path=os.path.join(self.directory, "log"), timeout=timeout,
        )  # fmt: skip

    def log(self) -> str:
        with open(os.path.join(self.directory, "log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def login(self) -> Login:
        if self.server is None:
            raise EngineError("Nothing was restored yet, so there is nothing to check.")
        return Login(self.server.host, self.server.port, password=self.password)

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class TwinPlace(RedisPlace):
    """In a twin, whose end ends the server."""

    def __init__(self, twin: Instance, binary: str, memory: int) -> None:
        super().__init__(_HOME, version(twin, binary))
        self.memory = memory
        self.on_this_host = twin.on_this_host
        self._twin = twin
        self._binary = binary
        self._log = os.path.join(_HOME, "log")

    def put(self, chunks: Iterable[bytes], *, timeout: float) -> None:
        made = self._twin.run(["mkdir", "-m", "700", _HOME], timeout=_ANSWER_SECONDS)
        if made.returncode != 0:
            raise EngineError(f"{_HOME} cannot be made in the throw-away container {self._twin.name} ({made.stderr}).")
        self._twin.place(self.path, chunks, timeout=timeout)

    def start(self, *, timeout: float) -> None:
        settings = {**_SETTINGS, "bind": "0.0.0.0", "logfile": self._log, "pidfile": self._pid_file, "daemonize": "yes"}  # noqa: S104 - in a container
        config = _server.redis_config(settings, port=_PORT, password=self.password, directory=_HOME)
        started = self._twin.run(_server.redis_argv(self._binary), stdin=config, timeout=_ANSWER_SECONDS)
        if started.returncode != 0:
            raise EngineError(
                f"Redis does not start in the throw-away container {self._twin.name}: {started.stderr or started.stdout[-500:]!r}."
            )
        deadline = time.monotonic() + timeout
        while not self._loaded():
            if self._ended():
                raise EngineError(
                    f"Redis ended in the throw-away container {self._twin.name} while it loaded the file, which tells nothing about the "
                    "backup: see whether the kernel ended it for want of memory (scratch.memory_mib), and verify again."
                )
            if time.monotonic() > deadline:
                raise TimedOut(f"Redis did not load the file within {timeout:g} s.")
            time.sleep(0.1)

    def _loaded(self) -> bool:
        try:
            with closing(Redis(self.login())) as server:
                return not server.info()["loading"]
        except Unavailable:
            return False

    def _ended(self) -> bool:
        """Nobody in a twin sees its dead off, so an ended server is there as a zombie."""
        pid = self._twin.run(["cat", self._pid_file], timeout=_ANSWER_SECONDS).stdout.decode().strip()
        state = self._twin.run(["cat", f"/proc/{pid}/stat"], timeout=_ANSWER_SECONDS) if pid else None
        return state is not None and (state.returncode != 0 or b") Z " in state.stdout)

    @property
    def _pid_file(self) -> str:
        return os.path.join(_HOME, "pid")

    def log(self) -> str:
        said = bytearray()
        self._twin.fetch(self._log, said.extend, timeout=_ANSWER_SECONDS)
        return said.decode(errors="replace")

    def login(self) -> Login:
        host, port = self._twin.endpoint(_server.LOOPBACK, _PORT)
        return Login(host, port, password=self.password)


@contextmanager
def on_this_host(directory: str, bin_dir: str | None, run_as: str | None, variable: str) -> Iterator[RedisPlace]:
    """A place in ``directory`` with the host's own ``redis-server``."""
    account = _server.account(run_as, f"{variable}.run_as")
    binary = server_binary(bin_dir)
    place = HostPlace(_server.give(os.path.join(directory, "redis"), account), binary, account)
    try:
        yield place
    finally:
        place.stop()


def server_binary(bin_dir: str | None) -> str:
    """The host's; ``MissingLibrary`` where there is none."""
    found = shutil.which("redis-server", path=bin_dir)
    if found is None:
        where = f"in bin_dir {bin_dir}" if bin_dir else "in PATH"
        raise MissingLibrary(f"There is no redis-server {where}, which a verification loads backups into: install it.")
    return found


def version(instance: Instance, binary: str) -> str:
    """``8.2.3`` of ``Redis server v=8.2.3 sha=...``."""
    try:
        said = instance.run([binary, "--version"], timeout=_ANSWER_SECONDS).stdout
    except CommandFailed as error:
        raise EngineError(f"{binary} cannot be run: {error}") from None
    match = re.search(rb"v=(\S+)", said)
    if match is None:
        raise EngineError(f"{binary} does not tell its version: is it a Redis server?")
    return match[1].decode()
