# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services on Kubernetes: pods of one namespace, found by their labels or by the workload that made them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Any

from .._errors import InputError, PlatformError, RunbookError
from ._kubectl import Kubectl
from ._kubectl_errors import Refusal
from ._manifest import manifest
from ._namespace import releases, warnings
from ._pod import PodInstance
from ._pod_services import services
from ._pods import Answer, Pod, container_status, ready, state
from ._scratch_pod import twin_of
from ._workloads import KINDS, selector_of, workloads
from .base import Instance, Limits, Runtime
from .local import LocalInstance
from .releases import Event, Release
from .services import Service

_KEYS = ("type", "context", "namespace", "kubeconfig", "container", "release", "scratch_namespace")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_MANY = 20
"""Names of an answer to a misspelt one; a cluster may have hundreds."""


class KubernetesRuntime(Runtime):
    """The pods of one namespace, and, where no service is named, the host itself."""

    type = "kubernetes"

    def __init__(
        self, kubectl: Kubectl, namespace: str, *, container: str | None = None, release: str | None = None,
        scratch_namespace: str | None = None,
    ) -> None:  # fmt: skip
        self.kubectl = kubectl
        self.namespace = namespace
        self._container = container
        self.release = release
        self._scratch_namespace = scratch_namespace

    @classmethod
    def declared(cls, declared: Mapping[str, object]) -> KubernetesRuntime:
        """From ``runbook_runtime``; connects to nothing yet."""
        for key, value in declared.items():
            if key not in _KEYS:
                raise InputError(f"runtime has {key!r}: a kubernetes runtime has {', '.join(_KEYS)}.")
            if value is not None and not isinstance(value, str):
                raise InputError(f"runtime.{key} is {value!r}: give a text.")
        given = {key: str(value) for key, value in declared.items() if value}
        namespace = given.get("namespace", "")
        if not _NAME.fullmatch(namespace):
            raise InputError(
                f"runtime.namespace is {declared.get('namespace')!r}: give the namespace of the system's pods, as "
                "`kubectl get namespaces` has it."
            )
        scratch = given.get("scratch_namespace")
        if scratch is not None and not _NAME.fullmatch(scratch):
            raise InputError(f"runtime.scratch_namespace is {scratch!r}: give a namespace's name.")
        if scratch == namespace:
            raise InputError(
                f"runtime.scratch_namespace is {scratch!r}, where production runs: give a namespace of its own, in which nothing "
                "but backups is tried out."
            )
        kubectl = Kubectl(given.get("kubeconfig"), given.get("context"))
        options = {"container": given.get("container"), "release": given.get("release"), "scratch_namespace": scratch}
        return cls(kubectl, namespace, **options)

    def resolve(self, service: str, variable: str = "service") -> Instance:
        if not service:
            return LocalInstance()
        pods = self._pods_of(service, variable)
        serving = [pod for pod in pods if ready(pod)]
        if len(serving) > 1:
            raise InputError(
                f"{variable} is {service!r}, of which {len(serving)} pods are ready ({_listed(map(_name, serving))}): name labels, "
                "or a workload, of the one that has the data."
            )
        if not serving:
            raise PlatformError(
                f"{variable} is {service!r}, which has no ready pod ({_listed(f'{_name(pod)} {state(pod)}' for pod in pods)}): "
                "start it, or see in its log and its events why it does not serve."
            )
        return ServicePod(self._meant(serving[0], variable), self._scratch_namespace)

    def inspect_services(self) -> list[Service]:
        found = workloads(self.kubectl, self.namespace)
        pods = self.kubectl.get(f"/api/v1/namespaces/{self.namespace}/pods")["items"]
        return services(found, pods)

    def inspect_releases(self) -> list[Release]:
        return releases(self.kubectl, self.namespace)

    def recent_warnings(self) -> list[Event]:
        return warnings(self.kubectl, self.namespace)

    def manifest(self, name: str, variable: str) -> bytes:
        return manifest(self.kubectl, self.namespace, name, variable)

    def _pods_of(self, service: str, variable: str) -> list[Answer]:
        selector = service
        kind, _slash, name = service.partition("/")
        if name and "=" not in service:
            if kind not in KINDS or not _NAME.fullmatch(name.replace(".", "-")):
                raise InputError(
                    f"{variable} is {service!r}: give labels (app=postgres) or a workload ({', '.join(f'{kind}/NAME' for kind in KINDS)})."
                )
            try:
                selector = str(selector_of(self.kubectl, self.namespace, kind, name))
            except Refusal as refusal:
                if refusal.reason != "NotFound":
                    raise
                raise InputError(f"{variable} is {service!r}, {self._what_there_is()}") from None
            if not selector:
                raise InputError(
                    f"{variable} is {service!r}, whose selector is empty: give labels of its pods (app=postgres)."
                )
        elif "=" not in service:
            raise InputError(
                f"{variable} is {service!r}: give labels of its pods (app={service}), or a workload (statefulset/{service})."
            )
        found: list[Answer] = self.kubectl.get(f"/api/v1/namespaces/{self.namespace}/pods", labelSelector=selector)[
            "items"
        ]
        if not found:
            raise InputError(f"{variable} is {service!r}, {self._what_there_is()}")
        return found

    def _meant(self, pod: Answer, variable: str) -> Pod:
        names = [container["name"] for container in pod["spec"]["containers"]]
        container = self._container or names[0]
        if container not in names:
            raise InputError(
                f"runtime.container is {container!r}, which {_name(pod)} does not have: it has {_listed(names)}."
            )
        restarts = container_status(pod, container).get("restartCount", 0)
        return Pod(self.kubectl, self.namespace, _name(pod), container, pod["metadata"]["uid"], restarts)

    def _what_there_is(self) -> str:
        with suppress(RunbookError):  # an account that may not list them can still be told the rest
            named = [f"{found.name} ({found.selector})" for found in workloads(self.kubectl, self.namespace)]
            if named:
                return f"which the namespace {self.namespace} does not have: it has {_listed(named)}."
        with suppress(RunbookError):
            names = [_name(found) for found in self.kubectl.get("/api/v1/namespaces")["items"]]
            if self.namespace not in names:
                return (
                    f"but the cluster has no namespace {self.namespace}: it has {_listed(names)}. Correct runtime.namespace, or "
                    "runtime.context."
                )
        return (
            f"but the namespace {self.namespace} shows no such pods: correct runtime.namespace, or deploy the system."
        )


class ServicePod(PodInstance):
    """The pod of a service, whose image has what a backup of it is restored with."""

    def __init__(self, pod: Pod, scratch_namespace: str | None) -> None:
        super().__init__(pod)
        self._scratch_namespace = scratch_namespace

    def twin(self, limits: Limits, user: str) -> AbstractContextManager[Instance]:
        return twin_of(self, self._scratch_namespace, limits, user)


def _name(found: Mapping[str, Any]) -> str:
    return str(found["metadata"]["name"])


def _listed(names: Iterable[str]) -> str:
    told = list(names)
    rest = f" and {len(told) - _MANY} more" if len(told) > _MANY else ""
    return ", ".join(told[:_MANY]) + rest
