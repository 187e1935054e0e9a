# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every runtime keeps the promises of ``_runtime/base.py``. The programs are what any place with a shell has."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import (
    CommandFailed,
    InputError,
    TimedOut,
)
from ansible_collections.runbook.ops.plugins.module_utils._runtime import _direct
from ansible_collections.runbook.ops.plugins.module_utils._runtime._pod import PodInstance
from ansible_collections.runbook.ops.plugins.module_utils._runtime.base import CHUNK, STDERR_LIMIT, Instance
from ansible_collections.runbook.ops.plugins.module_utils._runtime.compose import ServiceContainer
from ansible_collections.runbook.ops.plugins.module_utils._runtime.kubernetes import KubernetesRuntime
from ansible_collections.runbook.ops.plugins.module_utils._runtime.local import LocalRuntime
from support import pods
from support.containers import project
from support.processes import gone, held, in_child, until

MIB = 1 << 20
CANARY = "canary-41c7"


ELSEWHERE = ("compose", "compose_unprivileged", "busybox", "busybox_unprivileged", "kubernetes", "kubernetes_packed")


@pytest.fixture(params=["local", *(pytest.param(name, marks=pytest.mark.lab) for name in ELSEWHERE)])
def instance(request: pytest.FixtureRequest) -> Instance:
    """On compose a container, on Kubernetes a pod, that shows its processes, the tests' files and ports under the same numbers
    and names as the host. Compose's streams are read from the program's own pipe, and, as for an account that may not, from the
    Engine; its programs are Debian's, and busybox's as in Alpine's images."""
    made: Instance = request.getfixturevalue(f"{request.param}_instance")
    return made


@pytest.fixture
def local_instance() -> Instance:
    return LocalRuntime().resolve("")


@contextmanager
def contained(tmp_path_factory: pytest.TempPathFactory, image: str) -> Iterator[Instance]:
    shared = str(tmp_path_factory.getbasetemp())
    with project("--pid=host", "--network=host", "--volume", f"{shared}:{shared}", image=image) as runtime:
        yield runtime.resolve("service")


@pytest.fixture(scope="module")
def compose_instance(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with contained(tmp_path_factory, "base") as instance:
        yield instance


@pytest.fixture(scope="module")
def busybox_instance(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with contained(tmp_path_factory, "busybox") as instance:
        yield instance


def unprivileged(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> Instance:
    monkeypatch.setattr(_direct, "may", lambda: False)
    assert isinstance(instance, ServiceContainer)
    return ServiceContainer(instance._docker, instance.name)


@pytest.fixture
def compose_unprivileged_instance(compose_instance: Instance, monkeypatch: pytest.MonkeyPatch) -> Instance:
    return unprivileged(compose_instance, monkeypatch)


@pytest.fixture
def busybox_unprivileged_instance(busybox_instance: Instance, monkeypatch: pytest.MonkeyPatch) -> Instance:
    return unprivileged(busybox_instance, monkeypatch)


@pytest.fixture(scope="module")
def idle_pod(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesRuntime]:
    shared = str(tmp_path_factory.getbasetemp())
    mounted = {"volumeMounts": [{"name": "shared", "mountPath": shared}], "securityContext": {"privileged": True}}
    volumes = [{"name": "shared", "hostPath": {"path": shared}}]
    with pods.namespace() as namespace:
        pods.pod(namespace, "service", container=mounted, volumes=volumes, hostPID=True, hostNetwork=True)
        idle = {**mounted, "command": list(pods.IDLE), "args": []}
        pods.pod(
            namespace, "packing", image="postgres", container=idle, volumes=volumes, hostPID=True, hostNetwork=True
        )
        yield pods.on(namespace)


@pytest.fixture
def kubernetes_instance(idle_pod: KubernetesRuntime) -> Iterator[Instance]:
    """Of an image without zstd."""
    yield from resolved(idle_pod, "service")


@pytest.fixture
def kubernetes_packed_instance(idle_pod: KubernetesRuntime) -> Iterator[Instance]:
    yield from resolved(idle_pod, "packing")


def resolved(runtime: KubernetesRuntime, name: str) -> Iterator[Instance]:
    found = runtime.resolve(f"app={name}")
    assert isinstance(found, PodInstance)
    yield found
    found.close()


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """No test leaves a process, a thread or a file descriptor behind."""
    before = held()
    yield
    # Not more than before: what another test's end was still letting go of was counted then.
    until(lambda: all(now <= then for now, then in zip(held(), before, strict=True)))


def sh(script: str, *arguments: str) -> list[str]:
    return ["sh", "-c", script, "sh", *arguments]


def nowhere(_data: bytes) -> None:
    pass


def test_every_argument_arrives_as_it_is(instance: Instance) -> None:
    arguments = ["", " ", "two words", "'", '"', "$HOME `id` $(id)", "*", "-n", "\\", "a\nb\n", "ü", "--x=y;z&|<>"]
    ended = instance.run(sh(r"""for a; do printf '%s\0' "$a"; done""", *arguments), timeout=60)
    assert ended.stdout.decode().split("\0")[:-1] == arguments


@pytest.fixture(scope="module")
def binary() -> bytes:
    """64 MiB in which every byte occurs."""
    return os.urandom(MIB) * 63 + bytes(range(256)) * (MIB // 256)


def pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), 300_007):
        yield data[start : start + 300_007]


def test_bytes_pass_unchanged_both_ways(instance: Instance, binary: bytes, tmp_path: Path) -> None:
    expected, digest, sizes = hashlib.sha256(binary).hexdigest(), hashlib.sha256(), set()

    def sink(data: bytes) -> None:
        digest.update(data)
        sizes.add(len(data))

    (tmp_path / "binary").write_bytes(binary)
    streamed = instance.stream(["cat", str(tmp_path / "binary")], sink, timeout=60)
    assert (streamed.size, digest.hexdigest(), max(sizes) <= CHUNK) == (len(binary), expected, True)
    ended = instance.feed(["sha256sum"], pieces(binary), timeout=60)
    assert (ended.returncode, ended.stdout.split()[0].decode()) == (0, expected)
    both = instance.feed(["cat"], pieces(binary), timeout=60, limit=len(binary))
    assert hashlib.sha256(both.stdout).hexdigest() == expected


def test_nothing_is_a_terminal(instance: Instance) -> None:
    """Not even when there is one to inherit."""
    ours, theirs = os.openpty()

    def look() -> None:
        os.login_tty(theirs)
        script = "test -t 0 || test -t 1 || test -t 2 || (: </dev/tty) 2>/dev/null"
        assert instance.run(sh(script), timeout=60).returncode

    assert in_child(look) == 0
    os.close(ours)
    os.close(theirs)


def test_secrets_in_the_environment_show_nowhere_else(instance: Instance) -> None:
    script = 'test -n "$SECRET" && test -n "$PATH" && cat /proc/*/cmdline 2>/dev/null; exit 7'
    ended = instance.run(sh(script), timeout=60, env={"SECRET": CANARY}, limit=64 * MIB)
    assert (ended.returncode, ended.stdout.count(b"SECRET") > 0, ended.stdout.count(CANARY.encode())) == (7, True, 0)
    for argv in (sh("exit 3"), ["/nowhere/program"], ["a\0b"]):
        with pytest.raises(CommandFailed) as caught:
            instance.stream(argv, nowhere, timeout=60, env={"SECRET": CANARY})
        assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("script", "returncode", "told"),
    [
        ("echo the reason >&2; exit 3", 3, "sh failed with return code 3: the reason."),
        ("exit 255", 255, "sh failed with return code 255, and said nothing."),
        ("kill -TERM $$", -15, "sh was ended by SIGTERM, and said nothing."),
        ("kill -KILL $$", -9, "sh was ended by SIGKILL, and said nothing."),
    ],
)
def test_return_codes_and_signals(instance: Instance, script: str, returncode: int, told: str) -> None:
    assert instance.run(sh(script), timeout=60).returncode == returncode
    assert instance.feed(sh(script), iter([b"x"]), timeout=60).returncode == returncode
    with pytest.raises(CommandFailed) as caught:
        instance.stream(sh(script), nowhere, timeout=60)
    assert str(caught.value) == told


def test_of_stderr_the_end_is_kept(instance: Instance) -> None:
    script = "head -c 10000000 /dev/zero | tr '\\0' x >&2; printf 'the last word' >&2; exit 1"
    ended = instance.run(sh(script), timeout=60)
    assert (ended.stderr[-13:], len(ended.stderr)) == ("the last word", STDERR_LIMIT)
    with pytest.raises(CommandFailed, match="the last word") as caught:
        instance.stream(sh(script), nowhere, timeout=60)
    assert len(str(caught.value)) < STDERR_LIMIT + 100


def test_more_output_than_asked_for_ends_the_program(instance: Instance) -> None:
    with pytest.raises(CommandFailed, match="yes wrote more than 1000 bytes; it was ended"):
        instance.run(["yes"], timeout=60, limit=1000)


HANGING = """
trap '' TERM
sleep 1000 & echo $! $$ >"$1"
exec {redirected}
while :; do sleep 1000; done
"""


@pytest.mark.parametrize("redirected", ["", ">&-", ">&- 2>&-"])
def test_a_program_that_hangs_is_ended_with_all_it_started(instance: Instance, redirected: str, tmp_path: Path) -> None:
    told = tmp_path / "pids"
    with pytest.raises(TimedOut, match=r"sh did not finish within 2 s and was ended\."):
        instance.stream(sh(HANGING.format(redirected=redirected), str(told)), nowhere, timeout=2)
    pids = [int(pid) for pid in told.read_text().split()]
    until(lambda: all(gone(pid) for pid in pids))
    assert len(pids) == 2


def test_what_left_the_program_behind_cannot_hold_us(instance: Instance, tmp_path: Path) -> None:
    """It keeps our pipe open from a session of its own, where nothing that we send arrives."""
    told = tmp_path / "pid"
    with pytest.raises(TimedOut):
        script = """setsid sh -c 'echo $$ >"$0"; exec sleep 1000' "$1" & wait"""
        instance.stream(sh(script, str(told)), nowhere, timeout=2)
    pid = int(told.read_text())
    assert not gone(pid)
    os.kill(pid, 9)


class Broken(Exception):
    pass


def test_what_the_program_left_behind_is_waited_for_while_it_may_write(instance: Instance) -> None:
    said = bytearray()
    instance.stream(sh("(sleep 2; echo late) 2>/dev/null & echo early"), said.extend, timeout=60)
    assert said.split() == [b"early", b"late"]


def test_a_limit_of_months_can_be_waited_for(instance: Instance) -> None:
    assert instance.run(["echo", "done"], timeout=30 * 86400).stdout == b"done\n"


def test_a_sink_that_raises_ends_the_program(instance: Instance, tmp_path: Path) -> None:
    told = tmp_path / "pid"

    def sink(_said: bytes) -> None:
        raise Broken

    with pytest.raises(Broken):
        script = 'echo $$ >"$1"; head -c 1000000 /dev/urandom; sleep 1000; exec yes'
        instance.stream(sh(script, str(told)), sink, timeout=60)
    assert gone(int(told.read_text()))


def test_a_source_that_raises_ends_the_program(instance: Instance, tmp_path: Path) -> None:
    def source() -> Iterator[bytes]:
        yield b"half of it"
        raise Broken

    with pytest.raises(Broken):
        instance.feed(sh('cat; echo whole > "$1"', str(tmp_path / "whole")), source(), timeout=60)
    assert not (tmp_path / "whole").exists()


def endless() -> Iterator[bytes]:
    while True:
        yield bytes(MIB)


def test_a_program_may_stop_reading(instance: Instance) -> None:
    ended = instance.feed(sh("head -c 10 | wc -c; exit 4"), endless(), timeout=60)
    assert (ended.returncode, ended.stdout.split()) == (4, [b"10"])
    with pytest.raises(TimedOut):
        instance.feed(["sleep", "1000"], endless(), timeout=0.3)


@pytest.mark.parametrize("program", ["no-such-program", "/nowhere/program", "/", "a\0b"])
def test_a_program_that_is_not_there_is_named(instance: Instance, program: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        instance.feed([program], endless(), timeout=60)
    assert str(caught.value).startswith(f"{program} could not be started (")


# Files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "a file").write_bytes(b"old")
    return tmp_path / "a file"


def test_files_travel_whole(instance: Instance, file: Path, binary: bytes) -> None:
    placed = instance.place(str(file), pieces(binary), timeout=60, mode=0o664)
    assert (placed.size, file.read_bytes() == binary, file.stat().st_mode & 0o777) == (len(binary), True, 0o664)
    digest = hashlib.sha256()
    fetched = instance.fetch(str(file), digest.update, timeout=60)
    assert (fetched.size, digest.digest()) == (len(binary), hashlib.sha256(binary).digest())
    instance.place(str(file), [], timeout=60)
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"", 0o600)


def test_a_file_is_fetched_as_it_was_when_opened(instance: Instance, file: Path) -> None:
    seen: list[bytes] = []
    file.write_bytes(b"1" * 3 * MIB)

    def sink(data: bytes) -> None:
        if not seen:
            instance.place(str(file), [b"2" * 3 * MIB], timeout=60)
        seen.append(data)

    instance.fetch(str(file), sink, timeout=60)
    assert (b"".join(seen) == b"1" * 3 * MIB, file.read_bytes() == b"2" * 3 * MIB) == (True, True)


def broken_off(_file: Path) -> Iterator[bytes]:
    yield b"new" * MIB
    raise Broken


def too_slow(file: Path) -> Iterator[bytes]:
    while True:
        assert file.read_bytes() == b"old"
        yield b"new"


@pytest.mark.parametrize(("source", "error", "timeout"), [(broken_off, Broken, 60), (too_slow, TimedOut, 1)])
def test_a_file_is_placed_whole_or_not_at_all(
    instance: Instance, file: Path, source: Callable[[Path], Iterator[bytes]], error: type[Exception], timeout: float
) -> None:
    with pytest.raises(error):
        instance.place(str(file), source(file), timeout=timeout)
    assert [(path.name, path.read_bytes()) for path in file.parent.iterdir()] == [("a file", b"old")]


@pytest.mark.parametrize("name", ["missing", "missing/deeper", ".", "pipe"])
def test_a_file_that_cannot_be_had_is_named(instance: Instance, tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    path = f"{tmp_path}/{name}"
    with pytest.raises(CommandFailed, match=rf"{path} could not be read \(.+\): .+\."):
        instance.fetch(path, nowhere, timeout=60)
    if name in ("missing/deeper", "."):
        with pytest.raises(CommandFailed, match=rf"{path} could not be written \(.+\): .+\."):
            instance.place(path, [b"x"], timeout=60)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_port_can_be_reached(instance: Instance) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        socket.create_connection(instance.endpoint(*listening.getsockname()[:2]), timeout=5).close()


def test_the_local_runtime_has_no_services() -> None:
    with pytest.raises(InputError, match=r"service is 'postgres', but the runtime is local.*remove service"):
        LocalRuntime().resolve("postgres")
