# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What breaks between us and a program in a container: the Engine, the stream, the container, ourselves."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import (
    CommandFailed,
    PlatformError,
    RunbookError,
    TimedOut,
)
from ansible_collections.runbook.ops.plugins.module_utils._runtime import _direct, _docker
from ansible_collections.runbook.ops.plugins.module_utils._runtime._docker import Docker
from ansible_collections.runbook.ops.plugins.module_utils._runtime.compose import ComposeRuntime
from support.containers import container, on, programs, remove, state_of
from support.docker_proxy import cut, docker_proxy, flip, untouched
from support.fault_report import Fault
from support.processes import end, start, until

from lab.command import docker

MIB = 1 << 20


def nowhere(_data: bytes) -> None:
    pass


# The Engine


def test_an_engine_that_is_not_there_or_does_not_run_is_told(tmp_path: Path, fault: Fault) -> None:
    path = tmp_path / "socket"
    runtime = on("any", f"unix://{path}")
    with pytest.raises(PlatformError, match=rf"no Docker Engine at {path} on this host: install or start") as missing:
        runtime.resolve("db")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(PlatformError, match=rf"The Docker Engine at {path} does not run: start it") as down:
        runtime.resolve("db")
    fault("no Docker Engine on the host", missing.value, "nothing was begun")
    fault("the Docker Engine is down", down.value, "nothing was begun")


@contextmanager
def listening(path: Path) -> Iterator[str]:
    """Somebody who takes connections and says nothing."""
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        yield f"unix://{path}"


def test_an_engine_that_takes_the_connection_and_is_silent_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setattr(_docker, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(Docker._ask, "__defaults__", (0.3,))
    with listening(tmp_path / "socket") as host:
        for ask in (partial(on("any", host).resolve, "db"), partial(Docker(host).take_over, "/exec/any/start")):
            with pytest.raises(TimedOut, match=r"did not answer within 0\.3 s: see whether its host is over") as caught:
                ask()
    fault("the Docker Engine takes the connection and is silent", caught.value, "nothing was begun")


def test_a_socket_that_is_closed_to_this_account_is_told(tmp_path: Path, fault: Fault) -> None:
    if os.geteuid():
        pytest.skip("NOT RUN: only root can become another account")
    said = tmp_path / "said"
    said.touch()
    said.chmod(0o666)

    def ask() -> None:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        with pytest.raises(PlatformError) as caught:
            on("any", host).resolve("db")
        said.write_text(str(caught.value))

    with listening(tmp_path / "socket") as host:
        (tmp_path / "socket").chmod(0o600)
        assert end(start(ask)) == 0
    told = said.read_text()
    assert told.startswith("The account nobody may not use the Docker Engine at ")
    assert told.endswith("add it to the socket's group (docker), or set become.")
    fault("the account may not use the Docker Engine", told, "nothing was begun")


# The stream


@pytest.mark.usefixtures("account")
def test_a_container_that_dies_ends_the_stream(several: list[str], fault: Fault) -> None:
    name = f"test-{os.urandom(4).hex()}"
    several.append(container(name, "db"))

    def killed_after_a_while(data: bytes) -> None:
        if not killed:
            killed.append(docker("kill", several[0]))

    killed: list[str] = []
    with pytest.raises(RunbookError) as caught:
        on(name).resolve("db").stream(["cat", "/dev/zero"], killed_after_a_while, timeout=60)
    assert "is not whole: see whether the container, or the Docker Engine, was stopped" in str(caught.value)
    until(lambda: state_of(several[0]) == "exited")
    with pytest.raises(PlatformError, match="is stopped, exit code 137"):
        on(name).resolve("db")
    docker("start", several[0])
    assert on(name).resolve("db").stream(["head", "-c", "10", "/dev/zero"], nowhere, timeout=60).size == 10
    fault("a container is killed in the middle of a stream", caught.value, "never taken for whole; the next run works")


def test_a_container_that_is_gone_is_told(several: list[str], fault: Fault) -> None:
    name = f"test-{os.urandom(4).hex()}"
    doomed = container(name, "db")
    instance = on(name).resolve("db")
    remove(doomed)
    with pytest.raises(
        CommandFailed, match=rf"cat could not be started in {doomed} \(.*\): see whether it still runs"
    ) as caught:
        instance.run(["cat"], timeout=60)
    fault("a container is gone before its program starts", caught.value, "nothing was begun")


@pytest.mark.usefixtures("account")
def test_a_connection_that_is_cut_is_no_end(quiet: ComposeRuntime, tmp_path: Path, fault: Fault) -> None:
    """Cleanly, in the middle of a program, and in the middle of one's last bytes: a stream's end says nothing."""
    name = quiet.resolve("service").name.rsplit("-service", 1)[0]
    both = 'head -c "$1" /dev/zero | tee /dev/stderr'  # root's connection carries stderr alone
    for break_off, size in ((cut(MIB), 64 * MIB), (cut(0), 1)):
        with (
            docker_proxy(tmp_path, break_off) as host,
            pytest.raises(CommandFailed, match="what came is not whole") as caught,
        ):
            on(name, host).resolve("service").stream(["sh", "-c", both, "sh", str(size)], nowhere, timeout=60)
    until(lambda: not programs(quiet))
    fault(
        "the Engine's connection is cut in the middle of a stream", caught.value, "no program is left in the container"
    )


@pytest.mark.usefixtures("root")
def test_the_end_of_the_pipe_is_not_the_end_of_the_program(quiet: ComposeRuntime, tmp_path: Path) -> None:
    """As root: all bytes are here, and nobody tells how their program ended."""
    name, kept = quiet.resolve("service").name.rsplit("-service", 1)[0], bytearray()
    with docker_proxy(tmp_path, cut(1)) as host, pytest.raises(CommandFailed, match="what came is not whole"):
        on(name, host).resolve("service").stream(["head", "-c", "10", "/dev/zero"], kept.extend, timeout=60)


@pytest.mark.usefixtures("unprivileged")
def test_a_stream_that_is_changed_on_its_way_is_told(quiet: ComposeRuntime, tmp_path: Path, fault: Fault) -> None:
    """And one that passes the same socket untouched is not."""
    name = quiet.resolve("service").name.rsplit("-service", 1)[0]
    argv = ["head", "-c", str(4 * MIB), "/dev/zero"]
    with docker_proxy(tmp_path, untouched) as host:
        assert on(name, host).resolve("service").stream(argv, nowhere, timeout=60).size == 4 * MIB
    with (
        docker_proxy(tmp_path, flip(at=100_000)) as host,
        pytest.raises(
            CommandFailed, match=rf"head wrote {4 * MIB} bytes in .*, of which {4 * MIB} arrived changed"
        ) as caught,
    ):
        on(name, host).resolve("service").stream(argv, nowhere, timeout=60)
    fault("one bit of a stream flips on its way", caught.value, "never taken for whole; untouched, it passes")


@pytest.mark.usefixtures("root")
def test_root_reads_past_what_changes_a_stream(quiet: ComposeRuntime, tmp_path: Path) -> None:
    """The same flipped bit touches nothing, however often: the bytes do not take that way."""
    name = quiet.resolve("service").name.rsplit("-service", 1)[0]
    argv = ["head", "-c", "200000", "/dev/zero"]
    with docker_proxy(tmp_path, flip(at=100_000)) as host:
        for _each in range(20):
            assert on(name, host).resolve("service").stream(argv, nowhere, timeout=60).size == 200_000


def test_where_the_pipe_cannot_be_opened_the_engine_carries_the_stream(
    quiet: ComposeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An Engine of another kernel: nobody here has the witness's arguments. The program runs once."""
    monkeypatch.setattr(_direct, "_is", lambda process, nonce, number: False)
    instance, kept = quiet.resolve("service"), bytearray()
    for _twice in range(2):
        kept.clear()
        instance.run(["rm", "-f", "/tmp/ran"], timeout=60)
        instance.stream(["sh", "-c", "echo x >> /tmp/ran; cat /tmp/ran"], kept.extend, timeout=60)
        assert kept == b"x\n"
    assert not programs(quiet)


# Who dies with whom


@pytest.mark.usefixtures("account")
def test_a_program_does_not_outlive_us(quiet: ComposeRuntime, fault: Fault) -> None:
    instance = quiet.resolve("service")
    victim = start(lambda: instance.stream(["sleep", "1000"], nowhere, timeout=1000))
    until(lambda: "sleep 1000" in programs(quiet))
    os.kill(victim, signal.SIGKILL)
    end(victim)
    until(lambda: not programs(quiet))
    fault(
        "SIGKILL of the module while its program runs in a container",
        "(nobody is left to say it)",
        "the program is gone within seconds",
    )


@pytest.mark.usefixtures("account")
def test_a_program_that_hangs_is_gone_with_its_limit(quiet: ComposeRuntime, fault: Fault) -> None:
    with pytest.raises(TimedOut, match=r"sleep did not finish within 1 s and was ended\.") as caught:
        quiet.resolve("service").stream(["sleep", "1000"], nowhere, timeout=1)
    until(lambda: not programs(quiet))
    fault("a program hangs in a container", caught.value, "the program is gone from the container")


@pytest.mark.usefixtures("account")
def test_a_limit_that_passes_before_the_program_began_ends_it_too(quiet: ComposeRuntime) -> None:
    instance, sleeping = quiet.resolve("service"), ["sleep", "1000"]
    for ran in (
        partial(instance.run, sleeping), partial(instance.feed, sleeping, iter(())), partial(instance.stream, sleeping, nowhere),
    ):  # fmt: skip
        with pytest.raises(TimedOut):
            ran(timeout=0.001)
        until(lambda: not programs(quiet))
