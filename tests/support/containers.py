# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compose projects of one container each, made by their labels alone: an idle one, or a database's server."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
import redis
from ansible_collections.runbook.ops.plugins.module_utils._runtime._compose_services import PROJECT, SERVICE
from ansible_collections.runbook.ops.plugins.module_utils._runtime._docker import DEFAULT
from ansible_collections.runbook.ops.plugins.module_utils._runtime.base import Instance
from ansible_collections.runbook.ops.plugins.module_utils._runtime.compose import ComposeRuntime
from support.processes import until

from lab import images
from lab.command import docker
from lab.place import LABEL


def container(
    project: str, service: str, *options: str, image: str = "base", argv: tuple[str, ...] = ("sleep", "infinity"),
    init: bool = True,
) -> str:  # fmt: skip
    """A running container of a service; its name. ``init``: whether its first process sees off what others leave."""
    labels = [f"--label={label}" for label in (f"{PROJECT}={project}", f"{SERVICE}={service}", f"{LABEL}=1")]
    name = f"{project}-{service}-{secrets.token_hex(2)}"
    options = ("--init", *options) if init else options
    docker("run", "--detach", "--name", name, *labels, *options, images.ensure(image), *argv)
    return name


def remove(*names: str) -> None:
    docker("rm", "--force", "--volumes", *names)


def on(name: str, host: str = DEFAULT) -> ComposeRuntime:
    """The runtime of a project, whether there is such a one or not."""
    return ComposeRuntime.declared({"type": "compose", "project": name, "docker_host": host})


def processes(name: str) -> dict[str, int]:
    """What runs in a container, with its number on the host."""
    listed = docker("top", name, "-eo", "pid,args").splitlines()[1:]
    return {argv: int(pid) for pid, argv in (line.split(None, 1) for line in listed)}


def programs(runtime: ComposeRuntime) -> list[str]:
    """What runs in the one container of ``project``, its idle first process left out."""
    return [argv for argv in processes(runtime.resolve("service").name) if not argv.endswith("sleep infinity")]


def state_of(name: str) -> str:
    return docker("inspect", "--format", "{{.State.Status}}", name).strip()


def restarts_of(name: str) -> int:
    return int(docker("inspect", "--format", "{{.RestartCount}}", name))


@contextmanager
def project(*options: str, docker_host: str = DEFAULT, image: str = "base") -> Iterator[ComposeRuntime]:
    """A project with one idle container, of the service ``service``."""
    name = f"test-{secrets.token_hex(4)}"
    made = container(name, "service", *options, image=image)
    try:
        yield on(name, docker_host)
    finally:
        remove(made)


@dataclass(frozen=True)
class Server:
    """A database's server as process 1 of a container; ``host`` and ``port`` are where this host reaches it."""

    project: str
    container: str
    host: str
    port: int
    user: str
    password: str
    bin_dir: str | None = None

    @property
    def instance(self) -> Instance:
        return on(self.project).resolve("db")


@contextmanager
def postgres() -> Iterator[Server]:
    password = secrets.token_urlsafe(12)
    with _server("postgres", 5432, "postgres", password, "--env", f"POSTGRES_PASSWORD={password}") as made:
        yield made


@contextmanager
def redis_server(*options: str, settings: tuple[str, ...] = ()) -> Iterator[Server]:
    """``options`` are the container's, ``settings`` the server's."""
    password = secrets.token_urlsafe(12)
    argv = ("redis-server", "--requirepass", password, *settings)
    with _server("redis", 6379, "default", password, *options, argv=argv) as made:
        yield made


@contextmanager
def _server(
    image: str, port: int, user: str, password: str, *options: str, argv: tuple[str, ...] = ()
) -> Iterator[Server]:
    project = f"test-{secrets.token_hex(4)}"
    name = container(project, "db", *options, image=image, argv=argv, init=False)
    try:
        host = on(project).resolve("db").endpoint("localhost", port)[0]
        made = Server(project, name, host, port, user, password)
        until(lambda: answers(made))
        yield made
    finally:
        remove(name)


def answers(server: Server) -> bool:
    try:
        if server.port == 6379:
            return bool(redis.Redis(server.host, server.port, password=server.password).ping())
        psycopg.connect(host=server.host, port=server.port, user=server.user, password=server.password).close()
        return True
    except (psycopg.OperationalError, redis.ConnectionError):
        return False
