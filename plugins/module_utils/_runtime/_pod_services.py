# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workloads and their pods as services and replicas. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from .._records import parse_time
from ._pods import Answer, ready, state
from ._workloads import Workload
from .services import (
    HEALTHY,
    RESTARTING,
    RUNNING,
    STARTING,
    STOPPED,
    UNCHECKED,
    UNHEALTHY,
    UNPROVEN,
    Replica,
    Service,
)

_COMING = ("ContainerCreating", "PodInitializing", "")
"""A container that waits for anything else waits in vain until somebody mends it."""

_OVER = ("Succeeded", "Failed")


def services(found: Sequence[Workload], pods: Sequence[Answer]) -> list[Service]:
    """Each workload with its pods; one that it is to have and has not is a replica that is stopped. Pods that are over, or
    about to go, are replaced by others."""
    there = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"] and pod["status"]["phase"] not in _OVER]
    return [_service(workload, there) for workload in found]


def _service(workload: Workload, pods: Sequence[Answer]) -> Service:
    replicas = [replica_of(pod) for pod in pods if workload.selector.selects(pod["metadata"].get("labels", {}))]
    missing = [
        Replica(workload.name, STOPPED, UNCHECKED, "", None, 0, None, "has no pod: its events say why")
        for _each in range(workload.wanted - len(replicas))
    ]
    return Service(workload.name, sorted(replicas, key=lambda replica: replica.name) + missing)


def replica_of(pod: Answer) -> Replica:
    """One pod; of several containers the one that is least well stands for it."""
    declared = {container["name"]: container for container in pod["spec"]["containers"]}
    statuses = pod["status"].get("containerStatuses", [])
    shown = min(statuses, key=lambda status: (status["ready"], "running" in status["state"]), default=None)
    container = declared[shown["name"]] if shown else next(iter(declared.values()))
    word = _state(shown)
    health = _health(pod, container, shown) if word == RUNNING else UNCHECKED
    return Replica(
        name=pod["metadata"]["name"],
        state=word,
        health=health,
        image=container["image"],
        digest=shown["imageID"].rpartition("@")[2] or None if shown else None,
        restarts=sum(status["restartCount"] for status in statuses),
        since=_since(pod, shown),
        detail="" if ready(pod) else state(pod),
    )


def _state(status: Answer | None) -> str:
    if status is None:
        return STARTING
    if "running" in status["state"]:
        return RUNNING
    reason = (status["state"].get("waiting") or {}).get("reason", "")
    if "waiting" in status["state"] and reason in _COMING:
        return STARTING
    return RESTARTING if status["restartCount"] else STOPPED


def _health(pod: Answer, container: Answer, status: Answer | None) -> str:
    if ready(pod):
        return HEALTHY if "readinessProbe" in container or "livenessProbe" in container else UNCHECKED
    began = bool(status and (status.get("started") or "startupProbe" not in container))
    last = (status or {}).get("lastState", {}).get("terminated")
    return UNHEALTHY if began and (last or _was_ready(pod)) else UNPROVEN


def _was_ready(pod: Answer) -> bool:
    """A pod that turned unready long after it began had been ready; one that never was is still starting."""
    moments = {condition["type"]: condition["lastTransitionTime"] for condition in pod["status"].get("conditions", [])}
    begun = max(parse_time(moments[name]) for name in ("Initialized", "PodScheduled") if name in moments)
    return "Ready" in moments and (parse_time(moments["Ready"]) - begun).total_seconds() > 1


def _since(pod: Answer, status: Answer | None) -> datetime | None:
    if status is not None:
        running = status["state"].get("running") or {}
        ended = status["state"].get("terminated") or status.get("lastState", {}).get("terminated") or {}
        if moment := running.get("startedAt") or ended.get("finishedAt"):
            return parse_time(moment)
    return parse_time(pod["metadata"]["creationTimestamp"])
