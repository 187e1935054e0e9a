# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A system of the laboratory as a compose project: brought up, looked at and taken away by its labels."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from . import engine, images, s3
from .command import docker, run
from .embedded.configuration import write
from .place import LABEL, held, home

START_SECONDS = 180.0
STOP_SECONDS = 70
BUILDS = 2
"""Images made at a time: one waits for the network while another unpacks."""

STAMP = ".brought-up"
PROJECT = "com.docker.compose.project"
_SERVICE = "com.docker.compose.service"


@dataclass(frozen=True)
class Container:
    name: str
    service: str
    state: str
    health: str
    ports: str

    @property
    def good(self) -> bool:
        return self.state == "running" and self.health == "healthy"


@dataclass(frozen=True)
class System:
    """What one system is made of. ``files`` are laid below its directory as the repository has them."""

    name: str
    project: str
    address: str
    services: tuple[str, ...]
    first: tuple[str, ...]
    """The services that ``fill`` needs; the others start when their data is there."""
    images: Mapping[str, str]
    """The image of ours behind each variable of the compose file."""
    files: Mapping[str, Path]
    env_files: tuple[str, ...]
    buckets: tuple[str, ...]
    configure: Callable[[str], None]
    """Makes secrets, keys and directories where they are missing."""
    fill: Callable[[str], None]
    """Makes the data where there is none."""

    @property
    def directory(self) -> str:
        return home(self.name)

    def up(self) -> bool:
        """Bring up what is not there; whether anything had to be done."""
        engine.ensure()
        stored = s3.MOTO.up(self.buckets)
        with held(self.name) as directory:
            os.chmod(directory, 0o711)  # noqa: S103 - to pass through and see nothing
            if not os.path.exists(os.path.join(directory, ".env")):
                # What an earlier laboratory left is closed to us: its passwords went with its directory.
                remove(f"label={PROJECT}={self.project}", data=True)
                # An Engine that comes up with its containers makes directories of the mounted files that it misses.
                _remove_empty_directories(directory)
            version = self._lay(directory)
            self.configure(directory)
            stamp = os.path.join(directory, STAMP)
            if _content(stamp) == version and self.stands():
                return stored
            if self.first:
                self._start(directory, *self.first)
            self.fill(directory)
            self._start(directory)
            _lay(stamp, version)
        return True

    def stands(self) -> bool:
        """Whether every service is healthy."""
        return {found.service for found in self.containers() if found.good} >= set(self.services)

    def containers(self) -> list[Container]:
        """What runs, and what does not any more."""
        listed = docker("ps", "--all", "--quiet", "--filter", f"label={PROJECT}={self.project}").split()
        found = [_container(told) for told in json.loads(docker("inspect", *listed))] if listed else []
        return sorted(found, key=lambda container: container.name)

    def down(self, *, data: bool) -> bool:
        """Remove its containers and network; with ``data`` its volumes and directory, too. Whether there was anything."""
        removed = remove(f"label={PROJECT}={self.project}", data=data) if engine.version() else False
        if data and os.path.isdir(self.directory):
            with held(self.name) as directory:
                shutil.rmtree(directory)
            removed = True
        return removed

    def _lay(self, directory: str) -> bytes:
        """The system's files; returns a digest of all that its containers are made from, secrets left out."""
        laid = hashlib.sha256()
        for target, source in self.files.items():
            content = source.read_bytes()
            laid.update(content)
            _lay(os.path.join(directory, target), content)
        with ThreadPoolExecutor(BUILDS) as pool:
            values = dict(zip(self.images, pool.map(images.ensure, self.images.values()), strict=True))
        values.update(LAB_ADDRESS=self.address, LAB_FILES=laid.hexdigest()[:12])
        env = "".join(f"{name}={value}\n" for name, value in values.items()).encode()
        _lay(os.path.join(directory, ".env"), env)
        return hashlib.sha256(env).hexdigest().encode()

    def _start(self, directory: str, *services: str) -> None:
        files = [part for name in (".env", *self.env_files) for part in ("--env-file", name)]
        wait = ["--wait", "--wait-timeout", f"{START_SECONDS:.0f}", "--quiet-pull"]
        argv = [*engine.compose(), "--progress", "quiet", *files, "up", "--detach", *wait, *services]
        run(argv, timeout=START_SECONDS + 60, cwd=directory)


def remove(label: str, *, data: bool) -> bool:
    """Remove the laboratory's containers and networks with this filter, and its volumes with ``data``; whether any."""
    ours = ["--quiet", "--filter", f"label={LABEL}=1", "--filter", label]
    containers = docker("ps", "--all", *ours).split()
    if containers:
        docker("stop", "--time", str(STOP_SECONDS), *containers, timeout=STOP_SECONDS + 30)
        docker("rm", "--force", "--volumes", *containers)
    networks = docker("network", "ls", *ours).split()
    if networks:
        docker("network", "rm", *networks)
    volumes = docker("volume", "ls", *ours).split() if data else []
    if volumes:
        docker("volume", "rm", *volumes)
    return bool(containers or networks or volumes)


def _container(told: Mapping[str, object]) -> Container:
    config, state, network = told["Config"], told["State"], told["NetworkSettings"]
    labels = config["Labels"]
    ports = sorted(
        f"{binding['HostIp']}:{binding['HostPort']}"
        for bindings in network["Ports"].values() for binding in bindings or ()
    )  # fmt: skip
    return Container(
        name=str(told["Name"]).lstrip("/"), service=labels.get(_SERVICE, ""), state=state["Status"],
        health=state.get("Health", {}).get("Status", "none"),
        ports=" ".join(ports),
    )  # fmt: skip


def _remove_empty_directories(directory: str) -> None:
    """Those alone: what holds something may be somebody's, where RUNBOOK_LAB_DIR names a directory that was there."""
    for below, _directories, _files in os.walk(directory, topdown=False):
        if below != directory:
            with suppress(OSError):
                os.rmdir(below)


def _content(path: str) -> bytes | None:
    with suppress(FileNotFoundError):
        return Path(path).read_bytes()
    return None


def _lay(path: str, content: bytes) -> None:
    """The file with this content; one that has it is not touched."""
    if _content(path) != content:
        write(path, content, replace=True)
