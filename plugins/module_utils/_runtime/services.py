# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a platform says of a system's services, in words that fit containers and pods alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

RUNNING, STARTING, RESTARTING, PAUSED, STOPPED, COMPLETED = STATES = (
    "running", "starting", "restarting", "paused", "stopped", "completed",
)  # fmt: skip
"""``completed`` ended by itself without a fault, as a job does; ``stopped`` is what ended otherwise, or was to run on."""

HEALTHY, UNHEALTHY, UNPROVEN, UNCHECKED = HEALTHS = ("healthy", "unhealthy", "starting", "unchecked")
"""What the platform's own health check found last; ``unchecked`` has none."""


@dataclass(frozen=True)
class Replica:
    """One container or pod. ``since`` is when its state began; ``restarts`` are the platform's, not the operator's."""

    name: str
    state: str
    health: str
    image: str
    digest: str | None
    restarts: int
    since: datetime | None
    detail: str = ""


@dataclass(frozen=True)
class Service:
    """A service and every replica the platform knows, those that do not run among them."""

    name: str
    replicas: Sequence[Replica]
