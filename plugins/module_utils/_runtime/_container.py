# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs and files of a running container, through the Engine's exec."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._errors import CommandFailed, PlatformError
from . import _direct
from ._docker import Docker, Refusal
from ._engine_exec import EngineExec, NotDirect
from ._exec import Exec
from ._witnessed import LOOPBACK, WitnessedInstance
from .base import Sink, Streamed


class ContainerInstance(WitnessedInstance):
    """One container; ``user`` is whom programs run as in it, the image's own account unless told otherwise."""

    def __init__(self, docker: Docker, name: str, user: str = "") -> None:
        self.name = name
        self._docker = docker
        self._user = user
        self._direct = _direct.may()

    def stream(
        self, argv: Sequence[str], sink: Sink, *, timeout: float, env: Mapping[str, str] | None = None
    ) -> Streamed:
        if self._direct:
            try:
                return self._judged(argv, self._exec(argv, env, None, timeout, direct=True), timeout, sink)
            except NotDirect:
                self._direct = False
        return super().stream(argv, sink, timeout=timeout, env=env)

    def _started(
        self, argv: Sequence[str], env: Mapping[str, str] | None, source: Iterable[bytes] | None, timeout: float
    ) -> Exec:
        return self._exec(argv, env, source, timeout)

    def _exec(
        self, argv: Sequence[str], env: Mapping[str, str] | None, source: Iterable[bytes] | None, timeout: float,
        *, direct: bool = False,
    ) -> Exec:  # fmt: skip
        try:
            return EngineExec(self._docker, self.name, self._user, argv, env, source, timeout, direct=direct)
        except Refusal as refusal:
            raise CommandFailed(
                f"{os.path.basename(argv[0])} could not be started in {self.name} ({refusal}): see whether it still runs."
            ) from None

    def endpoint(self, host: str, port: int) -> tuple[str, int]:
        if host not in LOOPBACK:
            return host, port
        found = self._docker.get(f"/containers/{self.name}/json")
        if found["HostConfig"]["NetworkMode"] == "host":
            return host, port
        return _reached(found["NetworkSettings"], port, self.name)


def _reached(network: Mapping[str, Any], port: int, name: str) -> tuple[str, int]:
    for attached in network["Networks"].values():
        if address := attached["IPAddress"] or attached["GlobalIPv6Address"]:
            return address, port
    for published in network["Ports"].get(f"{port}/tcp") or []:
        return published["HostIp"].replace("0.0.0.0", "127.0.0.1"), int(published["HostPort"])  # noqa: S104 - all addresses
    raise PlatformError(
        f"{name} has no address on any network and does not publish port {port}, so it cannot be reached from the host: "
        "attach it to a network, or publish the port."
    )
