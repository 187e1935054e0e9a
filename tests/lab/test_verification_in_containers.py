# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup of a container is proved in a throw-away one, which touches nothing of production and never stays."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import Damaged, NoSpace, RunbookError
from ansible_collections.runbook.ops.plugins.module_utils._runtime import _twin
from ansible_collections.runbook.ops.plugins.module_utils._runtime._compose_services import PROJECT
from contract.shelf import Shelf
from contract.subjects.postgresql import postgresql_subject
from contract.subjects.postgresql_in_container import ContainedPostgresql, contained
from contract.subjects.redis_in_container import ContainedRedis
from support.containers import Server
from support.processes import end, start, until
from support.verification import GREEDY, WAITING, heals, verified

from lab.command import docker
from lab.place import LABEL


def twins(server: Server) -> list[str]:
    """The throw-away containers of a server, whatever their state."""
    label = f"label={_twin.LABEL}={server.container}"
    return docker("ps", "--all", "--filter", label, "--format", "{{.Names}}").split()


def inspected(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(docker("inspect", name))[0]
    return found


def as_it_is(server: Server) -> object:
    """What a verification must not change of production."""
    found = inspected(server.container)
    kept = [found[key] for key in ("Id", "Image", "RestartCount", "Mounts", "HostConfig", "Config", "NetworkSettings")]
    return kept, found["State"]["Pid"], found["State"]["StartedAt"]


@contextmanager
def untouched(server: Server) -> Iterator[None]:
    before = as_it_is(server)
    yield
    until(lambda: not twins(server))
    assert as_it_is(server) == before


def programs(name: str) -> list[tuple[int, str]]:
    """What runs in a container, each with its number on the host, the eldest first; nothing once it is gone."""
    try:
        listed = docker("top", name, "-eo", "pid,args").splitlines()[1:]
    except RunbookError:
        return []
    return sorted((int(pid), argv) for pid, argv in (line.split(None, 1) for line in listed))


def within(server: Server, title: str) -> list[int]:
    """The numbers of the programs that run in the server's throw-away container, without the shells that watch them."""
    running = [found for name in twins(server) for found in programs(name) if not found[1].startswith("sh -c")]
    return [pid for pid, argv in running if title in argv]


@pytest.fixture(params=["postgresql", "redis"])
def source(request: pytest.FixtureRequest) -> Iterator[ContainedPostgresql | ContainedRedis]:
    if request.param == "postgresql":
        with contained(request.getfixturevalue("postgres_container")) as made:
            yield made
        return
    cache = ContainedRedis(request.getfixturevalue("redis_container"))
    cache.fill()
    yield cache


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    directory = tmp_path / "shelf"
    directory.mkdir()
    return Shelf(directory)


@pytest.fixture
def waiting(postgres_container: Server, shelf: Shelf) -> Iterator[ContainedPostgresql]:
    """A backup on the shelf whose restore can be interfered with."""
    with postgresql_subject(postgres_container, "waiting", WAITING, ContainedPostgresql) as made:
        assert isinstance(made, ContainedPostgresql)
        shelf.take(made.engine())
        yield made


# What is made, and what is not touched


def test_the_throw_away_container_is_limited_alone_and_nobody_s(
    source: ContainedPostgresql | ContainedRedis, shelf: Shelf, tmp_path: Path
) -> None:
    server = source.server
    assert isinstance(server, Server)
    engine = source.engine(source.holding)
    shelf.take(engine)
    with untouched(server), engine.scratch(shelf, str(tmp_path)) as place:
        engine.restore(shelf, place)
        (name,) = twins(server)
        made, production = inspected(name), inspected(server.container)
        limits = made["HostConfig"]
        assert (limits["Memory"], limits["MemorySwap"], limits["NanoCpus"]) == (512 << 20, 512 << 20, 10**9)
        assert 0 < limits["PidsLimit"] <= 1024
        assert (limits["CapDrop"], limits["Privileged"], limits["PortBindings"]) == (["ALL"], False, None)
        assert (made["Image"], limits["AutoRemove"]) == (production["Image"], True)
        assert not made["Config"]["Labels"][PROJECT]  # also where an image that compose built has the label
        volumes = {mount["Name"] for mount in made["Mounts"]}
        assert volumes.isdisjoint(mount["Name"] for mount in production["Mounts"])
        assert source.secret and source.secret not in json.dumps(made)
        owners = docker("top", name, "-eo", "pid,uid,args").splitlines()[1:]
        assert owners and not [line for line in owners if line.split()[1] in ("0", "root")]
        assert not [argv for _pid, argv in programs(name) if source.secret in argv]
        assert all(result.passed for result in engine.verify(shelf, place))
    assert volumes.isdisjoint(docker("volume", "ls", "--quiet").split())


def test_the_host_needs_no_program_of_the_database(
    source: ContainedPostgresql | ContainedRedis, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    engine = source.engine(source.holding)
    engine.preflight()
    shelf.take(engine)
    engine.check(shelf)
    assert verified(engine, shelf, tmp_path)


# Who is killed


def kill(title: str, which: int = 0) -> Callable[[Server], None]:
    return lambda server: os.kill(within(server, title)[which], signal.SIGKILL)


def kill_container(server: Server) -> None:
    docker("kill", *twins(server))


@pytest.mark.parametrize(
    "interfere",
    [
        kill("pg_restore --jobs"),
        kill("pg_restore --jobs", -1),
        kill("CREATE INDEX"),
        kill("bin/postgres -D"),
        kill_container,
    ],
    ids=["pg_restore", "a worker of its", "a backend", "the server", "the container"],
)
def test_what_is_killed_tells_nothing_about_the_backup(
    waiting: ContainedPostgresql, shelf: Shelf, tmp_path: Path, interfere: Callable[[Server], None]
) -> None:
    server = waiting.server
    assert isinstance(server, Server)
    with untouched(server), ThreadPoolExecutor(1) as pool:
        restoring: Future[bool] = pool.submit(verified, waiting.engine(timeout="30s"), shelf, tmp_path)
        until(lambda: restoring.done() or within(server, "CREATE INDEX"))
        interfere(server)
        error = restoring.exception(240)
    assert isinstance(error, RunbookError) and not isinstance(error, Damaged), error
    assert len(str(error).splitlines()) == 1
    heals(waiting, shelf, tmp_path)


def test_a_killed_module_leaves_no_container(waiting: ContainedPostgresql, shelf: Shelf, tmp_path: Path) -> None:
    server = waiting.server
    assert isinstance(server, Server)
    with untouched(server):
        module = start(lambda: verified(waiting.engine(), shelf, tmp_path))
        until(lambda: within(server, "CREATE INDEX"))
        os.kill(module, signal.SIGKILL)
        assert end(module) == -signal.SIGKILL
    heals(waiting, shelf, tmp_path)


def test_what_was_made_and_never_started_is_swept(
    waiting: ContainedPostgresql, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between making it and starting it; another run's, made a moment ago, is its own."""
    server = waiting.server
    assert isinstance(server, Server)
    image = inspected(server.container)["Image"]
    docker("create", "--label", f"{_twin.LABEL}={server.container}", "--label", f"{LABEL}=1", image)
    (left,) = twins(server)
    with waiting.engine().scratch(shelf, str(tmp_path)):
        assert left in twins(server)
    monkeypatch.setattr(_twin, "_STARTING_SECONDS", -5.0)
    with waiting.engine().scratch(shelf, str(tmp_path)):
        assert left not in twins(server)


# What is short


def test_a_server_out_of_memory_tells_nothing_about_the_backup(
    postgres_container: Server, shelf: Shelf, tmp_path: Path
) -> None:
    with postgresql_subject(postgres_container, "greedy", GREEDY, ContainedPostgresql) as source:
        engine = source.engine(scratch={"memory_mib": 256, "cpus": 1})
        shelf.take(engine)
        with untouched(postgres_container), pytest.raises(RunbookError) as caught:
            verified(engine, shelf, tmp_path)
        assert not isinstance(caught.value, Damaged)
        assert "tells nothing about the backup" in str(caught.value)
        assert verified(source.engine(scratch={"memory_mib": 2048, "cpus": 1}), shelf, tmp_path)


def test_a_data_set_beyond_the_limit_is_told_before_it_is_loaded(
    redis_container: Server, shelf: Shelf, tmp_path: Path
) -> None:
    cache = ContainedRedis(redis_container)
    with cache.connect() as server:
        server.flushall()
        server.mset({f"large:{number}": b"x" * (8 << 20) for number in range(36)})
    shelf.take(cache.engine())
    engine = cache.engine(scratch={"memory_mib": 256, "cpus": 1})
    with (
        untouched(redis_container),
        pytest.raises(NoSpace, match=r"may take 256 MiB.*raise databases\[0\]\.scratch\.memory_mib"),
    ):
        verified(engine, shelf, tmp_path)
    with cache.connect() as server:
        server.flushall()


def test_space_is_looked_for_where_the_engine_keeps_its_files(
    source: ContainedPostgresql | ContainedRedis, shelf: Shelf, tmp_path: Path
) -> None:
    engine = source.engine(())
    shelf.take(engine)
    artefacts = tuple(replace(artefact, raw_size=1 << 50) for artefact in shelf.manifest.artefacts)
    shelf.manifest = replace(shelf.manifest, artefacts=artefacts)
    root = docker("info", "--format", "{{.DockerRootDir}}").strip()
    server = source.server
    assert isinstance(server, Server)
    with (
        untouched(server),
        pytest.raises(NoSpace, match=f"^{root} has .* MiB free"),
        engine.scratch(shelf, str(tmp_path)),
    ):
        pytest.fail("the scratch was handed out")


def test_an_account_that_the_image_does_not_have_is_told(
    source: ContainedPostgresql | ContainedRedis, shelf: Shelf, tmp_path: Path
) -> None:
    shelf.take(source.engine(()))
    server = source.server
    assert isinstance(server, Server)
    with (
        untouched(server),
        pytest.raises(RunbookError, match=r"cannot be started under the account nosuch .*: set run_as"),
        source.engine((), run_as="nosuch").scratch(shelf, str(tmp_path)),
    ):
        pytest.fail("the scratch was handed out")
