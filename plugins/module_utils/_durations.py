# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations as operators write them: ``90s``, ``15m``, ``24h``, ``30d``, ``2w``; calendar months and years for policies."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from ._errors import InputError
from ._require import require

_TEXT = re.compile(r"\A(\d{1,18})([a-z])\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_LONGEST = timedelta(days=36500)
"""Longer, and dates and timers cannot hold it; it is also nobody's intention."""

_CALENDAR = {"h": "hours", "d": "days", "w": "weeks", "m": "months", "y": "years"}


def parse_duration(variable: str, text: object) -> timedelta:
    """A positive length of time: an integer and one of ``s m h d w`` (here ``m`` is minutes)."""
    match = _TEXT.match(str(text).strip())
    if not match or match[2] not in _SECONDS or int(match[1]) == 0:
        raise InputError(
            f"{variable} is {text!r}, which is no positive duration: write a whole number and s, m, h, d or w, such as 24h."
        )
    seconds = int(match[1]) * _SECONDS[match[2]]
    if seconds > _LONGEST.total_seconds():
        raise InputError(f"{variable} is {text!r}, which is too long: give at most {_LONGEST.days}d.")
    return timedelta(seconds=seconds)


def check_window(variable: str, text: object) -> str:
    """A positive retention window: an integer and one of ``h d w m y`` (here ``m`` is calendar months)."""
    match = _TEXT.match(str(text).strip())
    if not match or match[2] not in _CALENDAR or int(match[1]) == 0:
        raise InputError(
            f"{variable} is {text!r}, which is no positive window: write a whole number and h, d, w, m or y, such as 30d."
        )
    return match[0]


def before(moment: datetime, window: str) -> datetime:
    """``moment`` minus a window; months and years are the calendar's, clamped to the month's end."""
    match = _TEXT.match(window)
    if not match:
        raise InputError(f"{window!r} is no retention window.")
    relativedelta = require("dateutil.relativedelta", "python-dateutil").relativedelta
    try:
        earlier: datetime = moment - relativedelta(**{_CALENDAR[match[2]]: int(match[1])})
    except (OverflowError, ValueError):
        return datetime.min.replace(tzinfo=moment.tzinfo)
    return earlier


def human_duration(seconds: float) -> str:
    """A length of time in the two units a person would name: ``3d 4h``, ``12m``, ``8.9s``."""
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    for unit, lower, size in (("d", "h", 86400), ("h", "m", 3600)):
        if seconds >= size:
            whole, rest = divmod(int(seconds), size)
            part = rest // (3600 if lower == "h" else 60)
            return f"{whole}{unit} {part}{lower}" if part else f"{whole}{unit}"
    return f"{int(seconds) // 60}m"
