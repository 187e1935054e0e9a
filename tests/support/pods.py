# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods of a test's own, in namespaces of its own."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ansible_collections.runbook.ops.plugins.module_utils._runtime._pod import PodInstance
from ansible_collections.runbook.ops.plugins.module_utils._runtime.kubernetes import KubernetesRuntime
from support.containers import Server
from support.processes import until

from lab import images, kubernetes
from lab.place import LABEL

IDLE = ("sh", "-c", "trap exit TERM; while :; do sleep 1000 & wait; done")
SECONDS = 300


def kubectl(*arguments: str, stdin: str = "", timeout: float = SECONDS) -> str:
    return kubernetes.kubectl(*arguments, stdin=stdin, timeout=timeout)


def apply(told: dict[str, Any]) -> None:
    kubectl("apply", "--filename", "-", stdin=json.dumps(told))


def get(namespace: str, kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kubectl("--namespace", namespace, "get", kind, name, "--output", "json"))
    return found


@contextmanager
def namespace() -> Iterator[str]:
    """A new one, gone with all that is in it."""
    name = f"test-{secrets.token_hex(4)}"
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {LABEL: "1"}}})
    try:
        until(lambda: "default" in kubectl("--namespace", name, "get", "serviceaccounts"), seconds=SECONDS)
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=false")


def described(
    name: str, *, labels: dict[str, str], image: str = "base", argv: tuple[str, ...] = IDLE,
    container: dict[str, Any] | None = None, **spec: Any,
) -> dict[str, Any]:  # fmt: skip
    """A pod of one container; ``container`` and ``spec`` say more of both."""
    made = {
        "name": "main", "image": kubernetes.image(images.ensure(image)), "imagePullPolicy": "IfNotPresent",
        "args": list(argv), **(container or {}),
    }  # fmt: skip
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
        "spec": {
            "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False, "enableServiceLinks": False,
            "containers": [made], **spec,
        },
    }  # fmt: skip


def pod(namespace: str, name: str, *, wait: bool = True, labels: dict[str, str] | None = None, **more: Any) -> str:
    """A pod with the label ``app=name``; its name. ``wait`` until it is ready."""
    told = described(name, labels={"app": name, **(labels or {})}, **more)
    kubectl("--namespace", namespace, "create", "--filename", "-", stdin=json.dumps(told))
    if wait:
        kubectl("--namespace", namespace, "wait", "--for=condition=Ready", f"pod/{name}", f"--timeout={SECONDS}s")
    return name


def on(namespace: str, **declared: str) -> KubernetesRuntime:
    """The runtime of a namespace, whether there is such a one or not."""
    context = kubernetes.context()
    given = {"type": "kubernetes", "kubeconfig": kubernetes.kubeconfig(), "namespace": namespace}
    return KubernetesRuntime.declared({**given, **({"context": context[0]} if context else {}), **declared})


def programs(namespace: str, name: str) -> list[str]:
    """What runs in a pod of ours that is idle but for it."""
    look = 'for p in /proc/[0-9]*; do tr "\\0" " " <$p/cmdline 2>/dev/null && echo; done'
    listed = kubectl("--namespace", namespace, "exec", name, "--", "sh", "-c", look).splitlines()
    idle = ("sh -c trap exit", "sleep 1000 ", f"sh -c {look[:10]}", "tr ")
    return [argv.strip() for argv in listed if argv.strip() and not argv.startswith(idle)]


@dataclass(frozen=True)
class PodServer(Server):
    """A database's server in the pod ``container`` of the namespace ``project``; proved in the namespace ``scratch``."""

    scratch: str = ""

    @cached_property
    def _instance(self) -> PodInstance:
        found = on(self.project, scratch_namespace=self.scratch).resolve(f"app={self.container}")
        assert isinstance(found, PodInstance)
        return found

    @property
    def instance(self) -> PodInstance:
        return self._instance


@contextmanager
def postgres() -> Iterator[PodServer]:
    """Its password comes from a secret, as it does on a cluster that is well kept."""
    password = secrets.token_urlsafe(12)
    with namespace() as scratch, namespace() as name:
        kubectl("--namespace", name, "create", "secret", "generic", "login", f"--from-literal=password={password}")
        variable = {"name": "POSTGRES_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}}
        probe = {"exec": {"command": ["pg_isready", "-q", "-h", "127.0.0.1"]}, "periodSeconds": 1}
        pod(name, "db", image="postgres", container={"args": [], "env": [variable], "readinessProbe": probe})
        # The port is the pod's: tests reach it as the runtime does.
        made = PodServer(name, "db", "localhost", 5432, "postgres", password, scratch=scratch)
        try:
            yield made
        finally:
            made.instance.close()
