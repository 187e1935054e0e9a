# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The laboratory's Kubernetes is a real and whole one, heals, and leaves a given one to whom it belongs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import CommandFailed
from command_line import HANGS, ROOT
from support.processes import until

from lab import images, kubernetes
from lab.command import docker
from lab.kubernetes import build, components, network
from lab.kubernetes import cluster as ours
from lab.place import LABEL, home

NAMESPACE = "runbook-lab-test"
SECONDS = 300


def own() -> None:
    if kubernetes.given():
        pytest.skip("NOT RUN: the cluster is a given one, whose servers are not ours to look at")


@pytest.fixture(scope="module")
def namespace(cluster: None) -> Iterator[str]:
    told = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": {LABEL: "1"}}}
    kubernetes.kubectl("apply", "--filename", "-", stdin=json.dumps(told))
    until(lambda: "default" in kubectl("get", "serviceaccount"), seconds=SECONDS)
    yield NAMESPACE
    kubernetes.kubectl("delete", "namespace", NAMESPACE, timeout=180)


def kubectl(*arguments: str, stdin: str = "", timeout: float = SECONDS) -> str:
    return kubernetes.kubectl("--namespace", NAMESPACE, *arguments, stdin=stdin, timeout=timeout)


def quiet(attempt: Callable[[], str]) -> str | None:
    """A Service leads to its pods a moment after they are ready."""
    with suppress(CommandFailed):
        return attempt()
    return None


def applied(*objects: dict[str, object]) -> None:
    kubectl("apply", "--filename", "-", stdin="\n---\n".join(json.dumps(told) for told in objects))


@pytest.fixture(scope="module")
def image(cluster: None) -> str:
    return kubernetes.image(images.ensure("python"))


@pytest.fixture(scope="module")
def web(namespace: str, image: str) -> str:
    """Two pods that answer, behind a Service."""
    serve = ["python3", "-m", "http.server", "--directory", "/etc", "8080"]
    container = {
        "name": "web", "image": image, "imagePullPolicy": "IfNotPresent", "command": serve,
        "readinessProbe": {"httpGet": {"path": "/hostname", "port": 8080}, "periodSeconds": 1},
    }  # fmt: skip
    labels = {"app": "web"}
    pods = {"metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": pods}
    ports = [{"port": 80, "targetPort": 8080}]
    applied(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"selector": labels, "ports": ports},
        },
    )
    kubectl("rollout", "status", "deployment/web", f"--timeout={SECONDS}s", timeout=SECONDS + 10)
    return "deployment/web"


def test_it_is_the_version_that_the_sources_are_of_and_every_server_is_well(cluster: None) -> None:
    own()
    assert kubernetes.version() == f"v{build.version('k8s.io/kubernetes')}"
    assert kubernetes.helm("version", "--short").startswith(f"v{build.version('helm.sh/helm/v3')}")
    assert all(good for _name, good in kubernetes.status())
    assert Path(kubernetes.kubeconfig()).stat().st_mode & 0o777 == 0o600
    assert kubernetes.ensure() is False


def test_pods_are_found_by_name_and_reached_by_their_service(web: str) -> None:
    ask = "import urllib.request as r; print(r.urlopen('http://web.{}.svc.cluster.local/hostname', timeout=5).read())"
    until(lambda: quiet(lambda: kubectl("exec", web, "--", "python3", "-c", ask.format(NAMESPACE))))
    for _time in range(4):  # whichever of the two it is
        assert kubectl("exec", web, "--", "python3", "-c", ask.format(NAMESPACE)).startswith("b'web-")
    with pytest.raises(CommandFailed, match=r"gaierror|Name or service not known"):
        kubectl("exec", web, "--", "python3", "-c", ask.format("nowhere"))


def test_exec_streams_both_ways_and_tells_the_exit_code(web: str) -> None:
    sent = "".join(f"{number}\n" for number in range(200_000))
    assert kubectl("exec", "-i", web, "--", "cat", stdin=sent) == sent
    with pytest.raises(CommandFailed, match="exit code 7"):
        kubectl("exec", web, "--", "sh", "-c", "exit 7")


def test_a_pod_that_is_killed_is_replaced(web: str) -> None:
    before = kubectl("get", "pods", "--selector", "app=web", "--output", "name").split()
    kubectl("delete", before[0], "--grace-period=0", "--force")
    kubectl("rollout", "status", web, f"--timeout={SECONDS}s")
    until(lambda: before[0] not in kubectl("get", "pods", "--output", "name").split(), seconds=SECONDS)


def test_memory_limits_hold(namespace: str, image: str) -> None:
    container = {
        "name": "greedy", "image": image, "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", "x = bytearray(200_000_000)"], "resources": {"limits": {"memory": "32Mi"}},
    }  # fmt: skip
    applied({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "greedy"},
             "spec": {"restartPolicy": "Never", "containers": [container]}})  # fmt: skip
    code = "jsonpath={.status.containerStatuses[0].state.terminated.exitCode}"
    until(lambda: kubectl("get", "pod", "greedy", "--output", code) == "137", seconds=SECONDS)


def test_a_cronjob_with_a_time_zone_fires(namespace: str, image: str) -> None:
    container = {"name": "tick", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["true"]}
    job = {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    spec = {"schedule": "* * * * *", "timeZone": "Europe/Zurich", "jobTemplate": {"spec": job}}
    applied({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "tick"}, "spec": spec})
    done = "jsonpath={.items[*].status.succeeded}"
    until(lambda: "1" in kubectl("get", "jobs", "--output", done), seconds=180)
    kubectl("delete", "cronjob", "tick")


def test_a_volume_outlives_its_pod_and_goes_with_its_claim(namespace: str, image: str) -> None:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}}
    applied({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "kept"}, "spec": claim})

    def said(name: str, command: str) -> str:
        mount = {"name": "kept", "mountPath": "/kept"}
        container = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "volumeMounts": [mount],
                     "command": ["sh", "-c", command]}  # fmt: skip
        volume = {"name": "kept", "persistentVolumeClaim": {"claimName": "kept"}}
        spec = {"restartPolicy": "Never", "containers": [container], "volumes": [volume]}
        applied({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
        kubectl("wait", f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", f"--timeout={SECONDS}s")
        printed = kubectl("logs", name)
        kubectl("delete", "pod", name)
        return printed

    said("writer", "echo still here > /kept/file")
    assert said("reader", "cat /kept/file") == "still here\n"
    kubectl("delete", "pvc", "kept")
    if not kubernetes.given():
        volumes = Path(home(kubernetes.NAME, "volumes"))
        until(
            lambda: not [path for path in volumes.glob("*/file") if path.read_text() == "still here\n"], seconds=SECONDS
        )


def test_helm_installs_waits_and_takes_away(namespace: str, image: str, tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: small\nversion: 1.0.0\n")
    (tmp_path / "templates/deployment.yaml").write_text(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: {{ .Release.Name }}}\nspec:\n"
        "  selector: {matchLabels: {app: small}}\n  template:\n    metadata: {labels: {app: small}}\n"
        f"    spec: {{containers: [{{name: small, image: '{image}', command: [sleep, '600']}}], "
        "terminationGracePeriodSeconds: 0}\n"
    )
    kubernetes.helm("install", "small", str(tmp_path), "--namespace", NAMESPACE, "--wait", "--timeout", "120s")
    (release,) = json.loads(kubernetes.helm("list", "--namespace", NAMESPACE, "--output", "json"))
    assert (release["name"], release["status"]) == ("small", "deployed")
    kubernetes.helm("uninstall", "small", "--namespace", NAMESPACE)


def test_an_account_may_do_what_its_role_says_and_nothing_else(namespace: str) -> None:
    account = f"--as=system:serviceaccount:{NAMESPACE}:reader"
    kubectl("create", "serviceaccount", "reader")
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods")
    kubectl("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={NAMESPACE}:reader")
    kubectl("get", "pods", account)
    with pytest.raises(CommandFailed, match='cannot list resource "secrets"'):
        kubectl("get", "secrets", account)


def lab(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lab", *arguments], cwd=ROOT, env={**os.environ, **environment}, capture_output=True,
        text=True, timeout=HANGS, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["kube-scheduler", "kubelet", "containerd", "etcd"])
def test_a_server_that_was_killed_is_told_of_and_brought_back(web: str, name: str) -> None:
    own()
    (server,) = (found for found in components.all_of(home(kubernetes.NAME)) if found.name == name)
    others = {found.name: found.running() for found in components.all_of(home(kubernetes.NAME)) if found.name != name}
    pods = kubectl("get", "pods", "--selector", "app=web", "--output", "jsonpath={.items[*].metadata.uid}")
    os.kill(server.running() or 0, signal.SIGKILL)
    until(lambda: server.running() is None)
    status = lab("status", "kubernetes").stdout
    assert "NOT WHOLE" in status
    assert re.search(rf"^ +{name} +down$", status, re.MULTILINE), status
    assert lab("up", "kubernetes").stdout.startswith("kubernetes  brought up")
    assert server.good()
    assert {found: pid for found, pid in others.items() if found != "kube-apiserver"} == {
        found.name: found.running()
        for found in components.all_of(home(kubernetes.NAME)) if found.name in others and found.name != "kube-apiserver"
    }  # fmt: skip
    kubectl("rollout", "status", web, f"--timeout={SECONDS}s")
    assert pods == kubectl("get", "pods", "--selector", "app=web", "--output", "jsonpath={.items[*].metadata.uid}")


def test_the_api_server_is_restarted_alone(web: str) -> None:
    own()
    before = {found.name: found.running() for found in components.all_of(home(kubernetes.NAME))}
    ours.restart_api_server()
    after = {found.name: found.running() for found in components.all_of(home(kubernetes.NAME))}
    assert {name for name in before if before[name] != after[name]} == {"kube-apiserver"}
    assert kubectl("get", "pods")


def test_the_api_server_is_reached_from_this_machine_and_its_pods_alone(web: str, image: str) -> None:
    own()
    ask = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3); print('reached')"
    port = str(network.API_PORT)
    argv = ["python3", "-c", ask, network.ADDRESS, port]
    assert kubectl("exec", web, "--", *argv) == "reached\n"
    with pytest.raises(CommandFailed, match=r"TimeoutError|timed out"):
        docker("run", "--rm", "--label", f"{LABEL}=1", image, *argv)


def test_a_given_cluster_is_used_and_nothing_is_made_or_stopped(cluster: None, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("kubectl", "helm"):
        (programs / name).symlink_to(kubernetes.program(name))
    given = {
        "RUNBOOK_LAB_KUBECONFIG": kubernetes.kubeconfig(), "RUNBOOK_LAB_DIR": str(tmp_path / "lab"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    before = kubernetes.kubectl("get", "namespaces", "--output", "name")
    running = kubernetes.status()
    up = lab("up", "kubernetes", **given)
    assert (up.returncode, up.stdout.split(":")[0]) == (0, "kubernetes  stands already"), up.stderr
    assert "Removed: nothing" in lab("down", "kubernetes", "--data", **given).stdout
    assert not (tmp_path / "lab").exists() and not (tmp_path / "cache").exists()
    assert kubernetes.kubectl("get", "namespaces", "--output", "name") == before
    assert kubernetes.status() == running


def test_a_given_cluster_that_does_not_answer_is_named(cluster: None, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "kubectl").symlink_to(kubernetes.program("kubectl"))
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    gone = lab("up", "kubernetes", RUNBOOK_LAB_KUBECONFIG=str(tmp_path / "gone"), PATH=path)
    assert gone.returncode == 1
    assert (
        gone.stderr
        == f"RUNBOOK_LAB_KUBECONFIG is {tmp_path}/gone, which is not there: give the path of a kubeconfig.\n"
    )
    silent = tmp_path / "silent"
    silent.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": "https://127.0.0.1:1"}}], "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    }))  # fmt: skip
    told = lab("up", "kubernetes", RUNBOOK_LAB_KUBECONFIG=str(silent), PATH=path)
    assert told.returncode == 1
    assert told.stderr.startswith(f"RUNBOOK_LAB_KUBECONFIG is {silent}, where no cluster answers: ")


@pytest.mark.parametrize("go", ["", "go1.22.1"])
@pytest.mark.parametrize(
    ("title", "otherwise"),
    [("Kubernetes", ", or name a cluster's kubeconfig in RUNBOOK_LAB_KUBECONFIG"), ("MinIO", "")],
)
def test_without_a_go_that_can_build_it_one_sentence_says_so(
    tmp_path: Path, go: str, title: str, otherwise: str
) -> None:
    if os.geteuid():
        pytest.skip("NOT RUN: only root on Debian would have a cluster built")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "apt-get").symlink_to("/usr/bin/apt-get")
    if go:
        (programs / "go").write_text(f"#!/bin/sh\necho {go}\n")
        (programs / "go").chmod(0o755)
    told = lab("up", title.lower(), PATH=str(programs), XDG_CACHE_HOME=str(tmp_path / "cache"),
               RUNBOOK_LAB_DIR=str(tmp_path / "lab"), RUNBOOK_LAB_KUBECONFIG="")  # fmt: skip
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr == (
        f"{title} is built from its sources, and {f'this Go is {go}' if go else 'there is no Go here'}: install Go 1.24 "
        f"or newer{otherwise}.\n"
    )
    assert not (tmp_path / "lab").exists() and not (tmp_path / "cache").exists()
