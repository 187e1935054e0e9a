# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What breaks between us and a program in a pod: the stream, the API server, the pod, the account, ourselves."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
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
from ansible_collections.runbook.ops.plugins.module_utils._runtime import _kubectl
from ansible_collections.runbook.ops.plugins.module_utils._runtime._pod import PodInstance
from contract.shelf import Shelf
from support import pods
from support.fault_report import Fault
from support.kubernetes_proxy import cut, flip, kubernetes_proxy, truncated, untouched
from support.processes import end, start, until

from lab import kubernetes

MIB = 1 << 20


def nowhere(_data: bytes) -> None:
    pass


@pytest.fixture(scope="module")
def namespace(cluster: None) -> Iterator[str]:
    with pods.namespace() as name:
        pods.pod(name, "idle")
        pods.pod(name, "packing", image="postgres", container={"command": list(pods.IDLE), "args": []})
        yield name


@pytest.fixture
def quiet(namespace: str) -> Iterator[PodInstance]:
    """Nothing that a test started in the pod outlives it."""
    found = instance(namespace)
    yield found
    found.close()
    until(lambda: not pods.programs(namespace, "idle"))


@pytest.fixture(params=["idle", "packing"])
def streaming(request: pytest.FixtureRequest, namespace: str) -> Iterator[str]:
    """A pod whose image has no zstd, and one whose image has it."""
    yield request.param
    until(lambda: not pods.programs(namespace, request.param))


def instance(namespace: str, name: str = "idle", **declared: str) -> PodInstance:
    found = pods.on(namespace, **declared).resolve(f"app={name}")
    assert isinstance(found, PodInstance)
    return found


# The stream


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy knows the frames of a WebSocket; an operator's word for the protocol counts."""
    monkeypatch.setenv("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "true")


@pytest.mark.usefixtures("frames")
@pytest.mark.parametrize("silent", [False, True])
def test_output_that_is_cut_with_return_code_0_is_caught(
    streaming: str, namespace: str, tmp_path: Path, fault: Fault, silent: bool
) -> None:
    """The same stream is taken for whole by ``kubectl exec``, which this shows first."""
    size = 8 * MIB
    with kubernetes_proxy(tmp_path, truncated(MIB, silent=silent)) as proxy:
        argv = [
            kubernetes.program("kubectl"),
            "--kubeconfig",
            proxy.kubeconfig,
            "--namespace",
            namespace,
            "exec",
            streaming,
        ]
        plain = subprocess.run(
            [*argv, "--", "head", "-c", str(size), "/dev/urandom"], capture_output=True, timeout=60, check=False
        )
        assert (plain.returncode, MIB <= len(plain.stdout) < size) == (0, True)
        told = (
            "ended before its end was told"
            if silent
            else r"head wrote \d+ (packed )?bytes in \w+, of which \d+ arrived"
        )
        through = instance(namespace, streaming, kubeconfig=proxy.kubeconfig, context="proxy")
        with pytest.raises(CommandFailed, match=told) as caught:
            through.stream(["head", "-c", str(size), "/dev/urandom"], nowhere, timeout=60)
    lost = "stdout and stderr" if silent else "stdout"
    fault(f"kubectl exec loses {lost} and returns 0", caught.value, "never taken for whole; kubectl exec takes it")


@pytest.mark.usefixtures("frames")
def test_a_stream_that_is_changed_on_its_way_is_told(
    streaming: str, namespace: str, tmp_path: Path, fault: Fault
) -> None:
    """And one that passes the same port untouched is not."""
    argv = ["head", "-c", str(4 * MIB), "/dev/urandom"]
    with kubernetes_proxy(tmp_path, untouched) as proxy:
        through = instance(namespace, streaming, kubeconfig=proxy.kubeconfig, context="proxy")
        assert through.stream(argv, nowhere, timeout=60).size == 4 * MIB
    with kubernetes_proxy(tmp_path, flip(at=100_000)) as proxy:
        through = instance(namespace, streaming, kubeconfig=proxy.kubeconfig, context="proxy")
        with pytest.raises(
            CommandFailed, match=r"of which \d+ arrived changed|did not arrive as it was sent"
        ) as caught:
            through.stream(argv, nowhere, timeout=60)
    fault("one bit of a pod's stream flips on its way", caught.value, "never taken for whole; untouched, it passes")


@pytest.mark.usefixtures("frames")
def test_a_connection_that_breaks_is_no_end(streaming: str, namespace: str, tmp_path: Path, fault: Fault) -> None:
    with kubernetes_proxy(tmp_path, cut(MIB)) as proxy:
        through = instance(namespace, streaming, kubeconfig=proxy.kubeconfig, context="proxy")
        with pytest.raises(CommandFailed, match="what came is not whole") as caught:
            through.stream(["cat", "/dev/urandom"], nowhere, timeout=60)
    fault("the API server's connection breaks mid-stream", caught.value, "no program is left in the pod")


@pytest.mark.parametrize("websockets", ["true", "false"])
def test_a_secret_is_in_no_request(
    quiet: PodInstance, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, websockets: str
) -> None:
    """Requests are what an audit log has. A secret among the arguments shows that this looks where it would be."""
    monkeypatch.setenv("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets)
    canary = "canary-77aa"
    for env, argument, leaks in (({"SECRET": canary}, "", False), ({}, canary, True)):
        with kubernetes_proxy(tmp_path, untouched) as proxy:
            through = instance(namespace, kubeconfig=proxy.kubeconfig, context="proxy")
            argv = ["sh", "-c", 'test "$SECRET$1" && cat /proc/*/cmdline', "sh", argument]
            seen = through.run(argv, timeout=60, env=env).stdout.decode()
            heads = [request.partition("\r\n\r\n")[0] for request in proxy.requests]
        assert any("/exec?" in head for head in heads)
        assert [canary in seen, any(canary in head for head in heads)] == [leaks, leaks]


# The API server


def test_an_api_server_that_is_away_is_told(tmp_path: Path, namespace: str, fault: Fault) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with pytest.raises(
        PlatformError, match=r"The API server of the context \S+ does not answer \(.*refused.*see whether it runs"
    ) as caught:
        pods.on("any", **kubeconfig(tmp_path, server=f"https://127.0.0.1:{port}")).resolve("app=db")
    fault("the API server is away", caught.value, "nothing was begun")


def test_an_api_server_that_is_silent_is_told(
    tmp_path: Path, cluster: None, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setattr(_kubectl, "ANSWER_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        declared = kubeconfig(tmp_path, server=f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(TimedOut, match=r"did not answer within 1 s: see whether it is overloaded") as caught:
            pods.on("any", **declared).resolve("app=db")
    fault("the API server takes the connection and is silent", caught.value, "nothing was begun")


def kubeconfig(directory: Path, *, server: str = "", token: str = "") -> dict[str, str]:
    """The keys of a runtime whose kubeconfig is the laboratory's with another server, or with a token in place of who we are."""
    told = json.loads(pods.kubectl("config", "view", "--raw", "--flatten", "--minify", "--output", "json"))
    if server:
        told["clusters"][0]["cluster"] = {"server": server}
    if token:
        told["users"][0]["user"] = {"token": token}
    path = directory / "kubeconfig"
    path.write_text(json.dumps(told))
    return {"kubeconfig": str(path), "context": told["current-context"]}


# The account


@pytest.fixture
def account(namespace: str) -> Iterator[Callable[..., str]]:
    """Makes a service account with these rules, and a token of it."""
    names: list[str] = []

    def make(*rules: dict[str, list[str]]) -> str:
        name = f"account-{os.urandom(3).hex()}"
        names.append(name)
        kubectl = partial(pods.kubectl, "--namespace", namespace)
        kubectl("create", "serviceaccount", name)
        about = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": name, "namespace": namespace}}
        pods.apply({**about, "kind": "Role", "rules": [{"apiGroups": [""], **rule} for rule in rules]})
        kubectl("create", "rolebinding", name, f"--role={name}", f"--serviceaccount={namespace}:{name}")
        return kubectl("create", "token", name, "--duration=10m").strip()

    yield make
    for name in names:
        pods.kubectl("--namespace", namespace, "delete", "serviceaccount", name, "--ignore-not-found")


READ = {"resources": ["pods"], "verbs": ["get", "list"]}


def test_what_an_account_may_not_is_named(
    quiet: PodInstance, namespace: str, account: Callable[..., str], tmp_path: Path, fault: Fault
) -> None:
    """One rule after the other, to the least that is enough."""
    with pytest.raises(
        PlatformError, match=rf"may not list pods in the namespace {namespace}: bind it to a role"
    ) as listing:
        pods.on(namespace, **kubeconfig(tmp_path, token=account())).resolve("app=idle")
    found = pods.on(namespace, **kubeconfig(tmp_path, token=account(READ))).resolve("app=idle")
    with pytest.raises(PlatformError, match=rf"may not \w+ pods/exec in the namespace {namespace}: bind it") as running:
        found.run(["true"], timeout=60)
    token = account(READ, {"resources": ["pods/exec"], "verbs": ["create", "get"]})
    found = pods.on(namespace, **kubeconfig(tmp_path, token=token)).resolve("app=idle")
    assert found.run(["echo", "done"], timeout=60).stdout == b"done\n"
    with pytest.raises(PlatformError, match="may not create pods/portforward"):
        found.endpoint("localhost", 5432)
    fault("the account may not list pods", listing.value, "nothing was begun")
    fault("the account may not exec into pods", running.value, "nothing was begun")


def test_a_token_that_holds_no_more_is_told(
    namespace: str, account: Callable[..., str], tmp_path: Path, fault: Fault
) -> None:
    token = account(READ)
    declared = kubeconfig(tmp_path, token=token)
    assert pods.on(namespace, **declared).resolve("app=idle").name == "idle"
    pods.kubectl("--namespace", namespace, "delete", "serviceaccount", "--all")
    until(lambda: refused(namespace, declared), seconds=60)
    with pytest.raises(
        PlatformError, match=r"does not accept who we are .* has expired or was revoked; log in again"
    ) as caught:
        pods.on(namespace, **declared).resolve("app=idle")
    fault("the token has expired", caught.value, "nothing was begun")


def refused(namespace: str, declared: dict[str, str]) -> bool:
    """The API server remembers a token for some seconds."""
    try:
        pods.on(namespace, **declared).resolve("app=idle")
    except RunbookError:
        return True
    return False


# The pod


def broken(
    namespace: str, name: str, break_it: Callable[[], object], argv: tuple[str, ...] = ("cat", "/dev/urandom")
) -> str:
    """What is said of a stream in the middle of which ``break_it`` is called."""
    breaking: list[threading.Thread] = []

    def sink(_data: bytes) -> None:
        if not breaking:
            breaking.append(threading.Thread(target=break_it))
            breaking[0].start()

    with pytest.raises(RunbookError) as caught:
        instance(namespace, name).stream(argv, sink, timeout=90)
    breaking[0].join()
    return str(caught.value)


def test_a_pod_that_is_deleted_and_made_anew_is_told(namespace: str, fault: Fault) -> None:
    """As when it is rescheduled; the next run finds the new one."""
    template = pods.described("any", labels={"app": "moved"})
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "moved"}},
        "template": {key: template[key] for key in ("metadata", "spec")},
    }
    pods.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "moved", "namespace": namespace},
            "spec": spec,
        }
    )
    pods.kubectl("--namespace", namespace, "rollout", "status", "deployment/moved")
    doomed = pods.on(namespace).resolve("deployment/moved").name
    said = broken(namespace, "moved", lambda: pods.kubectl("--namespace", namespace, "delete", "pod", doomed))
    assert said == f"The pod {doomed} was deleted while the program ran, so what came is not whole: try again."
    pods.kubectl("--namespace", namespace, "rollout", "status", "deployment/moved")
    until(lambda: serves(namespace, "moved"))
    after = instance(namespace, "moved")
    assert after.name != doomed and after.stream(["head", "-c", "10", "/dev/urandom"], nowhere, timeout=60).size == 10
    with pytest.raises(CommandFailed, match=f"Nothing could be started in {doomed}: it was deleted") as gone:
        PodInstance(replace(after.pod, name=doomed)).run(["true"], timeout=60)
    fault(
        "a pod is rescheduled in the middle of a stream", said, "never taken for whole; the next run finds the new pod"
    )
    fault("a pod is gone before its program starts", gone.value, "nothing was begun")


def serves(namespace: str, name: str) -> bool:
    try:
        return bool(pods.on(namespace).resolve(f"app={name}"))
    except RunbookError:
        return False


HUNGRY = """
import os, signal
signal.signal(signal.SIGUSR1, lambda *_: bytearray(b"x") * (1 << 30))
signal.signal(signal.SIGUSR2, lambda *_: os._exit(1))
while True:
    signal.pause()
"""
"""Ends itself, or takes more than it may, when it is told to."""


@pytest.mark.parametrize(
    ("name", "number", "told"),
    [
        ("killed", "USR2", r"lost its container \(Error, exit code 1\)"),
        # The node may learn of the end before its reason.
        ("hungry", "USR1", r"was killed (for want of memory|\(exit code 137: mostly for want of memory)"),
    ],
)
def test_a_pod_that_is_killed_or_out_of_memory_is_told(
    namespace: str, fault: Fault, name: str, number: str, told: str
) -> None:
    limits = {"resources": {"limits": {"memory": "96Mi"}}, "command": ["python3", "-c", HUNGRY], "args": []}
    pods.pod(namespace, name, image="python", container=limits)
    send = ["--namespace", namespace, "exec", name, "--", "sh", "-c", f"kill -{number} 1"]
    said = broken(namespace, name, partial(pods.kubectl, *send))
    assert re.match(f"The pod {name} {told}", said), said
    fault(f"a pod is {name} in the middle of a stream", said, "never taken for whole")


def test_an_evicted_pod_is_told(namespace: str, fault: Fault) -> None:
    """By its node, for it took more of the disk than it may."""
    more = {"volumeMounts": [{"name": "small", "mountPath": "/small"}]}
    pods.pod(namespace, "evicted", container=more, volumes=[{"name": "small", "emptyDir": {"sizeLimit": "1Mi"}}])
    argv = ("sh", "-c", "head -c 8000000 /dev/zero >/small/file; echo begun; exec sleep 1000")
    said = broken(namespace, "evicted", lambda: None, argv)
    assert said.startswith("The pod evicted was evicted (Usage of EmptyDir volume"), said
    with pytest.raises(PlatformError, match=r"no ready pod \(evicted is Failed \(Evicted\)\)"):
        pods.on(namespace).resolve("app=evicted")
    fault("a pod is evicted in the middle of a stream", said, "never taken for whole")


def test_an_image_that_cannot_be_had_is_told(namespace: str, fault: Fault) -> None:
    pods.pod(namespace, "missing", wait=False, container={"image": "registry.invalid/nosuch:1"})
    until(lambda: "Err" in str(pods.get(namespace, "pod", "missing")["status"].get("containerStatuses")), seconds=120)
    with pytest.raises(
        PlatformError, match=r"no ready pod \(missing waits \((ErrImagePull|ImagePullBackOff)\)\)"
    ) as caught:
        pods.on(namespace).resolve("app=missing")
    fault("a pod's image cannot be had", caught.value, "nothing was begun")


def test_an_image_without_a_shell_is_told(namespace: str, fault: Fault) -> None:
    pods.pod(namespace, "shellless", argv=("sh", "-c", "rm /bin/sh; exec sleep infinity"))
    found = instance(namespace, "shellless")
    until(
        lambda: "sleep" in pods.kubectl("--namespace", namespace, "exec", "shellless", "--", "cat", "/proc/1/cmdline")
    )
    with pytest.raises(RunbookError, match=r"image has no shell") as caught:
        found.run(["cat"], timeout=60)
    fault("a pod's image has no shell", caught.value, "nothing was begun")


# Who dies with whom


@pytest.mark.parametrize("argv", [["sleep", "999"], ["cat", "/dev/urandom"]], ids=["silent", "dammed up"])
def test_a_program_does_not_outlive_us(
    streaming: str, namespace: str, tmp_path: Path, fault: Fault, argv: list[str]
) -> None:
    """Nor does what stands beside it: with output that nobody takes, as a store's that is slow, it waits to write."""
    dammed = tmp_path / "dammed"

    def take_no_more(_data: bytes) -> None:
        dammed.touch()
        signal.pause()

    victim = start(lambda: instance(namespace, streaming).stream(argv, take_no_more, timeout=1000))
    until(lambda: " ".join(argv) in pods.programs(namespace, streaming))
    until(lambda: argv[0] == "sleep" or dammed.exists())
    os.kill(victim, signal.SIGKILL)
    end(victim)
    until(lambda: not pods.programs(namespace, streaming))
    fault(
        f"SIGKILL of the module while its program runs in a pod ({argv[0]})",
        "(nobody is left to say it)",
        "the program is gone within seconds",
    )


def test_a_program_that_hangs_is_gone_with_its_limit(quiet: PodInstance, fault: Fault) -> None:
    with pytest.raises(TimedOut, match=r"sleep did not finish within 1 s and was ended\.") as caught:
        quiet.stream(["sleep", "999"], nowhere, timeout=1)
    fault("a program hangs in a pod", caught.value, "the program is gone from the pod")


def test_a_limit_that_passes_before_the_program_began_ends_it_too(quiet: PodInstance) -> None:
    sleeping = ["sleep", "999"]
    for ran in (
        partial(quiet.run, sleeping), partial(quiet.feed, sleeping, iter(())), partial(quiet.stream, sleeping, nowhere),
    ):  # fmt: skip
        with pytest.raises(TimedOut):
            ran(timeout=0.001)


def test_a_way_to_a_port_does_not_outlive_us(namespace: str, tmp_path: Path) -> None:
    """Nor the instance."""
    told = tmp_path / "told"
    pods.pod(namespace, "redis", image="redis", container={"args": ["redis-server", "--protected-mode", "no"]})

    def ask() -> None:
        found = instance(namespace, "redis")
        told.write_text(str(found.endpoint("localhost", 6379)[1]))
        signal.pause()

    victim = start(ask)
    until(lambda: told.exists() and told.read_text())
    port = int(told.read_text())
    until(lambda: pings(port))
    os.kill(victim, signal.SIGKILL)
    end(victim)
    until(lambda: not pings(port))
    found = instance(namespace, "redis")
    port = found.endpoint("127.0.0.1", 6379)[1]
    assert pings(port) and found.endpoint("127.0.0.1", 6379)[1] == port
    del found
    until(lambda: not pings(port))


def pings(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16) == b"+PONG\r\n"
    except OSError:
        return False


def test_a_way_that_was_broken_is_opened_again(namespace: str) -> None:
    """One connection that the pod refuses ends ``kubectl port-forward``."""
    found = instance(namespace)
    refused_port = found.endpoint("localhost", 1)[1]
    until(lambda: not pings(refused_port) and not found._forwards[1].open)
    assert found.endpoint("localhost", 1)[1]
    found.close()
    assert found.endpoint("db.example.net", 5432) == ("db.example.net", 5432)


# Which pod


def test_the_one_ready_pod_is_meant_and_two_are_refused(namespace: str, fault: Fault) -> None:
    same = {"part": "two"}
    pods.pod(namespace, "one", labels=same)
    unready = {"readinessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 1}}
    pods.pod(namespace, "unready", labels=same, container=unready, wait=False)
    runtime = pods.on(namespace)
    assert (runtime.resolve("part=two").name, runtime.resolve("").name) == ("one", "localhost")
    pods.pod(namespace, "other", labels=same)
    with pytest.raises(InputError) as several:
        runtime.resolve("part=two")
    assert "service is 'part=two', of which 2 pods are ready (one, other): name labels" in str(several.value)
    with pytest.raises(
        PlatformError, match=r"which has no ready pod \(unready (is not ready|waits .*)\): start it"
    ) as none:
        until(lambda: pods.get(namespace, "pod", "unready")["status"]["phase"] == "Running")
        runtime.resolve("app=unready", "databases[0].service")
    fault("two pods match", several.value, "nothing was begun")
    fault("no pod of a service is ready", none.value, "nothing was begun")


def test_a_workload_that_selects_by_expressions_has_its_own_pod_and_no_other(namespace: str) -> None:
    """The API understands what we ask it with, and the status counts the same pods."""
    expressions = [
        {"key": "part", "operator": "In", "values": ["expressed", "else"]}, {"key": "app", "operator": "Exists"},
        {"key": "tier", "operator": "DoesNotExist"}, {"key": "app", "operator": "NotIn", "values": ["beside"]},
    ]  # fmt: skip
    pods.pod(namespace, "beside", labels={"part": "expressed"})
    pods.pod(namespace, "tiered", labels={"part": "expressed", "tier": "a"})
    template = pods.described("expressed", labels={"app": "expressed", "part": "expressed"})
    pods.apply({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "expressed", "namespace": namespace},
        "spec": {"selector": {"matchExpressions": expressions},
                 "template": {"metadata": template["metadata"], "spec": template["spec"]}},
    })  # fmt: skip
    pods.kubectl("--namespace", namespace, "rollout", "status", "deployment/expressed", f"--timeout={pods.SECONDS}s")
    runtime = pods.on(namespace)
    name = runtime.resolve("deployment/expressed").name
    assert name.startswith("expressed-")
    (service,) = [found for found in runtime.inspect_services() if found.name == "deployment/expressed"]
    assert [replica.name for replica in service.replicas] == [name]
    pods.kubectl("--namespace", namespace, "delete", "deployment", "expressed")


def test_what_there_is_is_named(namespace: str, fault: Fault) -> None:
    with pytest.raises(InputError, match=rf"the namespace {namespace}") as misspelt:
        pods.on(namespace).resolve("app=postgre")
    with pytest.raises(InputError, match=r"the cluster has no namespace nosuch: it has .*default") as renamed:
        pods.on("nosuch").resolve("statefulset/postgres")
    with pytest.raises(
        InputError, match=r"runtime.context is 'nosuch', which the kubeconfig does not have: it has \S"
    ) as context:
        pods.on(namespace, context="nosuch").resolve("app=idle")
    with pytest.raises(InputError, match=r"runtime.kubeconfig is '/nosuch', which this account cannot read"):
        pods.on(namespace, kubeconfig="/nosuch").resolve("app=idle")
    with pytest.raises(InputError, match=r"runtime.container is 'nosuch', which idle does not have: it has main"):
        pods.on(namespace, container="nosuch").resolve("app=idle")
    fault("no pod has the labels of a service", misspelt.value, "nothing was begun")
    fault("the namespace is absent", renamed.value, "nothing was begun")
    fault("the context is absent", context.value, "nothing was begun")


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ({}, "runtime.namespace is None: give the namespace of the system's pods"),
        ({"namespace": "Upper"}, "runtime.namespace is 'Upper'"),
        ({"namespace": ["a"]}, "runtime.namespace is ['a']: give a text"),
        (
            {"namespace": "a", "project": "b"},
            "runtime has 'project': a kubernetes runtime has type, context, namespace",
        ),
        ({"namespace": "a", "scratch_namespace": "a"}, "runtime.scratch_namespace is 'a', where production runs"),
        ({"namespace": "a", "scratch_namespace": "a/b"}, "runtime.scratch_namespace is 'a/b'"),
    ],
)
def test_a_description_that_cannot_be_is_refused(declared: dict[str, object], told: str) -> None:
    with pytest.raises(InputError) as caught:
        _description.runtime_of({"type": "kubernetes", **declared})
    assert told in str(caught.value) and "\n" not in str(caught.value)
    for service in ("postgres", "pod/postgres", "deployment/A_b"):
        with pytest.raises(InputError, match=r"databases\[0\]\.service is .*: give labels"):
            pods.on("any").resolve(service, "databases[0].service")


# Objects


def test_objects_are_kept_as_manifests_that_are_taken_back(namespace: str, tmp_path: Path, fault: Fault) -> None:
    kubectl = partial(pods.kubectl, "--namespace", namespace)
    kubectl("create", "secret", "generic", "keys", "--from-literal=private=canary-50ab")
    runtime, directory = pods.on(namespace), tmp_path / "shelf"
    directory.mkdir()
    declared = {"engine": "files", "name": "configuration", "objects": ["secret/keys"], "plaintext": True, "checks": [
        {"file": "/kubernetes/secret/keys.json"}]}  # fmt: skip
    engine = _description.engine_of("databases[0]", declared, runtime)
    shelf = Shelf(directory)
    shelf.take(engine)
    before = pods.get(namespace, "secret", "keys")
    kubectl("delete", "secret", "keys")
    with engine.scratch(shelf, str(tmp_path)) as place:
        engine.restore(shelf, place)
        assert all(result.passed for result in engine.verify(shelf, place))
        (restored,) = tmp_path.rglob("keys.json")
        kubectl("apply", "--filename", str(restored))
    after = pods.get(namespace, "secret", "keys")
    assert (after["data"], after["type"]) == (before["data"], before["type"])
    missing = _description.engine_of("databases[0]", {**declared, "objects": ["secret/nosuch"]}, runtime)
    with pytest.raises(
        InputError, match=rf"databases\[0\].objects has 'secret/nosuch', which the namespace {namespace}"
    ) as caught:
        missing.preflight()
    local = _description.runtime_of({"type": "local"})
    for of, name, told in (
        (runtime, "pod/idle", "give objects as secret/NAME"),
        (local, "secret/keys", "the runtime is local"),
    ):
        engine = _description.engine_of("databases[0]", {**declared, "objects": [name]}, of)
        with pytest.raises(InputError, match=told):
            engine.preflight()
    fault("a secret that is to be kept is absent", caught.value, "nothing was begun")
