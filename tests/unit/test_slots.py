# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cron expressions: the same moments as croniter's, and the same in systemd's words."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import InputError
from ansible_collections.runbook.ops.plugins.module_utils._schedule import newest_slot, next_slot
from ansible_collections.runbook.ops.plugins.module_utils._scheduling.slots import parse_slots
from hypothesis import given, settings
from hypothesis import strategies as st

MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]


def field(first: int, last: int, names: list[str] | None = None) -> st.SearchStrategy[str]:
    """What may stand in a field: ``*``, numbers, names, ranges, steps, and lists of them."""

    def written(number: int, named: bool) -> str:
        return names[number - first] if names and named and number - first < len(names) else str(number)

    def span(low: int, high: int, named: bool) -> str:
        low, high = sorted((low, high))
        return f"{written(low, named)}-{written(high, named)}" if low < high else written(low, named)

    number, step = st.integers(first, last), st.integers(1, max(2, last // 2))
    spans = st.builds(span, number, number, st.booleans())
    stepped = st.builds(lambda span, step: f"{span}/{step}" if "-" in span else span, spans, step)
    parts = st.one_of(spans, stepped, step.map(lambda step: f"*/{step}"))
    return st.one_of(st.just("*"), number.map(str), st.lists(parts, min_size=1, max_size=3).map(",".join))


EXPRESSIONS = st.tuples(
    field(0, 59), field(0, 23), field(1, 28), field(1, 12, MONTHS), field(0, 6, WEEKDAYS)
).map(" ".join)  # fmt: skip
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(timezone.utc))


@settings(max_examples=400, deadline=None)
@given(EXPRESSIONS, MOMENTS)
def test_it_names_croniters_moments(expression: str, now: datetime) -> None:
    slots = parse_slots("s", expression)
    assert slots.next(now) == next_slot(expression, now)
    whole = now.replace(microsecond=0)
    assert slots.newest(whole) == newest_slot(expression, whole)


def elapses(calendar: str, now: datetime) -> datetime:
    """When systemd itself says that an ``OnCalendar=`` elapses next."""
    argv = ["systemd-analyze", "calendar", f"--base-time={now:%Y-%m-%d %H:%M:%S} UTC", calendar]
    said = subprocess.run(argv, capture_output=True, text=True, check=True, env={"TZ": "UTC", "PATH": "/usr/bin:/bin"})
    found = re.search(r"Next elapse: \w+ (\S+ \S+) UTC", said.stdout)
    assert found, said.stdout
    return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="NOT RUN: there is no systemd-analyze")
@settings(max_examples=60, deadline=None)
@given(EXPRESSIONS, MOMENTS)
def test_systemd_names_the_same_moments(expression: str, now: datetime) -> None:
    now = now.replace(microsecond=0)
    slots = parse_slots("s", expression)
    assert min(elapses(calendar, now) for calendar in slots.on_calendar()) == slots.next(now)


@pytest.mark.parametrize(
    ("expression", "calendar"),
    [
        ("0 2 * * *", ["*-*-* 02:00:00 UTC"]),
        ("*/15 * * * *", ["*-*-* *:00,15,30,45:00 UTC"]),
        ("0 4 1 * *", ["*-*-01 04:00:00 UTC"]),
        ("30 4 * * 7", ["Sun *-*-* 04:30:00 UTC"]),
        ("0 0 13 * fri", ["*-*-13 00:00:00 UTC", "Fri *-*-* 00:00:00 UTC"]),
        ("0 0 29 2 *", ["*-02-29 00:00:00 UTC"]),
        ("5/20 1-3 * jan,Jul 1-5", ["Mon,Tue,Wed,Thu,Fri *-01,07-* 01,02,03:05,25,45:00 UTC"]),
    ],
)
def test_in_systemds_words(expression: str, calendar: list[str]) -> None:
    assert parse_slots("s", expression).on_calendar() == calendar


def test_a_leap_day_is_found_across_a_century() -> None:
    slots = parse_slots("s", "0 0 29 2 *")
    assert slots.next(datetime(2096, 3, 1, tzinfo=timezone.utc)) == datetime(2104, 2, 29, tzinfo=timezone.utc)
    assert slots.newest(datetime(2104, 2, 28, tzinfo=timezone.utc)) == datetime(2096, 2, 29, tzinfo=timezone.utc)


def test_a_slot_is_served_at_its_own_second() -> None:
    slots, slot = parse_slots("s", "0 2 * * *"), datetime(2026, 3, 1, 2, tzinfo=timezone.utc)
    assert slots.newest(slot) == slot and slots.newest(slot - timedelta(seconds=1)) == slot - timedelta(days=1)
    assert slots.next(slot) == slot + timedelta(days=1)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("0 2 * *", "no five-field cron expression"),
        ("@daily", "no five-field cron expression"),
        ("0 0 2 * * *", "no five-field cron expression"),
        ("60 2 * * *", "minute '60'"),
        ("0 24 * * *", "hour '24'"),
        ("0 2 l * *", "day 'l'"),
        ("0 2 * * fri#1", "weekday 'fri#1'"),
        ("0 2 * foo *", "month 'foo'"),
        ("0 2 5-1 * *", "day '5-1'"),
        ("*/0 * * * *", "minute '*/0'"),
        ("h * * * *", "minute 'h'"),
        ("²  2 * * *", "minute '²'"),
        ("1,,2 * * * *", "minute '1,,2'"),
        ("0 2 30 2 *", "a date that no year has"),
        ("0 2 31 4,6 *", "a date that no year has"),
        (None, "no five-field cron expression"),
    ],
)
def test_what_cannot_be_written_is_told(expression: object, said: str) -> None:
    with pytest.raises(InputError, match=r"schedules\.backup is") as refused:
        parse_slots("schedules.backup", expression)
    assert said in str(refused.value)
