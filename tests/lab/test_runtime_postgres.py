# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program that we end in PostgreSQL's container costs PostgreSQL nothing.

As process 1 of its container it inherits every process that nobody waits for, takes one that ended by a signal for a crash
of its own, and throws out all sessions. So whatever ends a program, somebody else must be waiting for it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest
from ansible_collections.runbook.ops.plugins.module_utils._description import runtime_of
from ansible_collections.runbook.ops.plugins.module_utils._errors import CommandFailed, TimedOut
from ansible_collections.runbook.ops.plugins.module_utils._runtime.base import Instance
from support.containers import container, remove
from support.docker_proxy import cut, docker_proxy
from support.fault_report import Fault
from support.processes import end, start, until

from lab.command import docker

PASSWORD = "canary-5e1d"
READY = ["pg_isready", "-q", "-h", "127.0.0.1"]
LONG = ["psql", "-U", "postgres", "-Xqc", "SELECT pg_sleep(1000)"]
ENDLESS = ["psql", "-U", "postgres", "-Xqc", "COPY (SELECT generate_series(1, 1e9)) TO STDOUT"]
NOISY = ["psql", "-U", "postgres", "-Xqc", "DO $$ BEGIN LOOP RAISE NOTICE 'generate_series'; END LOOP; END $$"]
"""On stderr, which the Engine carries whoever reads the rest."""


class Broken(Exception):
    pass


@pytest.fixture(scope="module")
def project(engine: None) -> Iterator[str]:
    name = f"test-{os.urandom(4).hex()}"
    settings = ("--init=false", f"--env=POSTGRES_PASSWORD={PASSWORD}")
    made = container(name, "postgres", *settings, image="postgres", argv=("postgres", "-c", "restart_after_crash=on"))
    try:
        until(lambda: found(name).run(READY, timeout=60).returncode == 0)
        assert found(name).run(["cat", "/proc/1/comm"], timeout=60).stdout == b"postgres\n"
        yield name
    finally:
        remove(made)


def found(project: str, **more: str) -> Instance:
    return runtime_of({"type": "compose", "project": project, **more}).resolve("postgres")


def running(instance: Instance) -> bool:
    """psql, and what runs beside it."""
    listed = docker("top", instance.name, "-eo", "pid,args")
    return "pg_sleep" in listed or "generate_series" in listed


@pytest.fixture
def session(project: str) -> Iterator[psycopg.Connection]:
    host, port = found(project).endpoint("localhost", 5432)
    options = {"host": host, "port": port, "user": "postgres", "password": PASSWORD, "dbname": "postgres"}
    until(lambda: found(project).run(READY, timeout=60).returncode == 0)
    with psycopg.connect(autocommit=True, **options) as connection:  # type: ignore[arg-type]  # a dict of both kinds
        yield connection


def out_of_time(project: str, _directory: Path) -> None:
    for argv in (LONG, ENDLESS):
        with pytest.raises(TimedOut):
            found(project).stream(argv, lambda _data: None, timeout=3)


def a_broken_sink(project: str, _directory: Path) -> None:
    def sink(_data: bytes) -> None:
        raise Broken

    with pytest.raises(Broken):
        found(project).stream(ENDLESS, sink, timeout=60)


def a_broken_source(project: str, _directory: Path) -> None:
    def source() -> Iterator[bytes]:
        yield b"SELECT pg_sleep(1000);\n"
        raise Broken

    with pytest.raises(Broken):
        found(project).feed(LONG, source(), timeout=60)


def our_own_death(project: str, _directory: Path) -> None:
    instance = found(project)
    for argv in (LONG, ENDLESS):
        victim = start(partial(instance.stream, argv, lambda _data: None, timeout=60))
        until(partial(running, instance))
        os.kill(victim, signal.SIGKILL)
        end(victim)
        until(lambda: not running(instance))


def a_cut_connection(project: str, directory: Path) -> None:
    with docker_proxy(directory, cut(1 << 20)) as host, pytest.raises(CommandFailed, match="not whole"):
        found(project, docker_host=host).stream(NOISY, lambda _data: None, timeout=60)


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("ending", [out_of_time, a_broken_sink, a_broken_source, our_own_death, a_cut_connection])
def test_whatever_ends_a_program_postgresql_goes_on(
    project: str, session: psycopg.Connection, tmp_path: Path, ending: Callable[[str, Path], None]
) -> None:
    ending(project, tmp_path)
    until(lambda: not running(found(project)))
    assert session.execute("SELECT 1").fetchone() == (1,)
    assert "terminated by signal" not in docker("logs", found(project).name)


def test_a_dump_that_waits_for_a_lock_is_ended_and_no_session_with_it(
    project: str, session: psycopg.Connection, fault: Fault
) -> None:
    """A real ``pg_dump``, which in the meantime has a session of its own in the server."""
    instance = found(project)
    started = session.execute("SELECT pg_postmaster_start_time()").fetchone()
    session.execute("CREATE TABLE IF NOT EXISTS locked ()")
    with session.transaction():
        session.execute("LOCK TABLE locked IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TimedOut, match=r"pg_dump did not finish within 3 s and was ended\.") as caught:
            instance.stream(["pg_dump", "-U", "postgres", "-Fc", "postgres"], lambda _data: None, timeout=3)
        until(lambda: "pg_dump" not in docker("top", instance.name, "-eo", "pid,args"))
    assert session.execute("SELECT pg_postmaster_start_time()").fetchone() == started
    assert "terminating any other active server processes" not in docker("logs", instance.name)
    fault(
        "a table locked exclusively, met by pg_dump in PostgreSQL's container",
        caught.value,
        "every session of the server goes on",
    )


def test_postgresql_takes_the_death_of_an_orphan_for_a_crash(project: str, session: psycopg.Connection) -> None:
    """What the tests above would see: a program that nobody waits for is killed."""
    docker("exec", found(project).name, "sh", "-c", "sleep 1000 & kill -KILL $!")
    with pytest.raises(psycopg.OperationalError):
        until(lambda: session.execute("SELECT pg_sleep(0.1)") and False)
