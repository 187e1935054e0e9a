# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A system on docker compose: bytes out of a container, ERNI's backup against its documents', and one look at it all."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from ansible_collections.runbook.ops.plugins.module_utils._description import runtime_of
from ansible_collections.runbook.ops.plugins.module_utils._runtime import _direct
from ansible_collections.runbook.ops.plugins.module_utils._runtime._compose_services import PROJECT, SERVICE

from lab import engine, images
from lab.command import docker
from lab.embedded import erni
from lab.erni import SYSTEM as ERNI
from lab.place import LABEL

from . import laboratory
from .laboratory import Scale
from .module import ROOT, run_module
from .pairs import Contestant, take_turns
from .rows import Row, at_most, faster, slower

_STREAM, _FLOOR, _SCRIPT, _PEAK, _STATUS = 1.15, 1.25, 2.5, 120.0, 10.0
_STREAMED_MIB = 1024
CONVERSATIONS = 170
"""For a megabyte of ERNI's database."""

_TIMES = 2
"""As much as elsewhere, for a dump of ERNI's has four fifths of its database's size, and a module's start of 0.8 s, which does
not grow with the data, is no more than a part of what is measured. With 640 MB the ratio is a tenth higher."""

_READY_SECONDS, _SECONDS = 60.0, 3600.0
_FILE = "/tmp/benchmark"


def measure(scale: Scale) -> Iterator[Row]:
    try:
        engine.ensure()
    except engine.Unavailable as reason:
        yield Row("A system on docker compose", f"NOT RUN: {reason}")
        return
    with _postgres() as container, laboratory.workplace() as place:
        yield from _stream(container, scale)
        size = _TIMES * scale.megabytes
        yield from _backup(_Backup(container, place, _filled(container, size)), size, scale)
    yield _status(scale)


@dataclass(frozen=True)
class _Container:
    """A PostgreSQL with ERNI's settings, alone in a compose project, for us only."""

    name: str
    password: str

    @property
    def runtime(self) -> dict[str, str]:
        return {"type": "compose", "project": self.name}

    @property
    def port(self) -> int:
        """On loopback."""
        return int(docker("port", self.name, "5432/tcp").split()[0].rpartition(":")[2])


@contextmanager
def _postgres() -> Iterator[_Container]:
    made = _Container(f"runbook-bench-{secrets.token_hex(4)}", secrets.token_urlsafe(18))
    labels = [f"--label={label}" for label in (f"{LABEL}=1", f"{PROJECT}={made.name}", f"{SERVICE}=postgres")]
    environment = {"POSTGRES_USER": erni.OWNER, "POSTGRES_DB": erni.DATABASE, "POSTGRES_PASSWORD": made.password}
    docker(
        "run", "--detach", "--name", made.name, *labels, *(f"--env={name}={value}" for name, value in environment.items()),
        "--publish=127.0.0.1::5432", "--shm-size=256m", images.ensure("postgres"), "postgres", "-c", "shared_buffers=256MB",
    )  # fmt: skip
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while subprocess.run(
            ["docker", "exec", made.name, "pg_isready", "-q", "-h", "127.0.0.1"], check=False
        ).returncode:
            if time.monotonic() > deadline:
                raise SystemExit(f"PostgreSQL in {made.name} did not get ready: {docker('logs', made.name)}")
            time.sleep(0.2)
        yield made
    finally:
        docker("rm", "--force", "--volumes", made.name)


def _stream(container: _Container, scale: Scale) -> Iterator[Row]:
    size = _STREAMED_MIB if scale.judged else scale.megabytes
    docker("exec", container.name, "sh", "-c", f"head -c {size}M /dev/urandom > {_FILE}", timeout=_SECONDS)
    read = ["cat", _FILE]

    def stream(*, privileged: bool) -> float:
        with mock.patch.object(_direct, "may", return_value=privileged):
            instance = runtime_of(container.runtime).resolve("postgres")
        started = time.monotonic()
        instance.stream(read, lambda _data: None, timeout=_SECONDS)
        if privileged and not instance._direct:
            raise SystemExit(
                "The container's pipe could not be opened: this benchmark is root's, on the Engine's own kernel."
            )
        return time.monotonic() - started

    root = Contestant("from the pipe, as root", partial(stream, privileged=True), scale.rounds)
    others = Contestant("from the Engine", partial(stream, privileged=False), scale.rounds)
    peer = Contestant("docker exec", lambda: _timed(["docker", "exec", container.name, *read]), scale.rounds)
    take_turns(f"{size} MiB out of a container", root, others, peer)
    docker("exec", container.name, "rm", _FILE)
    what = f"{size} MiB out of a container"
    peer_named = "as long as `docker exec ... cat`"
    yield slower(root, peer, f"{what}, read from its pipe as root: {peer_named}", _STREAM)
    yield slower(others, peer, f"{what}, through the Engine and digested at the source: {peer_named}", _STREAM)


def _filled(container: _Container, megabytes: int) -> str:
    postgres: dict[str, Any] = {
        "host": "127.0.0.1", "port": container.port, "superuser": erni.OWNER, "superuser_password": container.password,
        "password": container.password,
    }  # fmt: skip
    conversations = CONVERSATIONS * megabytes
    erni.create(postgres, erni.DATABASE, {"demo.projects": 1_500, "demo.conversations": conversations})
    return erni.DATABASE


def _backup(backup: _Backup, size: int, scale: Scale) -> Iterator[Row]:
    ours = Contestant("the module", backup.ours, scale.rounds)
    floor = Contestant("pg_dump -Z0 | zstd in the container", backup.floor, scale.rounds)
    script = Contestant("the documents' script", backup.script, scale.rare_rounds)
    take_turns(f"ERNI's backup, {size} MB", ours, floor, script)
    what = f"ERNI's backup from its container, {size} MB:"
    yield slower(ours, floor, f"{what} as long as `pg_dump -Fc -Z0 \\| zstd -T0 -3` inside the container", _FLOOR)
    yield faster(
        ours, script, f"{what} faster than the documents' script, `docker exec ... pg_dump -Fc`, `gzip`", _SCRIPT
    )
    yield at_most("ERNI's backup: peak memory of the module's process", backup.peak, _PEAK, " MiB")


class _Backup:
    """One database in a container, backed up in three ways."""

    def __init__(self, container: _Container, place: Path, database: str) -> None:
        self._container = container
        self._place = place
        self._database = database
        self.peak = 0.0

    def ours(self) -> float:
        store = self._place / "store"
        ran = run_module("backup", {
            "system": "bench", "runtime": self._container.runtime, "work_dir": str(self._place),
            "store": {"type": "local", "path": str(store)},
            "database": {
                "engine": "postgresql", "service": "postgres", "name": self._database, "user": erni.OWNER,
                "password": self._container.password,
            },
        })  # fmt: skip
        self.peak = max(self.peak, ran.peak)
        shutil.rmtree(store)
        return ran.seconds

    def floor(self) -> float:
        piped = f"set -o pipefail; pg_dump -U {erni.OWNER} -Fc -Z0 {self._database} | zstd -q -f -T0 -3 -o {_FILE}"
        return _timed(["docker", "exec", self._container.name, "bash", "-c", piped])

    def script(self) -> float:
        dump = self._place / "dump"
        argv = ["docker", "exec", self._container.name, "pg_dump", "-U", erni.OWNER, "-Fc", self._database]
        with dump.open("wb") as file:
            seconds = _timed(argv, file.fileno())
        seconds += _timed(["gzip", str(dump)])
        (self._place / "dump.gz").unlink()
        return seconds


def _status(scale: Scale) -> Row:
    """Of the whole system, which the laboratory brings up where it does not stand, and leaves standing."""
    ERNI.up()
    inventory = ["-i", "inventories/erni", "-i", "lab/inventories/erni"]
    for playbook in ("backup", "verify_backups"):  # a system without a good backup is red, and ends the playbook so
        _timed(["ansible-playbook", *inventory, f"playbooks/{playbook}.yml"])
    play = ["ansible-playbook", *inventory, "playbooks/status.yml"]
    looked = Contestant("status.yml", lambda: _timed(play), scale.playbooks)
    take_turns("ERNI", looked)
    return at_most("ERNI: `playbooks/status.yml`", looked.median, _STATUS, " s")


def _timed(argv: Sequence[str], output: int = subprocess.DEVNULL) -> float:
    started = time.monotonic()
    subprocess.run(
        argv, stdout=output, check=True, cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": f"{ROOT}/ansible.cfg"}
    )
    return time.monotonic() - started
