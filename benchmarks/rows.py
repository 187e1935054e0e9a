# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a benchmark found: lines of a Markdown table, each with its limit where the project promises one."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass

from .pairs import Contestant, Spread, ratio


@dataclass(frozen=True)
class Row:
    """``held`` is ``None`` where nothing is promised."""

    what: str
    figure: str
    limit: str = ""
    held: bool | None = None

    def __str__(self) -> str:
        verdict = {None: "", True: "held", False: "**BROKEN**"}[self.held]
        return f"| {self.what} | {self.figure} | {self.limit} | {verdict} |"


def at_most(what: str, value: float, limit: float, unit: str, told: str = "") -> Row:
    """A figure with an upper limit."""
    return Row(what, f"{value:.4g}{unit}{told and f' ({told})'}", f"<= {limit:.4g}{unit}", operator.le(value, limit))


def slower(one: Contestant, other: Contestant, what: str, limit: float | None = None) -> Row:
    """``one`` against ``other``, which is the yardstick: how many times as long it took."""
    spread = ratio(one, other)
    held = None if limit is None else spread.median <= limit
    return Row(what, _figure(spread, one, other), f"<= {limit}x" if limit else "", held)


def faster(ours: Contestant, theirs: Contestant, what: str, limit: float | None = None) -> Row:
    """``ours`` against ``theirs``, which is what people do today: how many times as fast it was."""
    spread = ratio(theirs, ours)
    held = None if limit is None else spread.median >= limit
    return Row(what, _figure(spread, ours, theirs), f">= {limit}x" if limit else "", held)


def _figure(spread: Spread, one: Contestant, other: Contestant) -> str:
    return f"**{spread.median:.2f}x** ({spread.low:.2f}-{spread.high:.2f}; {one.median:.1f} s, {other.median:.1f} s)"


def table(rows: Sequence[Row]) -> str:
    head = ["| | measured | limit | |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *map(str, rows)])
