# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What releases and warnings come to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from .._durations import human_duration
from .._records import format_time
from .._runtime.releases import DEPLOYED, FAILED, PENDING, Event, Release
from .finding import Finding, Level
from .services import SETTLED

UNDERWAY = timedelta(minutes=15)
"""Helm waits five minutes unless it is told otherwise; what has been pending for three times that long, nobody is at."""

SHOWN = 5
"""Of the warnings, the newest; a cluster in trouble has hundreds that say the same."""


def judge_releases(found: Sequence[Release], expected: str | None, now: datetime) -> list[Finding]:
    """Every release that there is, and the one that the description names where it is not there."""
    names = sorted(release.name for release in found)
    missing = []
    if expected and expected not in names:
        remedy = f"deploy it, or correct runtime.release; there are: {', '.join(names) or 'none'}"
        missing = [Finding(expected, Level.RED, "is no Helm release here", remedy)]
    judged = [_judge_release(release, now) for release in sorted(found, key=lambda release: release.name)]
    return missing + judged


def _judge_release(release: Release, now: datetime) -> Finding:
    age = now - release.since if release.since else timedelta(0)
    lasting = f" for {human_duration(age.total_seconds())}" if release.since else ""
    facts = {
        "revision": release.revision,
        "status": release.status,
        "since": release.since and format_time(release.since),
        "age_seconds": release.since and int(age.total_seconds()),
    }
    if release.status == DEPLOYED:
        return Finding(release.name, facts=facts)
    back = f"helm history {release.name} shows the last revision that was well; helm rollback brings it back"
    if release.status in PENDING and age < UNDERWAY:
        return Finding(
            release.name, Level.AMBER, f"is {release.status}{lasting}", "look again when Helm has ended", facts
        )
    if release.status in PENDING:
        return Finding(
            release.name,
            Level.RED,
            f"has been {release.status}{lasting}: the Helm that did it was interrupted",
            back,
            facts,
        )
    reason = "failed to be deployed" if release.status == FAILED else f"is {release.status}"
    return Finding(release.name, Level.RED, f"{reason}, revision {release.revision}", back, facts)


def judge_events(found: Sequence[Event], now: datetime) -> list[Finding]:
    """The newest warnings. A fresh one is amber; an older one has been overcome, or something else is not green."""
    newest = sorted((event for event in found if event.last), key=lambda event: event.last or now, reverse=True)
    return [_judge_event(event, event.last, now) for event in newest[:SHOWN] if event.last]


def _judge_event(event: Event, last: datetime, now: datetime) -> Finding:
    age = now - last
    facts = {"event": event.reason, "message": event.message, "count": event.count, "last": format_time(last),
             "age_seconds": int(age.total_seconds())}  # fmt: skip
    if age >= SETTLED:
        return Finding(event.object, facts=facts)
    times = f", {event.count} times" if event.count > 1 else ""
    remedy = f"kubectl describe {event.object.lower()} tells all of it"
    return Finding(event.object, Level.AMBER, f"{event.reason}{times}: {event.message}", remedy, facts)
