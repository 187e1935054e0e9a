# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The retention policy as declared, parsed into values that planning can trust."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ._durations import before, check_window
from ._errors import InputError
from ._require import require
from ._store.base import ARCHIVE_CLASSES

RULES = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
"""Rule names, finest first; reasons are listed in this order."""

_KEYS = {"within", "count", "select", "storage_class"}
_UNITS = {"hourly": "hours", "daily": "days", "weekly": "weeks", "monthly": "months", "yearly": "years"}
_SPANS = {"h": "hours", "d": "days", "w": "weeks", "m": "months", "y": "years"}


@dataclass(frozen=True)
class Rule:
    """``within`` keeps representatives younger than a window, ``count`` the newest N of them; either is enough."""

    name: str
    within: str | None = None
    count: int | None = None
    oldest: bool = False
    storage_class: str | None = None

    @property
    def archives(self) -> bool:
        return self.storage_class in ARCHIVE_CLASSES

    def threshold(self, anchor: datetime) -> datetime | None:
        """What is strictly newer is within the window; ``None`` without one."""
        return before(anchor, self.within) if self.within else None

    def until(self, started_at: datetime) -> datetime | None:
        """When the rule lets go if a backup is taken in every period; ``None`` where only a count of ``last`` decides."""
        delta = require("dateutil.relativedelta", "python-dateutil").relativedelta
        ends: list[datetime] = []
        try:
            if self.within:
                ends.append(started_at + delta(**{_SPANS[self.within[-1]]: int(self.within[:-1])}))
            if self.count and self.name in _UNITS:
                ends.append(started_at + delta(**{_UNITS[self.name]: self.count}))
        except (OverflowError, ValueError):
            return datetime.max.replace(tzinfo=started_at.tzinfo)
        return max(ends, default=None)


@dataclass(frozen=True)
class MaxDelete:
    """The most that one run may delete of a scope in a store: a share in percent, or a number."""

    percent: int | None = None
    number: int | None = None

    def allows(self, deletions: int, total: int) -> bool:
        if self.number is not None:
            return deletions <= self.number
        return deletions * 100 <= total * (self.percent or 0)

    def __str__(self) -> str:
        return str(self.number) if self.number is not None else f"{self.percent}%"


@dataclass(frozen=True)
class Policy:
    """Everything planning needs beside the backups and the time."""

    rules: tuple[Rule, ...]
    keep_last_good: int = 1
    keep_labelled: str = "30d"
    max_delete: MaxDelete = MaxDelete(percent=50)


def _count(variable: str, value: Any) -> int:
    if isinstance(value, bool) or not str(value).strip().isdigit() or int(value) < 1:
        raise InputError(f"{variable} is {value!r}: write a whole number of at least 1.")
    return int(value)


def _rule(variable: str, name: str, declared: Any) -> Rule:
    if not isinstance(declared, Mapping):
        raise InputError(f"{variable} is {declared!r}: write a mapping such as {{within: 30d}} or {{count: 30}}.")
    unknown = sorted(set(declared) - _KEYS)
    if unknown:
        raise InputError(f"{variable} has the unknown key {unknown[0]!r}: a rule takes {', '.join(sorted(_KEYS))}.")
    within, count, select = declared.get("within"), declared.get("count"), declared.get("select") or "newest"
    if within is None and count is None:
        raise InputError(
            f"{variable} says neither within nor count, so it would keep nothing: give one, or leave the rule out."
        )
    if select not in ("newest", "oldest"):
        raise InputError(f"{variable}.select is {select!r}: write newest or oldest.")
    if name == "last" and select == "oldest":
        raise InputError(f"{variable}.select is 'oldest', but {name} has no buckets to choose in: leave select out.")
    storage_class = declared.get("storage_class")
    return Rule(
        name=name,
        within=None if within is None else check_window(f"{variable}.within", within),
        count=None if count is None else _count(f"{variable}.count", count),
        oldest=select == "oldest",
        storage_class=None if storage_class is None else str(storage_class),
    )


def parse_rules(variable: str, declared: Mapping[str, Any] | None) -> tuple[Rule, ...]:
    """The rules of a policy; an empty policy, a zero, a negative or an unknown key is an ``InputError``."""
    given = {name: rule for name, rule in (declared or {}).items() if rule is not None}
    if not given:
        raise InputError(
            f"{variable} is empty, which would delete every backup: name at least one of {', '.join(RULES)}."
        )
    unknown = sorted(set(given) - set(RULES))
    if unknown:
        raise InputError(f"{variable} has the unknown rule {unknown[0]!r}: rules are {', '.join(RULES)}.")
    return tuple(_rule(f"{variable}.{name}", name, given[name]) for name in RULES if name in given)


def parse_max_delete(variable: str, value: Any, of: str = "backups") -> MaxDelete:
    """``50%`` or a count ``of`` something."""
    match = re.fullmatch(r"(\d+)(%?)", str(value).strip())
    if not match or (match[2] and int(match[1]) > 100):
        raise InputError(f"{variable} is {value!r}: write a share from 0% to 100%, or a whole number of {of}.")
    return MaxDelete(percent=int(match[1])) if match[2] else MaxDelete(number=int(match[1]))


def parse_policy(
    rules: Mapping[str, Any] | None,
    *,
    keep_last_good: Any,
    keep_labelled: Any,
    max_delete: Any,
    variable: str = "policy",
) -> Policy:
    """The whole policy from a module's parameters."""
    return Policy(
        rules=parse_rules(variable, rules),
        keep_last_good=_count("keep_last_good", keep_last_good),
        keep_labelled=check_window("keep_labelled", keep_labelled),
        max_delete=parse_max_delete("max_delete", max_delete),
    )
