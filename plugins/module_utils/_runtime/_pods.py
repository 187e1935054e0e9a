# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pod: its container in which programs run, and what became of it when one of them ended without a word."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .._errors import CommandFailed, RunbookError
from ._kubectl import Kubectl
from ._kubectl_errors import Refusal, complaint

Answer = Mapping[str, Any]

_FATE_SECONDS = 8.0
"""The kubelet tells the API server of what it saw within seconds."""

_SIGKILLED = 137
"""A node may learn that a container ended before it learns that it was for want of memory, and then never tells."""

_DISRUPTIONS = {
    "EvictionByEvictionAPI": "was evicted (a node is drained)",
    "DeletionByTaintManager": "was evicted from a node with a taint",
    "PreemptionByScheduler": "was evicted for a pod of a higher priority",
    "TerminationByKubelet": "was ended by its node, which lacks something or shuts down",
    "DeletionByPodGC": "was removed with its node",
}


@dataclass(frozen=True)
class Pod:
    """One container of one pod as it was when it was looked for; another one of the same name is another pod."""

    kubectl: Kubectl
    namespace: str
    name: str
    container: str
    uid: str
    restarts: int

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"

    def exec(self, argv: Sequence[str], *, stdin: bool) -> list[str]:
        where = [
            "--namespace",
            self.namespace,
            "exec",
            *(["--stdin"] if stdin else []),
            self.name,
            "--container",
            self.container,
        ]
        return self.kubectl.argv(*where, "--", *argv)

    def why_silent(self, said: str, *, begun: bool) -> RunbookError:
        """The error for a program that nobody told the end of; ``said`` is the end of stderr, ``kubectl``'s words among it."""
        told = complaint(said)
        fate = self._fate() if begun or told is None or "container not found" in told or "NotFound" in told else None
        if not begun:
            if fate:
                return CommandFailed(
                    f"Nothing could be started in {self.name}: it {fate}. Run again, which looks for the pod anew."
                )
            if said:
                return self.kubectl.refused(said)
        if fate:
            return CommandFailed(
                f"The pod {self.name} {fate} while the program ran, so what came is not whole: try again."
            )
        return CommandFailed(
            f"The stream from {self.name} ended before its end was told, so what came is not whole"
            f"{f' ({told})' if told else ''}: see whether the API server, or the pod's node, was restarted, and try again."
        )

    def _fate(self) -> str | None:
        deadline = time.monotonic() + _FATE_SECONDS
        while True:
            with suppress(RunbookError):  # the API server is away; perhaps that is all there is to tell
                if found := self._looked():
                    return found
            if time.monotonic() > deadline:
                return None
            time.sleep(0.5)

    def _looked(self) -> str | None:
        try:
            return fate(self, self.kubectl.get(self.path))
        except Refusal as refusal:
            if refusal.reason == "NotFound":
                return "was deleted"
            raise


def fate(before: Pod, now: Answer) -> str | None:
    """What befell the pod since, as the rest of a sentence that begins with its name; ``None`` if nothing did. Pure."""
    status = now["status"]
    conditions = status.get("conditions", [])
    disrupted: Answer = next((c for c in conditions if c["type"] == "DisruptionTarget" and c["status"] == "True"), {})
    ended = _ended(before, now)
    out_of_memory = ended.get("reason") == "OOMKilled"
    rules = (
        (now["metadata"]["uid"] != before.uid, "was deleted, and another of its name is there"),
        (status.get("reason") == "Evicted", f"was evicted ({_brief(status.get('message', ''))})"),
        (status.get("reason") == "DeadlineExceeded", "reached its deadline"),
        (out_of_memory, "was killed for want of memory (OOMKilled: its container's memory limit is too low)"),
        (disrupted, _DISRUPTIONS.get(disrupted.get("reason", ""), "was disrupted")),
        ("deletionTimestamp" in now["metadata"], "was deleted"),
        (
            ended.get("exitCode") == _SIGKILLED,
            f"was killed (exit code {_SIGKILLED}: mostly for want of memory, or by its probe)",
        ),
        (ended, f"lost its container ({ended.get('reason')}, exit code {ended.get('exitCode')})"),
        (status.get("phase") in ("Failed", "Succeeded"), f"ended ({status.get('reason') or status.get('phase')})"),
    )
    return next((told for holds, told in rules if holds), None)


def _ended(before: Pod, now: Answer) -> Answer:
    """How the container ended, if it did since."""
    found = container_status(now, before.container)
    ended: Answer = found.get("state", {}).get("terminated") or {}
    if not ended and found.get("restartCount", 0) > before.restarts:
        ended = found.get("lastState", {}).get("terminated") or {}
    return ended


def container_status(pod: Answer, container: str) -> Answer:
    """What the kubelet says of it; nothing while no node has the pod."""
    for found in pod["status"].get("containerStatuses", []):
        if found["name"] == container:
            return dict(found)
    return {}


def ready(pod: Answer) -> bool:
    """Running, ready by its own probes, and not about to go."""
    conditions = {condition["type"]: condition["status"] for condition in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def state(pod: Answer) -> str:
    """Why it is not ready, in the platform's own words. Pure."""
    status = pod["status"]
    if "deletionTimestamp" in pod["metadata"]:
        return "is being deleted"
    if status.get("reason"):
        return f"is {status['phase']} ({status['reason']})"
    told = [*map(_container_state, status.get("containerStatuses", [])), *map(_condition, status.get("conditions", []))]
    rest = _not_ready(status) if status.get("phase") == "Running" else f"is {status.get('phase', 'unknown')}"
    return next(filter(None, told), rest)


def _container_state(found: Answer) -> str:
    if waiting := found["state"].get("waiting"):
        last = found.get("lastState", {}).get("terminated")
        why = f", last {last['reason']} with exit code {last['exitCode']}" if last else ""
        return f"waits ({waiting.get('reason', 'no reason')}{why})"
    if ended := found["state"].get("terminated"):
        return f"has ended ({ended.get('reason', 'Error')}, exit code {ended['exitCode']})"
    return ""


def _condition(found: Answer) -> str:
    if found["type"] == "PodScheduled" and found["status"] != "True":
        return f"is on no node ({_brief(found.get('message', ''))})"
    return ""


def _not_ready(status: Answer) -> str:
    """Its kubelet calls a pod unready that has an unready container; one whose containers are all ready was called so by the
    cluster, which has not heard of the kubelet for a while."""
    gates = any(found.get("reason") == "ReadinessGatesNotReady" for found in status.get("conditions", []))
    containers = status.get("containerStatuses", [])
    if containers and all(found.get("ready") for found in containers) and not gates:
        return "is on a node that is not ready"
    return "is not ready"


def _brief(message: str) -> str:
    return " ".join(message.split())[:200].rstrip(". ") or "no reason is given"
