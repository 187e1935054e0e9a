# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers of the laboratory to install things on: one that runs systemd, one that runs cron and is not in UTC, and one
that is reached by ssh and may use this machine's Docker Engine. The first two have no network.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

from ansible_collections.runbook.ops.plugins.module_utils._errors import CommandFailed

from .. import engine, images
from ..command import docker, run
from ..place import LABEL, held, home
from .wheels import wheels

SSH_PORT = 2222
ACCOUNT = "deploy"
_SOCKET = "/var/run/docker.sock"
_READY = "/run/let-in"


@dataclass(frozen=True)
class Host:
    """A container's options, and the program that is its process 1."""

    options: tuple[str, ...]
    command: tuple[str, ...]

    def up(self, name: str) -> bool:
        """Whether it had to be started."""
        if running(name):
            return False
        image = images.ensure("host")
        down(name)
        mount = f"type=bind,source={wheels()},target=/wheels,readonly"
        labels = ["--label", f"{LABEL}=1", "--name", container(name), "--mount", mount]
        docker("run", "--detach", *labels, *self.options, image, *self.command)
        return True


HOSTS = {
    # systemd wants to mount things, and nothing else that a plain container may not.
    "systemd": Host(
        ("--network", "none", "--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined",
         "--security-opt", "apparmor=unconfined", "--tmpfs", "/run", "--tmpfs", "/run/lock",
         "--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw"),
        ("/lib/systemd/systemd",),
    ),
    "cron": Host(("--network", "none", "--env", "TZ=America/St_Johns"), ("cron", "-f")),
    # A Docker host reaches its containers, so this one has the machine's network.
    "ssh": Host(
        ("--network", "host", "--mount", f"type=bind,source={_SOCKET},target={_SOCKET}"),
        ("sh", "-c", f"until [ -e {_READY} ]; do sleep 0.1; done; exec /usr/sbin/sshd -D -e -p {SSH_PORT} -o ListenAddress=127.0.0.1"),
    ),
}  # fmt: skip


def container(name: str) -> str:
    return f"runbook-lab-{name}"


def running(name: str) -> bool:
    with suppress(CommandFailed):
        return docker("container", "inspect", "--format", "{{.State.Running}}", container(name)).strip() == "true"
    return False


def up(name: str) -> bool:
    """Bring one of the hosts up; whether anything had to be done."""
    engine.ensure()
    with held("hosts"):
        started = HOSTS[name].up(name)
        if started and name == "ssh":
            _let_in(name)
        return started


def down(name: str) -> bool:
    with suppress(CommandFailed):
        return bool(docker("container", "rm", "--force", "--volumes", container(name)).strip())
    return False


def key() -> str:
    """The private key that opens the account."""
    return home("hosts", "id_ed25519")


def _let_in(name: str) -> None:
    """The account gets the laboratory's key, sudo without a password, and the group that owns the Engine's socket."""
    if not os.path.exists(key()):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "laboratory", "-f", key()], timeout=20)
    with open(f"{key()}.pub", encoding="ascii") as file:
        public = file.read()
    group = os.stat(_SOCKET).st_gid
    steps = [
        ["ssh-keygen", "-A"],
        ["groupadd", "--gid", str(group), "--non-unique", "docker"],
        ["usermod", "--append", "--groups", "docker", ACCOUNT],
        ["install", "--directory", "--owner", ACCOUNT, "--mode", "0700", f"/home/{ACCOUNT}/.ssh"],
    ]
    for step in steps:
        docker("exec", container(name), *step)
    _write(name, f"/home/{ACCOUNT}/.ssh/authorized_keys", public)
    _write(name, "/etc/sudoers.d/laboratory", f"{ACCOUNT} ALL=(ALL) NOPASSWD: ALL\n")
    with open(home("hosts", "known_hosts"), "w", encoding="ascii") as file:
        host_key = docker("exec", container(name), "cat", "/etc/ssh/ssh_host_ed25519_key.pub")
        file.write(f"[127.0.0.1]:{SSH_PORT} {host_key}")
    docker("exec", container(name), "touch", _READY)


def _write(name: str, path: str, text: str) -> None:
    docker("exec", "--interactive", container(name), "dd", "status=none", f"of={path}", stdin=text)
