# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a namespace tells beside its pods: Helm's releases, and warnings."""

from __future__ import annotations

from .._records import parse_time
from ._kubectl import Kubectl
from ._pods import Answer
from .releases import Event, Release


def releases(kubectl: Kubectl, namespace: str) -> list[Release]:
    """The last revision of each. Its labels say all; what Helm keeps in the secret itself is left alone, and of revisions
    that others replaced, which are most, it is not even sent."""
    selector = "owner=helm,status!=superseded"
    newest: dict[str, Release] = {}
    for secret in kubectl.get(f"/api/v1/namespaces/{namespace}/secrets", labelSelector=selector)["items"]:
        labels = secret["metadata"]["labels"]
        found = Release(
            labels["name"],
            int(labels["version"]),
            labels["status"],
            parse_time(secret["metadata"]["creationTimestamp"]),
        )
        if found.name not in newest or newest[found.name].revision < found.revision:
            newest[found.name] = found
    return list(newest.values())


def warnings(kubectl: Kubectl, namespace: str) -> list[Event]:
    listed = kubectl.get(f"/api/v1/namespaces/{namespace}/events", fieldSelector="type=Warning")["items"]
    return [event_of(found) for found in listed]


def event_of(found: Answer) -> Event:
    """One event. Pure."""
    about, reason = found["involvedObject"], found.get("reason", "")
    message = " ".join((found.get("message") or "").split())
    if reason == "Unhealthy":
        message = message.partition(":")[0]  # then comes what a probe printed, which may hold a secret
    series = found.get("series") or {}
    last = series.get("lastObservedTime") or found.get("lastTimestamp") or found.get("eventTime")
    moment = last or found["metadata"]["creationTimestamp"]
    return Event(
        object=f"{about['kind']}/{about['name']}",
        reason=reason,
        message=message,
        count=series.get("count") or found.get("count") or 1,
        last=parse_time(f"{moment.partition('.')[0].rstrip('Z')}Z"),
    )
