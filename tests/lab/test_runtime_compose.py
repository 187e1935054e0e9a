# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only a Docker Engine can show of the compose runtime: which container is meant, how much memory a gigabyte takes,
who sees a secret, and what an image need not have."""

from __future__ import annotations

import json
import os
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
    TimedOut,
)
from ansible_collections.runbook.ops.plugins.module_utils._runtime import _direct
from ansible_collections.runbook.ops.plugins.module_utils._runtime._docker import Docker
from ansible_collections.runbook.ops.plugins.module_utils._runtime.base import Instance
from ansible_collections.runbook.ops.plugins.module_utils._runtime.compose import ComposeRuntime
from support.containers import container, on, processes, programs, restarts_of
from support.fault_report import Fault
from support.processes import until

from lab.command import docker

MIB = 1 << 20
CANARY = "canary-90d1"


def nowhere(_data: bytes) -> None:
    pass


# Which container


def unhealthy(kind: str) -> list[str]:
    """Options of a container whose health check fails, or has not been run."""
    check = ["--health-cmd=exit 1", "--health-retries=1"]
    return [*check, "--health-interval=100ms"] if kind == "unhealthy" else [*check, "--health-interval=1h"]


def health_of(name: str) -> str:
    return docker("inspect", "--format", "{{.State.Health.Status}}", name).strip()


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


def test_a_service_that_restarts_is_paused_or_stopped_is_refused(several: list[str], fault: Fault) -> None:
    name = f"test-{os.urandom(4).hex()}"
    several.append(container(name, "restarting", "--restart=always", argv=("false",)))
    several += [container(name, "paused"), container(name, "stopped")]
    docker("pause", several[1])
    docker("kill", several[2])
    until(lambda: restarts_of(several[0]) >= 6)  # the Engine pauses twice as long before each: 6.4 s from here
    for service, told in (
        ("restarting", "is restarting, exit code 1"),
        ("paused", "is paused"),
        ("stopped", "is stopped"),
    ):
        with pytest.raises(PlatformError, match=f"has no healthy container \\(.*{told}") as caught:
            on(name).resolve(service)
    docker("unpause", several[1])
    fault("a service is stopped, paused or restarts", caught.value, "nothing was begun")


def test_a_service_that_runs_twice_is_refused(several: list[str], fault: Fault) -> None:
    name = f"test-{os.urandom(4).hex()}"
    several += [container(name, "db"), container(name, "db")]
    with pytest.raises(InputError) as caught:
        on(name).resolve("db")
    one, other = sorted(several)
    assert f"service is 'db', which runs 2 times ({one}, {other}): scale it to one" in str(caught.value)
    fault("a service scaled to 2", caught.value, "nothing was begun")


def test_what_there_is_is_named(several: list[str], fault: Fault) -> None:
    """Another service, one scaled to none, another project, one that was renamed."""
    name = f"test-{os.urandom(4).hex()}"
    several += [container(name, "postgres"), container(name, "web")]
    with pytest.raises(
        InputError, match=rf"'postgre', which the compose project '{name}' does not have.*postgres, web"
    ) as scaled:
        on(name).resolve("postgre")
    with pytest.raises(
        InputError, match=rf"'{name}-old' has no containers on this host, which has .*{name}.*runtime.project"
    ) as renamed:
        on(f"{name}-old").resolve("postgres")
    fault("a service scaled to 0", scaled.value, "nothing was begun")
    fault("the compose project was renamed", renamed.value, "nothing was begun")


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


# The stream


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_gigabyte_passes_both_ways_in_bounded_memory(quiet: ComposeRuntime) -> None:
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


def test_a_secret_in_the_environment_is_seen_by_the_program_alone(quiet: ComposeRuntime) -> None:
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
            docker("events", "--since", since, "--until", str(int(time.time()) + 1), "--format", "{{json .}}", timeout=60),
        ]  # fmt: skip
        docker(
            "exec",
            instance.name,
            "sh",
            "-c",
            "kill -TERM $(grep -lx sleep /proc/[0-9]*/comm | sort -V | tail -1 | tr -dc 0-9)",
        )
        running.join()
        assert [CANARY in text for text in seen] == [leaks, leaks, False, leaks, leaks]


def _until_ended(instance: Instance, argv: list[str], env: dict[str, str]) -> None:
    assert instance.run(argv, timeout=60, env=env).returncode


# Images


def test_an_image_without_a_shell_is_told(several: list[str], fault: Fault) -> None:
    name = f"test-{os.urandom(4).hex()}"
    several.append(container(name, "db", argv=("sh", "-c", "rm /bin/sh; exec sleep infinity")))
    instance = on(name).resolve("db")
    until(lambda: "sleep infinity" in processes(instance.name))
    with pytest.raises(CommandFailed, match=r"image of .* has no shell") as caught:
        instance.run(["cat"], timeout=60)
    fault("an image without a shell", caught.value, "nothing was begun")


def test_an_image_without_cksum_is_told(several: list[str], fault: Fault) -> None:
    name = f"test-{os.urandom(4).hex()}"
    several.append(container(name, "db", argv=("sh", "-c", "rm /usr/bin/cksum; exec sleep infinity")))
    instance = on(name).resolve("db")
    until(lambda: "sleep infinity" in processes(instance.name))
    with pytest.raises(CommandFailed, match=r"image of .* has no cksum") as caught:
        instance.run(["cat"], timeout=60)
    fault("an image without cksum", caught.value, "what came is not believed")


@pytest.mark.parametrize("lacks", ["", "/usr/bin/perl", "/usr/bin/perl /usr/bin/setsid"])
def test_what_an_image_may_lack(several: list[str], monkeypatch: pytest.MonkeyPatch, lacks: str) -> None:
    monkeypatch.setattr(_direct, "may", lambda: False)
    name = f"test-{os.urandom(4).hex()}"
    several.append(container(name, "db", argv=("sh", "-c", f"rm -f {lacks}; exec sleep infinity")))
    instance = on(name).resolve("db")
    until(lambda: "sleep infinity" in processes(instance.name))
    came = bytearray()
    instance.stream(["head", "-c", "3000001", "/dev/urandom"], came.extend, timeout=60)
    assert (len(came), len(set(came))) == (3_000_001, 256)
    copying = programs_of_a_stream(instance)
    assert ("tee" in copying, "perl" in copying) == ("perl" in lacks, "perl" not in lacks)
    with pytest.raises(TimedOut):
        instance.run(["sleep", "1000"], timeout=0.5)


def programs_of_a_stream(instance: Instance) -> set[str]:
    """What runs in the container while a stream passes."""
    seen: set[str] = set()

    def look(_data: bytes) -> None:
        seen.update(line.split()[0].rpartition("/")[2] for line in processes(instance.name))

    instance.stream(["sh", "-c", "echo 1; sleep 1"], look, timeout=60)
    return seen


def test_a_container_whose_account_may_little_is_enough(several: list[str]) -> None:
    name = f"test-{os.urandom(4).hex()}"
    several.append(container(name, "db", "--user=65534:65534", "--read-only", "--cap-drop=ALL", "--network=none"))
    instance = on(name).resolve("db")
    assert instance.stream(["head", "-c", "100000", "/dev/zero"], nowhere, timeout=60).size == 100_000
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


def test_a_container_on_the_host_s_network_is_reached_like_the_host(several: list[str]) -> None:
    name = f"test-{os.urandom(4).hex()}"
    several.append(container(name, "db", "--network=host"))
    assert on(name).resolve("db").endpoint("localhost", 6379) == ("localhost", 6379)
    assert on(name).resolve("db").endpoint("db.example.net", 6379) == ("db.example.net", 6379)
