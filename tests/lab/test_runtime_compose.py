# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only a Docker Engine can show of the compose runtime: which container is meant, what breaks between us and a
program in it, who dies with whom, and who sees a secret."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.runbook.ops.plugins.module_utils import _description
from ansible_collections.runbook.ops.plugins.module_utils._errors import (
    CommandFailed,
    InputError,
    PlatformError,
    RunbookError,
    TimedOut,
)
from ansible_collections.runbook.ops.plugins.module_utils._runtime._docker import Docker
from ansible_collections.runbook.ops.plugins.module_utils._runtime.base import Instance, Runtime
from support.containers import container, project, remove
from support.docker_proxy import cut, docker_proxy, flip, untouched
from support.processes import end, start, until

from lab.command import docker

MIB = 1 << 20
CANARY = "canary-90d1"


def nowhere(_data: bytes) -> None:
    pass


def on(name: str, host: str | None = None) -> Runtime:
    return _description.runtime_of({"type": "compose", "project": name, **({"docker_host": host} if host else {})})


def processes(container: str) -> dict[str, int]:
    """What runs in a container, with its number on the host."""
    listed = docker("top", container, "-eo", "pid,args").splitlines()[1:]
    return {argv: int(pid) for pid, argv in (line.split(None, 1) for line in listed)}


def programs(runtime: Runtime) -> list[str]:
    """What runs in the one container of ``project``, its idle first process left out."""
    return [argv for argv in processes(runtime.resolve("service").name) if not argv.endswith("sleep infinity")]


@pytest.fixture(scope="module")
def idle(engine: None) -> Iterator[Runtime]:
    with project() as runtime:
        yield runtime


@pytest.fixture
def quiet(idle: Runtime) -> Iterator[Runtime]:
    """Nothing that a test started in the container outlives it."""
    yield idle
    until(lambda: not programs(idle))


# Which container


@pytest.fixture
def several(engine: None) -> Iterator[list[str]]:
    names: list[str] = []
    yield names
    for name in names:
        remove(name)


def unhealthy(kind: str) -> list[str]:
    """Options of a container whose health check fails, or has not been run."""
    check = ["--health-cmd=exit 1", "--health-retries=1"]
    return [*check, "--health-interval=100ms"] if kind == "unhealthy" else [*check, "--health-interval=1h"]


def health_of(name: str) -> str:
    return docker("inspect", "--format", "{{.State.Health.Status}}", name).strip()


def state_of(name: str) -> str:
    return docker("inspect", "--format", "{{.State.Status}}", name).strip()


def test_the_one_healthy_container_of_a_service_is_meant(several: list[str]) -> None:
    name = f"test-{os.urandom(4).hex()}"
    several.append(container(name, "db", "--health-cmd=true", "--health-interval=100ms"))
    several.append(container(name, "db", "--restart=no", argv=("true",)))  # what an update left behind
    several.append(container(name, "web"))
    several.append(container(name, "db", "--label=com.docker.compose.oneoff=True"))
    until(lambda: health_of(several[0]) == "healthy")
    assert on(name).resolve("db").name == several[0]
    assert on(name).resolve("").name == "localhost"


@pytest.mark.parametrize("kind", ["unhealthy", "starting"])
def test_a_service_that_is_not_healthy_is_refused(several: list[str], kind: str) -> None:
    name = f"test-{os.urandom(4).hex()}"
    several.append(container(name, "db", *unhealthy(kind)))
    until(lambda: health_of(several[0]) == kind)
    with pytest.raises(PlatformError) as caught:
        on(name).resolve("db", "databases[0].service")
    said = str(caught.value)
    assert said.startswith("databases[0].service is 'db', which has no healthy container (")
    assert (several[0] in said, said.endswith("start it, or see in its log why it does not serve.")) == (True, True)


def test_a_service_that_restarts_is_paused_or_stopped_is_refused(several: list[str]) -> None:
    name = f"test-{os.urandom(4).hex()}"
    several.append(container(name, "restarting", "--restart=always", argv=("false",)))
    several += [container(name, "paused"), container(name, "stopped")]
    docker("pause", several[1])
    docker("kill", several[2])
    until(lambda: state_of(several[0]) == "restarting", 30)
    for service, told in (
        ("restarting", "is restarting, exit code 1"),
        ("paused", "is paused"),
        ("stopped", "is stopped"),
    ):
        with pytest.raises(PlatformError, match=f"has no healthy container \\(.*{told}"):
            on(name).resolve(service)
    docker("unpause", several[1])


def test_a_service_that_runs_twice_is_refused(several: list[str]) -> None:
    name = f"test-{os.urandom(4).hex()}"
    several += [container(name, "db"), container(name, "db")]
    with pytest.raises(InputError) as caught:
        on(name).resolve("db")
    one, other = sorted(several)
    assert f"service is 'db', which runs 2 times ({one}, {other}): scale it to one" in str(caught.value)


def test_what_there_is_is_named(several: list[str]) -> None:
    """Another service, one scaled to none, another project, one that was renamed."""
    name = f"test-{os.urandom(4).hex()}"
    several += [container(name, "postgres"), container(name, "web")]
    with pytest.raises(
        InputError, match=rf"'postgre', which the compose project '{name}' does not have.*postgres, web"
    ):
        on(name).resolve("postgre")
    with pytest.raises(
        InputError, match=rf"'{name}-old' has no containers on this host, which has .*{name}.*runtime.project"
    ):
        on(f"{name}-old").resolve("postgres")


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ({"type": "compose"}, "runtime.project is None: give the compose project's name"),
        ({"type": "compose", "project": ""}, "runtime.project is ''"),
        ({"type": "compose", "project": ["a"]}, "runtime.project is ['a']"),
        ({"type": "compose", "project": "a", "host": "b"}, "runtime has 'host': a compose runtime has type, project, docker_host"),
        ({"type": "compose", "project": "a", "docker_host": "tcp://x:2375"}, "runtime.docker_host is 'tcp://x:2375'"),
    ],
)  # fmt: skip
def test_a_description_that_cannot_be_is_refused(declared: dict[str, object], told: str) -> None:
    with pytest.raises(InputError) as caught:
        _description.runtime_of(declared)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


# The Engine


def test_an_engine_that_is_not_there_does_not_run_or_is_not_ours_is_told(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    runtime = on("any", f"unix://{path}")
    with pytest.raises(PlatformError, match=rf"no Docker Engine at {path} on this host: install or start Docker"):
        runtime.resolve("db")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(PlatformError, match=rf"The Docker Engine at {path} does not run: start it"):
        runtime.resolve("db")


def test_a_socket_that_is_closed_to_this_account_is_told(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("NOT RUN: only root can become another account")
    path = tmp_path / "socket"

    def ask() -> None:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        with pytest.raises(
            PlatformError, match=r"account nobody may not use the Docker Engine.*group \(docker\), or set become"
        ):
            on("any", f"unix://{path}").resolve("db")

    with socket.socket(socket.AF_UNIX) as closed:
        closed.bind(str(path))
        path.chmod(0o600)
        closed.listen()
        assert end(start(ask)) == 0


# The stream


def test_a_container_that_dies_ends_the_stream(several: list[str]) -> None:
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


def test_a_container_that_is_gone_is_told(several: list[str]) -> None:
    name = f"test-{os.urandom(4).hex()}"
    doomed = container(name, "db")
    instance = on(name).resolve("db")
    remove(doomed)
    with pytest.raises(CommandFailed, match=rf"cat could not be started in {doomed} \(.*\): see whether it still runs"):
        instance.run(["cat"], timeout=20)


def test_a_connection_that_is_cut_is_no_end(quiet: Runtime, tmp_path: Path) -> None:
    """Cleanly, in the middle of a program, and in the middle of one's last bytes: a stream's end says nothing."""
    name = quiet.resolve("service").name.rsplit("-service", 1)[0]
    for fault, size in ((cut(MIB), 64 * MIB), (cut(0), 1)):
        with docker_proxy(tmp_path, fault) as host, pytest.raises(CommandFailed, match="what came is not whole"):
            instance = on(name, host).resolve("service")
            instance.stream(["head", "-c", str(size), "/dev/zero"], nowhere, timeout=60)


def test_a_stream_that_is_changed_on_its_way_is_told(quiet: Runtime, tmp_path: Path) -> None:
    """And one that passes the same socket untouched is not."""
    name = quiet.resolve("service").name.rsplit("-service", 1)[0]
    argv = ["head", "-c", str(4 * MIB), "/dev/zero"]
    with docker_proxy(tmp_path, untouched) as host:
        assert on(name, host).resolve("service").stream(argv, nowhere, timeout=60).size == 4 * MIB
    with (
        docker_proxy(tmp_path, flip(at=100_000)) as host,
        pytest.raises(CommandFailed, match=rf"head wrote {4 * MIB} bytes in .*, of which {4 * MIB} arrived changed"),
    ):
        on(name, host).resolve("service").stream(argv, nowhere, timeout=60)


def test_a_program_does_not_outlive_the_connection_or_us(quiet: Runtime, tmp_path: Path) -> None:
    instance = quiet.resolve("service")
    victim = start(lambda: instance.stream(["sleep", "1000"], nowhere, timeout=1000))
    until(lambda: "sleep 1000" in programs(quiet))
    os.kill(victim, signal.SIGKILL)
    end(victim)
    until(lambda: not programs(quiet))


def test_a_limit_that_passes_before_the_program_began_ends_it_too(quiet: Runtime) -> None:
    for source in (None, iter(())):
        with pytest.raises(TimedOut):
            if source is None:
                quiet.resolve("service").run(["sleep", "1000"], timeout=0.001)
            else:
                quiet.resolve("service").feed(["sleep", "1000"], source, timeout=0.001)
        until(lambda: not programs(quiet))


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_gigabyte_passes_both_ways_in_bounded_memory(quiet: Runtime) -> None:
    size, before, most = 1024 * MIB, resident(), [0]
    instance = quiet.resolve("service")

    def sink(_data: bytes) -> None:
        most[0] = max(most[0], resident())

    def source() -> Iterator[bytes]:
        for _ in range(size // MIB):
            sink(b"")
            yield block

    block = os.urandom(MIB)
    assert instance.stream(["head", "-c", str(size), "/dev/urandom"], sink, timeout=500).size == size
    fed = instance.feed(["wc", "-c"], source(), timeout=500)
    assert (fed.stdout.split(), most[0] - before < 32 * MIB) == ([str(size).encode()], True)


# Secrets


def test_a_secret_in_the_environment_is_seen_by_the_program_alone(quiet: Runtime) -> None:
    """Looked for while it runs: in both lists of processes, in what the Engine tells of the container, of the exec and of
    events. A secret put into argv shows that this looks where it would be."""
    instance = quiet.resolve("service")
    since = str(int(time.time()) - 1)
    for argv, env, leaks in (
        (["sh", "-c", 'test "$SECRET" && sleep 1000'], {"SECRET": CANARY}, False),
        (["sh", "-c", ": canary-90d1; sleep 1000"], {}, True),
    ):
        running = threading.Thread(target=_until_ended, args=(instance, argv, env))
        running.start()
        until(lambda: "sleep 1000" in programs(quiet))
        seen = [
            b"".join(path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()).decode(errors="replace"),
            docker("top", instance.name, "-eo", "pid,args"),
            docker("inspect", instance.name),
            json.dumps([Docker().get(f"/exec/{one}/json") for one in json.loads(docker("inspect", instance.name))[0]["ExecIDs"]]),
            docker("events", "--since", since, "--until", str(int(time.time()) + 1), "--format", "{{json .}}", timeout=20),
        ]  # fmt: skip
        docker(
            "exec", instance.name, "sh", "-c", "kill -TERM $(grep -lx sleep /proc/[0-9]*/comm | head -1 | tr -dc 0-9)"
        )
        running.join()
        assert [CANARY in text for text in seen] == [leaks, leaks, False, leaks, leaks]


def _until_ended(instance: Instance, argv: list[str], env: dict[str, str]) -> None:
    assert instance.run(argv, timeout=60, env=env).returncode


# Images


def test_an_image_without_a_shell_is_told(several: list[str]) -> None:
    name = f"test-{os.urandom(4).hex()}"
    several.append(container(name, "db", argv=("sh", "-c", "rm /bin/sh; exec sleep infinity")))
    instance = on(name).resolve("db")
    until(lambda: "sleep infinity" in processes(instance.name))
    with pytest.raises(CommandFailed, match=r"image of .* has no shell"):
        instance.run(["cat"], timeout=20)


def test_a_container_whose_account_may_little_is_enough(several: list[str]) -> None:
    name = f"test-{os.urandom(4).hex()}"
    several.append(container(name, "db", "--user=65534:65534", "--read-only", "--cap-drop=ALL", "--network=none"))
    instance = on(name).resolve("db")
    assert instance.stream(["head", "-c", "100000", "/dev/zero"], nowhere, timeout=20).size == 100_000
    with pytest.raises(TimedOut):
        instance.run(["sleep", "1000"], timeout=0.5)
    with pytest.raises(PlatformError, match=r"has no address on any network and does not publish port 5432"):
        instance.endpoint("localhost", 5432)


def test_a_port_of_a_container_is_reached_by_its_address(several: list[str]) -> None:
    name = f"test-{os.urandom(4).hex()}"
    several.append(container(name, "db", image="redis", argv=("redis-server", "--protected-mode", "no")))
    address = on(name).resolve("db").endpoint("localhost", 6379)

    def answers() -> bool:
        try:
            with socket.create_connection(address, timeout=5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16) == b"+PONG\r\n"
        except ConnectionRefusedError:
            return False

    until(answers)
    assert address[0] != "localhost"
