# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a service's replicas come to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from .._durations import human_duration
from .._records import format_time
from .._runtime.services import COMPLETED, PAUSED, RESTARTING, RUNNING, STOPPED, UNHEALTHY, UNPROVEN, Replica, Service
from .finding import Finding, Level

SETTLED = timedelta(minutes=10)
"""A replica that its platform restarted and that has run for less may go down again."""


def judge_services(found: Sequence[Service], expected: Sequence[str], now: datetime) -> list[Finding]:
    """Every service that there is, and every expected one that is not.

    Without a list of those expected, all that there are must run; with one, the others are shown and count for nothing.
    """
    names = {service.name for service in found}
    missing = [
        Finding(
            name,
            Level.RED,
            "is expected and not there",
            f"deploy it, or correct runbook_services; there are: {', '.join(sorted(names)) or 'none'}",
        )
        for name in expected
        if name not in names
    ]
    if not found and not expected:
        remedy = "deploy the system, or correct what runbook_runtime calls it"
        missing = [Finding("services", Level.RED, "there are none", remedy)]
    judged = [judge_service(service, expected, now) for service in found]
    return missing + sorted(judged, key=lambda finding: finding.object)


def judge_service(service: Service, expected: Sequence[str], now: datetime) -> Finding:
    """One service. Losing one of several replicas is a warning; losing all of them is losing the service."""
    named = service.name in expected
    judged = [_judge_replica(replica, named, now) for replica in service.replicas]
    facts = {"expected": named or not expected, "replicas": [_told(replica, now) for replica in service.replicas]}
    level, reason = max(judged, default=(Level.RED, "has no replica"))
    if not facts["expected"] or level == Level.GREEN:
        return Finding(service.name, facts=facts)
    if len(judged) > 1:
        well = sum(found == Level.GREEN for found, _reason in judged)
        reason = f"{well} of {len(judged)} replicas are well, one {reason}"
        level = Level.RED if min(judged)[0] == Level.RED else Level.AMBER
    return Finding(service.name, level, reason, _remedy(level, reason), facts)


def _judge_replica(replica: Replica, named: bool, now: datetime) -> tuple[Level, str]:
    lasting = f" for {human_duration((now - replica.since).total_seconds())}" if replica.since else ""
    restarts = f"{replica.restarts} restart{'' if replica.restarts == 1 else 's'}"
    young = replica.restarts > 0 and replica.since is not None and now - replica.since < SETTLED
    unready = replica.state != RUNNING or replica.health == UNPROVEN
    rules = (
        (
            replica.state == COMPLETED,
            Level.RED if named else Level.AMBER,
            f"ended well{lasting and ' and has been gone' + lasting}",
        ),
        (replica.state == STOPPED, Level.RED, f"has been stopped{lasting}"),
        (replica.state == RESTARTING, Level.RED, f"ends again and again, {restarts}"),
        (replica.state == PAUSED, Level.RED, f"has been paused{lasting}"),
        (replica.health == UNHEALTHY, Level.RED, "runs and is unhealthy"),
        (unready, Level.AMBER, "is starting"),
        (young, Level.AMBER, f"runs{lasting} only, after {restarts} by its platform"),
    )
    level, reason = next(((level, reason) for holds, level, reason in rules if holds), (Level.GREEN, ""))
    return level, f"{reason} ({replica.detail})" if reason and replica.detail else reason


def _remedy(level: Level, reason: str) -> str:
    if "ended well" in reason:
        return "start it if it is to run; if it is not, let runbook_services name those that are"
    if "paused" in reason:
        return "ask who paused it, then resume it"
    if level == Level.RED:
        return "its log says why; start it again, and roll back what was deployed last if it does not stay up"
    return "look again in a minute; its log says why if it stays so"


def _told(replica: Replica, now: datetime) -> dict[str, Any]:
    return {
        "name": replica.name,
        "state": replica.state,
        "health": replica.health,
        "image": replica.image,
        "digest": replica.digest,
        "restarts": replica.restarts,
        "since": replica.since and format_time(replica.since),
        "age_seconds": replica.since and int((now - replica.since).total_seconds()),
        "detail": replica.detail or None,
    }
