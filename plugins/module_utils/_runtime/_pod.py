# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs, files and ports of a running pod, through ``kubectl``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from weakref import finalize

from .._errors import PlatformError
from ._exec import Exec
from ._forward import Forward
from ._pod_exec import PodExec
from ._pods import Pod
from ._witness import PACKED
from ._witnessed import LOOPBACK, WitnessedInstance
from .base import Sink, Streamed


class PodInstance(WitnessedInstance):
    """One container of one pod."""

    on_this_host = False
    """Its node has set aside what it asked for, and is another machine as a rule."""

    def __init__(self, pod: Pod) -> None:
        self.name = pod.name
        self.pod = pod
        self._forwards: dict[int, Forward] = {}
        finalize(self, _close, self._forwards)

    def _started(
        self, argv: Sequence[str], env: Mapping[str, str] | None, source: Iterable[bytes] | None, timeout: float
    ) -> Exec:
        return PodExec(self.pod, argv, env, source, timeout)

    def stream(
        self, argv: Sequence[str], sink: Sink, *, timeout: float, env: Mapping[str, str] | None = None
    ) -> Streamed:
        """Packed where the pod can: the way out of a cluster costs more than zstd at its fastest."""
        return self._judged(argv, PodExec(self.pod, argv, env, None, timeout, way=PACKED), timeout, sink)

    def endpoint(self, host: str, port: int) -> tuple[str, int]:
        """The pod's own address where we are a pod of its cluster; else a way that ``kubectl`` opens, which lasts as long as
        this instance: that an address can be routed to does not prove that the pod answers there."""
        if host not in LOOPBACK:
            return host, port
        if self.pod.kubectl.inside:
            return self._address(), port
        if port not in self._forwards or not self._forwards[port].open:
            self.close(port)
            self._forwards[port] = Forward(self.pod, port)
        return "127.0.0.1", self._forwards[port].port

    def _address(self) -> str:
        address = self.pod.kubectl.get(self.pod.path)["status"].get("podIP")
        if not address:
            raise PlatformError(f"The pod {self.name} has no address: see whether it still runs.")
        return str(address)

    def close(self, *ports: int) -> None:
        """End the ways to these ports, or to all."""
        for port in ports or list(self._forwards):
            if port in self._forwards:
                self._forwards.pop(port).close()


def _close(forwards: dict[int, Forward]) -> None:
    for forward in forwards.values():
        forward.close()
