# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo system: which servers it has, where they live, and how they are started, stopped and deleted.

Everything is in one directory. ``demo.json`` there says what an inventory needs to know, passwords and ports among it;
it is written before anything is started and deleted last, so that a killed run leaves nothing that the next cannot heal.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ansible_collections.runbook.ops.plugins.module_utils import _server
from ansible_collections.runbook.ops.plugins.module_utils._errors import InputError, TimedOut

from . import configuration, erni, servers, sme
from .unprivileged import LOG_FILE, PID_FILE, make_passable, start_module

STATE = "demo.json"
PURPOSE = "runbook.ops demo"
BUCKET = "erni-agents-backups"
STOP_SECONDS = 30.0
SERVICES: dict[str, int] = {  # in the order of starting, with the signal that ends each cleanly
    "postgres": signal.SIGINT,
    "redis": signal.SIGTERM,
    "s3": signal.SIGTERM,
    "writer": signal.SIGTERM,
}

State = dict[str, Any]


def default_directory() -> str:
    """``RUNBOOK_DEMO_DIR``, or a directory of the user's own in /var/tmp.

    There, because servers that root starts run under another account, which cannot enter root's home, and because
    /tmp may be in memory or emptied at a restart. Named after the home directory, as the inventory can do it, too.
    """
    user = os.path.basename(os.path.expanduser("~"))
    return os.environ.get("RUNBOOK_DEMO_DIR") or f"/var/tmp/runbook-demo-{user}"  # noqa: S108 - checked to be ours


def up(directory: str) -> dict[str, Any]:
    """Make and start whatever is not there or not running."""
    with _held(directory) as home:
        demo = Demo(home, _load(home) or _new(home))
        started = demo.start()
        return {"changed": bool(started), "started": started, "directory": home, "running": _running(home)}


def down(directory: str) -> dict[str, Any]:
    """Stop what runs; the data stays."""
    if not os.path.isdir(directory):
        return {"changed": False, "exists": False, "stopped": [], "directory": os.path.abspath(directory)}
    with _held(directory) as home:
        stopped = [service for service in reversed(SERVICES) if _stop(home, service)]
        return {"changed": bool(stopped), "exists": True, "stopped": stopped, "directory": home}


def status(directory: str) -> dict[str, Any]:
    """What is there, and the process of each service that runs."""
    if not os.path.isdir(directory):
        return {"changed": False, "exists": False, "directory": os.path.abspath(directory), "running": {}}
    with _held(directory) as home:
        return {"changed": False, "exists": True, "directory": home, "running": _running(home)}


def clean(directory: str) -> dict[str, Any]:
    """Stop what runs and delete the directory, if it is a demo's."""
    if not os.path.lexists(directory):
        return {"changed": False, "directory": os.path.abspath(directory)}
    with _held(directory) as home:
        if not os.listdir(home):  # nobody's, so not ours
            return {"changed": False, "directory": home}
        for service in reversed(SERVICES):
            _stop(home, service)
        for entry in os.scandir(home):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            elif entry.name != STATE:
                os.unlink(entry.path)
        os.unlink(os.path.join(home, STATE))
        os.rmdir(home)
        return {"changed": True, "directory": home}


def history(directory: str) -> dict[str, Any]:
    """Give the running demo's stores a past, once."""
    with _held(directory) as home:
        state = _load(home)
        if state is None or len(_running(home)) < len(SERVICES):
            raise InputError(f"The demo in {home} is not running: start it with `python -m lab.embedded up`.")
        if state.get("has_history"):
            return {"changed": False, "built": {}, "directory": home}
        from .history import build_all, complete  # noqa: PLC0415 - most of the collection: only where there is work

        built = build_all(state)
        if complete(state):
            state["has_history"] = True
            _save(home, state)
        return {"changed": bool(built), "built": built, "directory": home}


class Demo:
    """One demo with its state, which is saved after each step that took time."""

    def __init__(self, home: str, state: State) -> None:
        self._home = home
        self._state = state

    def start(self) -> list[str]:
        """Start each service that does not run; returns their names."""
        self._prepare()
        self._leave_what_is_gone()
        starters: dict[str, Callable[[str], None]] = {
            "postgres": self._postgres, "redis": self._redis, "s3": self._s3, "writer": self._writer,
        }  # fmt: skip
        started = []
        for service in SERVICES:
            if _server.running(_pid_file(self._home, service)) and self._known(service):
                continue
            _stop(self._home, service)  # one that a killed run started, but could not note down
            starters[service](os.path.join(self._home, service))
            started.append(service)
        return started

    def _leave_what_is_gone(self) -> None:
        """Servers whose programs were deleted under them, with the clone that started them, run on but serve nobody for long."""
        if not os.path.isdir(self._state.get("programs", sys.prefix)):
            for service in reversed(SERVICES):
                _stop(self._home, service)
        if self._state.get("programs") != sys.prefix and not _running(self._home):
            self._state["programs"] = sys.prefix
            self._save()

    def _known(self, service: str) -> bool:
        """Whether the state has all there is to know about a started service."""
        noted = self._state.get(service, {})
        return noted.get("port") != 0 and noted.get("filled") is not False

    def _prepare(self) -> None:
        """Directories, configuration and keys: cheap to look at, so looked at each time."""
        state, account = self._state, _server.account(None)
        _server.give(os.path.dirname(state["sqlite"]["path"]), account)
        sme.create(state["sqlite"]["path"])
        if account:
            os.chown(state["sqlite"]["path"], account.uid, account.gid)
        make_passable(state["work_dir"])
        for path in (state["backups"], os.path.dirname(state["metrics_file"])):
            os.makedirs(path, mode=0o700, exist_ok=True)
        passwords = {"DB_PASSWORD": state["postgres"]["password"], "REDIS_PASSWORD": state["redis"]["password"]}
        configuration.write_configuration(state["configuration"]["directory"], passwords)
        fingerprint = configuration.write_keys(os.path.join(self._home, "keys"))
        if state["openpgp"].get("fingerprint") != fingerprint:
            state["openpgp"]["fingerprint"] = fingerprint
            self._save()

    def _save(self) -> None:
        _save(self._home, self._state)

    def _postgres(self, directory: str) -> None:
        state = self._state["postgres"]
        server = servers.start_postgres(
            directory, port=state["port"], user=state["superuser"], password=state["superuser_password"], detach=True
        )
        state.update(port=server.port, bin_dir=server.bin_dir, data_dir=server.data_dir)
        self._save()
        if not state["filled"]:
            erni.create(state, state["database"], erni.SIZES)
            state["filled"] = True
            self._save()

    def _redis(self, directory: str) -> None:
        state = self._state["redis"]
        server = servers.start_redis(directory, port=state["port"], password=state["password"], detach=True)
        state.update(port=server.port, bin_dir=os.path.dirname(server.server_binary), directory=server.directory)
        self._save()
        if not state["filled"]:
            erni.fill_cache(state)
            state["filled"] = True
            self._save()

    def _s3(self, directory: str) -> None:
        state = self._state["s3"]
        server = servers.start_s3(
            directory, port=state["port"], access_key=state["access_key"], secret_key=state["secret_key"],
            bucket=state["bucket"], keep=True, detach=True,
        )  # fmt: skip
        state.update(port=server.server.port, endpoint_url=server.endpoint_url, region=server.region)
        self._save()

    def _writer(self, directory: str) -> None:
        make_passable(directory)
        state = self._state
        options = {"sqlite": state["sqlite"]["path"], "postgres": state["postgres"]}
        before = sme.last_write(options["sqlite"])
        process = start_module("lab.embedded.writer", options, directory, _server.account(None), detach=True)
        try:
            _server.await_ready(
                process, lambda: sme.last_write(options["sqlite"]) != before,
                what="the demo's application", stderr_path=os.path.join(directory, LOG_FILE), timeout=30,
            )  # fmt: skip
        except BaseException:
            _server.end(process)
            raise


@contextmanager
def _held(directory: str) -> Iterator[str]:
    """The demo's directory, ours alone while we work on it. Anybody else's is refused."""
    home = os.path.abspath(directory)
    make_passable(home)
    found = os.lstat(home)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise InputError(
            f"{home} is not a directory of this account: name another with --directory or RUNBOOK_DEMO_DIR."
        )
    fd = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.listdir(home) and _load(home) is None:
            raise InputError(
                f"{home} holds files, but no {STATE} of a demo: it is left alone. "
                "Name another directory with --directory or RUNBOOK_DEMO_DIR."
            )
        yield home
    finally:
        os.close(fd)


def _new(home: str) -> State:
    """A new demo's state: every password, and every path."""

    def path(*parts: str) -> str:
        return os.path.join(home, *parts)

    state: State = {
        "purpose": PURPOSE,
        "postgres": {
            "host": _server.LOOPBACK, "port": 0, "database": erni.DATABASE, "user": erni.OWNER,
            "password": secrets.token_urlsafe(18), "superuser": "postgres",
            "superuser_password": secrets.token_urlsafe(18), "filled": False,
        },
        "redis": {"host": _server.LOOPBACK, "port": 0, "password": secrets.token_urlsafe(18), "filled": False},
        "s3": {"port": 0, "bucket": BUCKET, "access_key": "demo", "secret_key": secrets.token_urlsafe(30)},
        "sqlite": {"path": path("sme", "sme_erp.db")},
        "configuration": {"directory": path("configuration")},
        "openpgp": {
            "public_key": path("keys", configuration.PUBLIC_KEY), "secret_key": path("keys", configuration.SECRET_KEY),
        },
        "backups": path("backups"), "work_dir": path("work"), "metrics_file": path("metrics", "runbook.prom"),
    }  # fmt: skip
    _save(home, state)
    return state


def _save(home: str, state: State) -> None:
    path = os.path.join(home, STATE)
    with open(f"{path}.partial", "w", opener=lambda name, flags: os.open(name, flags, 0o600), encoding="utf-8") as file:
        json.dump(state, file, indent=2)
        file.write("\n")
    os.replace(f"{path}.partial", path)


def _load(home: str) -> State | None:
    try:
        with open(os.path.join(home, STATE), encoding="utf-8") as file:
            state = json.load(file)
    except FileNotFoundError:
        return None
    except ValueError:
        state = None
    if not isinstance(state, dict) or state.get("purpose") != PURPOSE:
        raise InputError(f"{home}/{STATE} is not a demo's: it is left alone. Name another directory with --directory.")
    return state


def _pid_file(home: str, service: str) -> str:
    return os.path.join(home, service, PID_FILE)


def _running(home: str) -> dict[str, int]:
    found = {service: _server.running(_pid_file(home, service)) for service in SERVICES}
    return {service: pid for service, pid in found.items() if pid}


def _stop(home: str, service: str) -> bool:
    """End a service and wait until the last of its processes is gone; whether it ran."""
    pid_file = _pid_file(home, service)
    pid = _server.running(pid_file)
    if pid is None:
        return False
    for number in (SERVICES[service], signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline:
            if _server.running(pid_file) is None:
                return True
            time.sleep(0.02)
    raise TimedOut(f"{service} (process {pid}) of the demo in {home} does not end: end it by hand.")
