# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a scheduled job is due: its last success is older than the newest slot of its schedule, in UTC."""

from __future__ import annotations

from datetime import datetime, timedelta

from ._require import require
from ._scheduling.slots import parse_slots


def check_schedule(variable: str, expression: object) -> str:
    """A five-field cron expression that a timer can be made of as well, or ``InputError``."""
    parse_slots(variable, expression)
    return str(expression).strip()


def newest_slot(expression: str, now: datetime) -> datetime:
    """The newest moment at or before ``now`` that the schedule names."""
    slots = require("croniter", "croniter").croniter(expression, now + timedelta(seconds=1))
    slot: datetime = slots.get_prev(datetime)
    return slot


def next_slot(expression: str, now: datetime) -> datetime:
    """The first moment after ``now`` that the schedule names."""
    slot: datetime = require("croniter", "croniter").croniter(expression, now).get_next(datetime)
    return slot


def due_since(expression: str, last_success: datetime | None, now: datetime) -> datetime | None:
    """The slot that the job is due for, or ``None`` while its last success serves the newest slot."""
    slot = newest_slot(expression, now)
    return slot if last_success is None or last_success < slot else None
