# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A compose project's services as the Engine knows them, found by the labels that compose sets."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from .._errors import Unreadable
from .._records import parse_time
from ._docker import Docker, Refusal
from .services import (
    COMPLETED,
    HEALTHY,
    PAUSED,
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

PROJECT, SERVICE, ONE_OFF = "com.docker.compose.project", "com.docker.compose.service", "com.docker.compose.oneoff"

_STATES = {
    "created": STARTING, "running": RUNNING, "restarting": RESTARTING, "paused": PAUSED, "exited": STOPPED,
    "removing": STOPPED, "dead": STOPPED,
}  # fmt: skip
_LASTING = ("always", "unless-stopped")
"""Restart policies of what is never done."""

_HEALTHS = {"healthy": HEALTHY, "unhealthy": UNHEALTHY, "starting": UNPROVEN}

Answer = Mapping[str, Any]


def services(docker: Docker, project: str) -> list[Service]:
    """Each service with all its containers, stopped ones too; what ``compose run`` started is none of them."""
    wanted = {"label": [f"{PROJECT}={project}"]}
    digests: dict[str, str] = {}
    found: dict[str, list[Replica]] = {}
    for listed in docker.get("/containers/json", all="true", filters=wanted):
        if listed["Labels"].get(ONE_OFF, "False").lower() == "true":
            continue
        with suppress(_Gone):
            container = _inspected(docker, listed["Id"])
            image = container["Image"]
            if image not in digests:
                digests[image] = _digest(docker, image)
            found.setdefault(listed["Labels"].get(SERVICE, ""), []).append(replica_of(container, digests[image]))
    return [Service(name, sorted(replicas, key=lambda r: r.name)) for name, replicas in sorted(found.items())]


class _Gone(Exception):
    """The container was removed since it was listed."""


def _inspected(docker: Docker, identity: str) -> Answer:
    try:
        answer: Answer = docker.get(f"/containers/{identity}/json")
    except Refusal as error:
        if error.status == 404:
            raise _Gone from None
        raise
    return answer


def _digest(docker: Docker, image: str) -> str:
    """What a registry knows the image by; one that was built here and never pushed has its own identity only."""
    with suppress(Refusal):  # an image may be deleted while its container runs
        for name in docker.get(f"/images/{image}/json").get("RepoDigests") or []:
            return str(name).rpartition("@")[2]
    return image


def replica_of(container: Answer, digest: str) -> Replica:
    """One container from the Engine's answer. Pure."""
    state, configuration = container["State"], container["Config"]
    lasting = bool(configuration.get("Healthcheck")) or container["HostConfig"]["RestartPolicy"]["Name"] in _LASTING
    word = _STATES.get(state["Status"])
    if word is None:
        raise Unreadable(
            f"The Engine says that {container['Name']} is {state['Status']!r}, which is no state known here."
        )
    if word == STOPPED and state["ExitCode"] == 0 and not lasting:
        word = COMPLETED
    health = (state.get("Health") or {}).get("Status", "none")
    return Replica(
        name=str(container["Name"]).lstrip("/"),
        state=word,
        health=_HEALTHS.get(health, UNCHECKED) if word == RUNNING else UNCHECKED,
        image=configuration["Image"],
        digest=digest,
        restarts=container["RestartCount"],
        since=_moment(state["FinishedAt"] if word in (STOPPED, COMPLETED, RESTARTING) else state["StartedAt"]),
        detail=_detail(word, state),
    )


def _detail(word: str, state: Answer) -> str:
    """Why, in numbers only: what a health check or a program printed may hold a secret."""
    if word in (STOPPED, RESTARTING):
        return "killed for want of memory" if state["OOMKilled"] else f"exit code {state['ExitCode']}"
    health = state.get("Health") or {}
    if word == RUNNING and health.get("Status") == "unhealthy":
        codes = [check["ExitCode"] for check in health.get("Log") or []][-1:]
        return f"its check failed {health['FailingStreak']} times" + "".join(f", exit code {code}" for code in codes)
    return ""


def _moment(text: str) -> datetime | None:
    """The Engine writes nanoseconds, and year 1 for never."""
    seconds = text.partition(".")[0].rstrip("Z")
    return None if seconds.startswith("0001-") else parse_time(f"{seconds}Z")
