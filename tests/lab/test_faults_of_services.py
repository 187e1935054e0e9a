# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What befalls a database's container, its volume and its Engine while it is backed up; and that the next backup works."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import RunbookError
from ansible_collections.runbook.ops.plugins.module_utils._runtime._compose_services import PROJECT, SERVICE
from ansible_collections.runbook.ops.plugins.module_utils._runtime.compose import ComposeRuntime
from contract.shelf import Shelf
from contract.subjects.postgresql_in_container import ContainedPostgresql, contained
from contract.subjects.redis_in_container import ContainedRedis
from support import containers
from support.containers import on
from support.fault_report import Fault
from support.processes import gone, until

from lab import images
from lab.command import docker

MIB = 1 << 20


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    (tmp_path / "shelf").mkdir()
    return Shelf(tmp_path / "shelf")


@pytest.fixture
def database(engine: None) -> Iterator[ContainedPostgresql]:
    """In a container of its own, which a test may break."""
    with containers.postgres() as server, contained(server) as made:
        yield made


# PostgreSQL


def test_a_container_killed_in_the_middle_of_its_dump(
    database: ContainedPostgresql, shelf: Shelf, fault: Fault
) -> None:
    server = database.server
    assert isinstance(server, containers.Server)
    with database.connect() as connection:
        connection.execute("CREATE TABLE bulk AS SELECT repeat(md5(n::text), 500) FROM generate_series(1, 20000) n")
    shelf.interfere = lambda: docker("kill", server.container)
    with pytest.raises(RunbookError) as caught:
        shelf.take(database.engine())
    assert len(str(caught.value).splitlines()) == 1
    assert "data" not in [name.partition(".")[0] for name in shelf.names()]
    docker("start", server.container)
    until(lambda: containers.answers(server))
    shelf.take(database.engine())
    fault(
        "PostgreSQL's container is killed in the middle of its dump",
        caught.value,
        "nothing complete; the next run works",
    )


def test_a_container_in_recovery_is_backed_up(database: ContainedPostgresql, shelf: Shelf, fault: Fault) -> None:
    server = database.server
    assert isinstance(server, containers.Server)
    docker("exec", server.container, "sh", "-c", 'touch "$PGDATA/standby.signal"')
    docker("restart", server.container)
    until(lambda: containers.answers(server))
    engine = database.engine(database.holding)
    assert engine.preflight().details["in_recovery"] is True
    shelf.take(engine)
    assert "data" in [name.partition(".")[0] for name in shelf.names()]
    docker("exec", "--user", "postgres", server.container, "sh", "-c", 'pg_ctl promote -w -D "$PGDATA"')
    fault("PostgreSQL in a container is in recovery", "(a backup like another)", "its snapshot is the standby's moment")


# Redis


@contextmanager
def cache(*options: str) -> Iterator[ContainedRedis]:
    """Saves when it is told to, and only then."""
    with containers.redis_server(*options, settings=("--save", "", "--dir", "/data")) as server:
        yield ContainedRedis(server)


def test_redis_on_a_full_volume(engine: None, shelf: Shelf, fault: Fault) -> None:
    with cache("--tmpfs", "/data:size=4m,mode=1777") as subject:
        with subject.connect() as server:
            server.mset({f"large:{number}": random.randbytes(MIB) for number in range(8)})
        with pytest.raises(RunbookError) as caught:
            shelf.take(subject.engine())
        assert len(str(caught.value).splitlines()) == 1
        assert shelf.names() == []
        with subject.connect() as server:
            server.delete(*(f"large:{number}" for number in range(7)))
        shelf.take(subject.engine())
        assert len(shelf.names()) == 1
    fault("Redis's volume in a container is full", caught.value, "no save believed; the next one is")


def test_redis_that_cannot_fork(engine: None, shelf: Shelf, fault: Fault) -> None:
    """The kernel refuses the fork, here for a limit of processes; for want of memory it is the same call that fails."""
    with cache() as subject:
        server = subject.server
        assert isinstance(server, containers.Server)
        subject.fill()
        threads = int(docker("exec", server.container, "sh", "-c", "grep Threads /proc/1/status").split()[1])
        docker("update", "--pids-limit", str(threads), server.container)
        with pytest.raises(RunbookError, match=r"It could not fork, mostly for want of memory") as caught:
            subject.engine().dump(shelf.open)
        assert shelf.names() == []
        docker("update", "--pids-limit", "-1", server.container)
        shelf.take(subject.engine())
        assert len(shelf.names()) == 1
    fault("Redis cannot fork to save", caught.value, "no save believed; the next one is")


# The Engine


class OwnEngine:
    """A Docker Engine of this test's own, which may be restarted; in a network namespace of its own, for `--bridge none`
    removes the bridge of any other Engine that it meets."""

    def __init__(self, directory: Path) -> None:
        self.host = f"unix://{directory}/docker.sock"
        self._directory = directory
        self._daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        place = self._directory
        argv = [
            "unshare", "--net", "dockerd", "--host", self.host, "--data-root", f"{place}/data", "--exec-root", f"{place}/exec",
            "--pidfile", f"{place}/pid", "--bridge", "none", "--iptables=false", "--ip6tables=false",
        ]  # fmt: skip
        with (place / "log").open("ab") as log:
            self._daemon = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
        until(lambda: self.docker("version", check=False).returncode == 0)

    def stop(self) -> None:
        if self._daemon is not None:
            self._daemon.send_signal(signal.SIGTERM)
            self._daemon.wait(60)
            self._daemon = None

    def docker(self, *arguments: str, check: bool = True, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["docker", "--host", self.host, *arguments], check=check, capture_output=True, input=given
        )


@pytest.fixture
def own_engine(engine: None, tmp_path: Path) -> Iterator[OwnEngine]:
    if os.geteuid():
        pytest.skip("NOT RUN: only root can start an Engine")
    made = OwnEngine(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.docker("rm", "--force", "idle", check=False)
        made.stop()


def test_an_engine_restarted_in_the_middle_of_a_stream(own_engine: OwnEngine, fault: Fault) -> None:
    image = images.ensure("base")
    saved = subprocess.run(["docker", "save", image], check=True, capture_output=True).stdout
    own_engine.docker("load", given=saved)
    labels = (f"--label={PROJECT}=shop", f"--label={SERVICE}=db")
    own_engine.docker("run", "--detach", "--init", "--name=idle", "--network=none", *labels, image, "sleep", "infinity")
    runtime: ComposeRuntime = on("shop", own_engine.host)

    def restarted(_data: bytes) -> None:
        if not seen:
            listed = own_engine.docker("top", "idle", "-eo", "pid,args").stdout.decode()
            seen.append(int(next(line.split()[0] for line in listed.splitlines() if line.endswith(" cat /dev/zero"))))
            assert not gone(seen[0])
            own_engine.stop()
            own_engine.start()

    seen: list[int] = []
    with pytest.raises(RunbookError) as caught:
        runtime.resolve("db").stream(["cat", "/dev/zero"], restarted, timeout=120)
    assert seen and "the Docker Engine, was stopped or restarted" in str(caught.value)
    until(lambda: gone(seen[0]))
    own_engine.docker("start", "idle")
    assert runtime.resolve("db").stream(["head", "-c", "10", "/dev/zero"], lambda _data: None, timeout=60).size == 10
    fault(
        "the Docker Engine is restarted in the middle of a stream",
        caught.value,
        "never taken for whole; the next run works",
    )
