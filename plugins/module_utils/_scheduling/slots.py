# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cron expression as sets of numbers: its moments in UTC, and the same in systemd's words. Pure.

A host that is being set up has Python alone, and what will be installed there must be predictable already. So this needs
no library; tests hold it to croniter, by which everything else here decides what is due.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone

from .._errors import InputError

_MONTHS = {
    "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6,
    "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12,
}  # fmt: skip
_WEEKDAYS = {name: number for number, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("weekday", 0, 7, _WEEKDAYS),
)
_LONGEST_MONTH = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
_HORIZON = 366 * 9
"""Days to look ahead: a 29 February may be eight years away."""


@dataclass(frozen=True)
class Slots:
    """The moments that an expression names. ``days`` and ``weekdays`` are ``None`` where they do not restrict; where both do,
    one of them is enough, as cron has it."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int] | None
    months: frozenset[int]
    weekdays: frozenset[int] | None
    """Sunday is 0."""

    def newest(self, now: datetime) -> datetime:
        """The newest moment at or before ``now``."""
        return next(self._from(now, back=True))

    def next(self, now: datetime) -> datetime:
        """The first moment after ``now``."""
        return next(self._from(now, back=False))

    def _from(self, now: datetime, *, back: bool) -> Iterator[datetime]:
        """Moments in their order, away from ``now``."""
        times = sorted((time(hour, minute) for hour in self.hours for minute in self.minutes), reverse=back)
        for distance in range(_HORIZON):
            day = now.date() + timedelta(days=-distance if back else distance)
            for moment in times if self._names(day) else ():
                slot = datetime.combine(day, moment, timezone.utc)
                if (slot <= now) if back else (slot > now):
                    yield slot

    def _names(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        found = [day.day in self.days] if self.days else []
        found += [day.isoweekday() % 7 in self.weekdays] if self.weekdays else []
        return any(found) or not found

    def on_calendar(self) -> list[str]:
        """systemd's ``OnCalendar=`` expressions; two where both a day and a weekday are enough."""
        clock = f"{_listed(self.hours, 24)}:{_listed(self.minutes, 60)}:00 UTC"
        months = _listed(self.months, 12)
        names = [name.capitalize() for name in _WEEKDAYS]
        lines = []
        if self.days or not self.weekdays:
            lines.append(f"*-{months}-{_listed(self.days, 31) if self.days else '*'} {clock}")
        if self.weekdays:
            week = ",".join(names[weekday] for weekday in sorted(self.weekdays))
            lines.append(f"{week} *-{months}-* {clock}")
        return lines

    def cron(self) -> str:
        """The same as cron has it, where a day or a weekday is enough unless one of them is ``*``."""
        every_day = len(self.days or ()) == 31 or len(self.weekdays or ()) == 7
        days, weekdays = (None, None) if every_day else (self.days, self.weekdays)
        fields = ((self.minutes, 60), (self.hours, 24), (days, 31), (self.months, 12), (weekdays, 7))
        return " ".join(
            "*" if not numbers or len(numbers) == size else ",".join(str(number) for number in sorted(numbers))
            for numbers, size in fields
        )


def covering(slots: Sequence[Slots]) -> Slots:
    """The smallest that names every moment of them; it may name moments besides."""
    days = [each.days or frozenset() for each in slots]
    weekdays = [each.weekdays or frozenset() for each in slots]
    every_day = any(not each.days and not each.weekdays for each in slots)
    return Slots(
        frozenset().union(*(each.minutes for each in slots)),
        frozenset().union(*(each.hours for each in slots)),
        None if every_day else frozenset().union(*days) or None,
        frozenset().union(*(each.months for each in slots)),
        None if every_day else frozenset().union(*weekdays) or None,
    )


def parse_slots(variable: str, expression: object) -> Slots:
    """A five-field cron expression of numbers, names, lists, ranges and steps, or ``InputError``."""
    texts = str(expression).lower().split()
    if len(texts) != len(_FIELDS):
        raise InputError(
            f"{variable} is {expression!r}, which is no five-field cron expression: "
            "write minute, hour, day, month and weekday in UTC, such as '0 2 * * *'."
        )
    parsed = []
    for (name, first, last, names), text in zip(_FIELDS, texts, strict=True):
        try:
            parsed.append(
                frozenset(number for part in text.split(",") for number in _numbers(part, first, last, names))
            )
        except ValueError:
            raise InputError(
                f"{variable} is {expression!r}, whose {name} {text!r} cron and systemd do not both understand: "
                f"write * or numbers from {first} to {last}, with commas, ranges such as {first}-{first + 2} and steps such as */2."
            ) from None
    minutes, hours, days, months, weekdays = parsed
    weekdays = frozenset(weekday % 7 for weekday in weekdays)
    slots = Slots(
        minutes, hours,
        None if _everything(texts[2], len(days) == 31, texts[4]) else days,
        months,
        None if _everything(texts[4], len(weekdays) == 7, texts[2]) else weekdays,
    )  # fmt: skip
    if (
        slots.days
        and not slots.weekdays
        and not any(min(slots.days) <= _LONGEST_MONTH.get(month, 31) for month in months)
    ):
        raise InputError(
            f"{variable} is {expression!r}, which names a date that no year has: correct its day and month."
        )
    return slots


def _numbers(part: str, first: int, last: int, names: dict[str, int]) -> range:
    """One element of a field's list."""
    span, slash, step = part.partition("/")
    start, dash, end = span.partition("-")
    if span == "*":
        low, high = first, min(last, 6) if names is _WEEKDAYS else last
    else:
        low = _number(start, names)
        high = _number(end, names) if dash else last if slash else low
        if names is _WEEKDAYS and slash and not dash:
            high = 6
    every = _number(step, {}) if slash else 1
    if not (first <= low <= high <= last and 1 <= every <= last):
        raise ValueError(part)
    return range(low, high + 1, every)


def _number(text: str, names: dict[str, int]) -> int:
    if text in names:
        return names[text]
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)


def _everything(text: str, full: bool, other: str) -> bool:
    """Whether a field of days does not restrict: ``1-31`` does where the other field does, too."""
    return text == "*" or (full and "*" in other)


def _listed(numbers: frozenset[int], size: int) -> str:
    return "*" if len(numbers) == size else ",".join(f"{number:02}" for number in sorted(numbers))
