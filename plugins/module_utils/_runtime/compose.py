# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services of a compose project, found by the labels that compose sets; nothing of compose itself is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager

from .._errors import InputError, PlatformError
from ._compose_services import PROJECT, services
from ._container import ContainerInstance
from ._docker import DEFAULT, Docker
from ._twin import twin_of
from .base import Instance, Limits, Runtime
from .local import LocalInstance
from .services import HEALTHY, RUNNING, UNCHECKED, Replica, Service

_KEYS = ("type", "project", "docker_host")


class ServiceContainer(ContainerInstance):
    """The container of a service, whose image has what a backup of it is restored with."""

    def twin(self, limits: Limits, user: str) -> AbstractContextManager[Instance]:
        return twin_of(self._docker, self.name, limits, user)


class ComposeRuntime(Runtime):
    """The services of one project, and, where no service is named, the Docker host itself."""

    type = "compose"

    def __init__(self, project: str, docker: Docker) -> None:
        self._project = project
        self._docker = docker

    @classmethod
    def declared(cls, declared: Mapping[str, object]) -> ComposeRuntime:
        """From ``runbook_runtime``; connects to nothing yet."""
        for key in declared:
            if key not in _KEYS:
                raise InputError(f"runtime has {key!r}: a compose runtime has {', '.join(_KEYS)}.")
        project = declared.get("project")
        if not project or not isinstance(project, str):
            raise InputError(
                f"runtime.project is {project!r}: give the compose project's name, as `docker compose ls` has it."
            )
        return cls(project, Docker(str(declared.get("docker_host") or DEFAULT)))

    def resolve(self, service: str, variable: str = "service") -> Instance:
        if not service:
            return LocalInstance()
        there = {found.name: found for found in self.inspect_services()}
        if service not in there:
            raise InputError(f"{variable} is {service!r}, {self._what_there_is(there)}")
        serving = [replica for replica in there[service].replicas if _serves(replica)]
        if len(serving) > 1:
            raise InputError(
                f"{variable} is {service!r}, which runs {len(serving)} times ({_listed(each.name for each in serving)}): "
                "scale it to one, or name the service that has the data."
            )
        if not serving:
            raise PlatformError(
                f"{variable} is {service!r}, which has no healthy container ({_listed(map(_told, there[service].replicas))}): "
                "start it, or see in its log why it does not serve."
            )
        return ServiceContainer(self._docker, serving[0].name)

    def inspect_services(self) -> list[Service]:
        return services(self._docker, self._project)

    def directories(self) -> list[str]:
        return [str(self._docker.get("/info")["DockerRootDir"])]

    def _what_there_is(self, there: Iterable[str]) -> str:
        if there:
            return f"which the compose project {self._project!r} does not have: it has {_listed(there)}."
        found = self._docker.get("/containers/json", all="true", filters={"label": [PROJECT]})
        projects = sorted({str(each["Labels"][PROJECT]) for each in found})
        return (
            f"but the compose project {self._project!r} has no containers on this host, which has "
            f"{_listed(projects) or 'none of any'}: correct runtime.project, or start the project."
        )


def _serves(replica: Replica) -> bool:
    return replica.state == RUNNING and replica.health in (HEALTHY, UNCHECKED)


def _told(replica: Replica) -> str:
    state = replica.health if replica.state == RUNNING else replica.state
    return f"{replica.name} is {state}{f', {replica.detail}' if replica.detail else ''}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
