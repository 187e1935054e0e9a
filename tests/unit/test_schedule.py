# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schedules in UTC: a job is due when its last success is older than the newest slot."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._schedule import due_since, newest_slot, next_slot


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("expression", "now", "newest", "following"),
    [
        ("0 2 * * *", "2026-03-01T03:00", "2026-03-01T02:00", "2026-03-02T02:00"),
        ("0 2 * * *", "2026-03-01T02:00", "2026-03-01T02:00", "2026-03-02T02:00"),
        ("0 2 * * *", "2026-03-01T01:59:59", "2026-02-28T02:00", "2026-03-01T02:00"),
        ("0 4 1 * *", "2024-02-29T12:00", "2024-02-01T04:00", "2024-03-01T04:00"),
        ("0 2 29 2 *", "2026-01-01T00:00", "2024-02-29T02:00", "2028-02-29T02:00"),
        (
            "30 2 * * *",
            "2026-03-29T02:45",
            "2026-03-29T02:30",
            "2026-03-30T02:30",
        ),  # no such hour in Zurich; UTC has it
        ("30 2 * * *", "2026-10-25T02:45", "2026-10-25T02:30", "2026-10-26T02:30"),  # twice in Zurich; UTC has it once
        ("0 9 * * 1", "2027-01-01T00:00", "2026-12-28T09:00", "2027-01-04T09:00"),
    ],
)
def test_slots(expression: str, now: str, newest: str, following: str) -> None:
    assert newest_slot(expression, at(now)) == at(newest)
    assert next_slot(expression, at(now)) == at(following)


@pytest.mark.parametrize(
    ("last", "due"),
    [
        (None, True),
        ("2026-02-28T02:00", True),
        ("2026-03-01T01:59:59", True),
        ("2026-03-01T02:00", False),
        ("2026-03-01T02:30", False),  # taken late still serves the slot
    ],
)
def test_due(last: str | None, due: bool) -> None:
    assert (due_since("0 2 * * *", at(last) if last else None, at("2026-03-01T03:00")) is not None) is due
