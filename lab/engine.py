# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Docker Engine: the one that is there, else Debian's, started plainly by root, with no service manager.

``ensure()`` brings it up or says in one sentence why none can stand here; ``compose()`` is compose v2 for it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress

from ansible_collections.runbook.ops.plugins.module_utils import _server
from ansible_collections.runbook.ops.plugins.module_utils._errors import CommandFailed, RunbookError, TimedOut

from . import debian
from .command import docker, run
from .place import held, home

PACKAGES = ("docker.io", "iptables", "debootstrap")
NAME = "engine"
READY_SECONDS = 60.0
STOP_SECONDS = 60.0
COMPOSE_RELEASE = "trixie"
"""Debian's first release with compose v2; its package holds one program that needs nothing of the release."""

_CONTAINERD_PID = "/var/run/docker/containerd/containerd.pid"
_COMPOSE_PROGRAM = "usr/libexec/docker/cli-plugins/docker-compose"
_HELP = "Start Docker, or point DOCKER_HOST at one that runs"


class Unavailable(RunbookError):
    """There is no Docker Engine, and none can be brought up here."""


def version() -> str | None:
    """The version of the Engine that answers."""
    if not shutil.which("docker"):
        return None
    with suppress(CommandFailed):
        return docker("version", "--format", "{{.Server.Version}}", timeout=20).strip() or None
    return None


def ensure() -> None:
    """Return once an Engine answers."""
    if version():
        return
    if host := os.environ.get("DOCKER_HOST"):
        raise Unavailable(f"DOCKER_HOST is {host}, where no Docker Engine answers. {_HELP}.")
    if not debian.available():
        raise Unavailable(f"No Docker Engine answers, and only root on Debian can have one installed here. {_HELP}.")
    with held(NAME) as directory:
        if version():  # somebody else was faster
            return
        try:
            if missing := [package for package in PACKAGES if not _installed(package)]:
                debian.install(missing)
            if not version():  # where a service manager runs, the package has started it
                _start(directory)
        except RunbookError as error:
            raise Unavailable(f"No Docker Engine answers, and Debian's could not be brought up: {error}") from None


def compose() -> list[str]:
    """The argv that compose v2 begins with."""
    with suppress(CommandFailed):
        run(["docker", "compose", "version"], timeout=20)
        return ["docker", "compose"]
    program = home(NAME, "docker-compose")
    if not os.path.exists(program):
        if not debian.available():
            raise Unavailable("docker compose is missing: install Docker's compose plugin, version 2 or newer.")
        with held(NAME):
            debian.take_out("docker-compose", COMPOSE_RELEASE, _COMPOSE_PROGRAM, program)
    return [program]


def down() -> bool:
    """Stop the Engine if it is one that ``ensure`` started; whether it was."""
    pid = _ours()
    if pid is None:
        return False
    with held(NAME):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while _ours() == pid:
            if time.monotonic() > deadline:
                raise TimedOut(f"The laboratory's Docker Engine (process {pid}) does not end: end it by hand.")
            time.sleep(0.1)
    return True


def _installed(package: str) -> bool:
    with suppress(CommandFailed):
        return "ok installed" in run(["dpkg-query", "--show", "--showformat=${Status}", package], timeout=20)
    return False


def _start(directory: str) -> None:
    """Its data stays where Debian's package has it; process number and log are the laboratory's."""
    log = os.path.join(directory, "dockerd.log")
    pid_file = _pid_file()
    _forget(pid_file, "dockerd")
    _forget(_CONTAINERD_PID, "containerd")
    with open(log, "ab", opener=lambda name, flags: os.open(name, flags, 0o600)) as output:
        process = subprocess.Popen(
            ["dockerd", "--pidfile", pid_file, "--log-level", "warn"],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", start_new_session=True,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        )  # fmt: skip
    deadline = time.monotonic() + READY_SECONDS
    while not version():
        if process.poll() is not None:
            raise CommandFailed(f"dockerd ended with {process.returncode}: {_server.log_end(log)}")
        if time.monotonic() > deadline:
            process.terminate()
            raise TimedOut(f"dockerd did not answer within {READY_SECONDS:.0f} s: {_server.log_end(log)}")
        time.sleep(0.2)


def _forget(pid_file: str, program: str) -> None:
    """Remove what a killed ``program`` left: its number may be somebody else's by now, who would be waited for."""
    with suppress(OSError, ValueError):
        with open(pid_file, encoding="ascii") as file:
            pid = int(file.read())
        with suppress(FileNotFoundError), open(f"/proc/{pid}/comm", encoding="utf-8") as file:
            if file.read().strip() == program:
                return
        os.unlink(pid_file)


def _pid_file() -> str:
    return home(NAME, "dockerd.pid")


def _ours() -> int | None:
    """The Engine that we started, while it runs."""
    with suppress(OSError, ValueError):
        with open(_pid_file(), encoding="ascii") as file:
            pid = int(file.read())
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return pid if _pid_file().encode() in file.read() else None
    return None
