# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a system from all sides at once; a side that cannot be seen in time is a line, and keeps no other waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from .._errors import RunbookError
from .._records import utc_now
from .._runtime.base import Runtime
from .disks import disks, judge_disk
from .endpoints import Endpoint, ask, judge_endpoint
from .finding import Finding, Level
from .releases import judge_events, judge_releases
from .services import judge_services

LOOK_SECONDS = 5.0
"""For what has no time limit of its own. The whole screen is to be there in 10 s."""

Findings = list[Finding]


@dataclass(frozen=True)
class Look:
    """One side of a system: what looks, how long it may take, and what it means when nothing could be seen."""

    see: Callable[[], Findings]
    seconds: float
    unseen: Callable[[str], Findings]


def services(runtime: Runtime, expected: Sequence[str]) -> Look:
    def unseen(reason: str) -> Findings:
        remedy = "mend that first: nothing else about the services is known"
        return [Finding("services", Level.RED, f"cannot be seen: {reason}", remedy)]

    return Look(lambda: judge_services(runtime.inspect_services(), expected, utc_now()), LOOK_SECONDS, unseen)


def releases(runtime: Runtime) -> Look:
    """Amber where it cannot be seen: the services tell whether the system works."""

    def unseen(reason: str) -> Findings:
        remedy = "see whether this account may list the secrets in which Helm keeps its releases"
        return [Finding("releases", Level.AMBER, f"cannot be seen: {reason}", remedy)]

    return Look(lambda: judge_releases(runtime.inspect_releases(), runtime.release, utc_now()), LOOK_SECONDS, unseen)


def events(runtime: Runtime) -> Look:
    def unseen(reason: str) -> Findings:
        return [Finding("events", Level.AMBER, f"cannot be seen: {reason}", "see whether this account may list events")]

    return Look(lambda: judge_events(runtime.recent_warnings(), utc_now()), LOOK_SECONDS, unseen)


def one_endpoint(endpoint: Endpoint) -> Look:
    def unseen(reason: str) -> Findings:
        remedy = "something answers in drops, or its name is looked up in vain: try it by hand on this host"
        facts = {"url": endpoint.url, "status": None, "milliseconds": None}
        return [Finding(endpoint.name, Level.RED, reason, remedy, facts)]

    # The limit is for each wait; who answers in drops, or a name that is looked up for ever, is given up a little later.
    return Look(lambda: [judge_endpoint(endpoint, ask(endpoint))], endpoint.timeout + 1, unseen)


def file_systems(runtime: Runtime, directories: Sequence[str]) -> Look:
    def see() -> Findings:
        return [judge_disk(disk) for disk in disks([*directories, *_of_the_platform(runtime)])]

    def unseen(reason: str) -> Findings:
        remedy = "look at mounts with df on the host; a network file system that hangs is the usual cause"
        return [Finding("disks", Level.AMBER, f"cannot be seen: {reason}", remedy)]

    return Look(see, LOOK_SECONDS, unseen)


def _of_the_platform(runtime: Runtime) -> list[str]:
    """Its own directories; none where it does not say, which the services tell already."""
    found: list[str] = []

    def ask() -> None:
        with suppress(RunbookError):
            found.extend(runtime.directories())

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(LOOK_SECONDS / 2)
    return list(found)


def jobs(see: Callable[[], Findings]) -> Look:
    """The scheduled jobs, whose records lie on the host."""

    def unseen(reason: str) -> Findings:
        return [Finding("schedules", Level.AMBER, f"cannot be seen: {reason}", "schedule.yml installs them anew")]

    return Look(see, LOOK_SECONDS, unseen)


def take(sides: Mapping[str, Look]) -> dict[str, Findings]:
    """Every side, in threads that nobody waits for once their time is over: they end with the process."""
    seen: dict[str, Findings] = {}

    def work(name: str, look: Look) -> None:
        try:
            found = look.see()
        except Exception as error:  # whatever it is, it is a line of the report and not its end
            said = str(error) if isinstance(error, RunbookError) else f"{type(error).__name__}: {error}"
            found = look.unseen(said.rstrip("."))
        seen[name] = found

    began = time.monotonic()
    threads = {name: threading.Thread(target=work, args=(name, look), daemon=True) for name, look in sides.items()}
    for thread in threads.values():
        thread.start()
    for name, thread in threads.items():
        thread.join(max(0.0, began + sides[name].seconds - time.monotonic()))
    return {
        name: seen[name] if name in seen else look.unseen(f"no answer in {look.seconds:g} s")
        for name, look in sides.items()
    }
