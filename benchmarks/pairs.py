# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Contestants that take turns in one run, A B C A B C: what slows the machine for a while slows all of them."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass
class Contestant:
    """``run`` returns the seconds that count. It takes part in the first ``rounds`` rounds."""

    name: str
    run: Callable[[], float]
    rounds: int
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Spread:
    """A figure that was taken several times."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        return cls(statistics.median(figures), min(figures), max(figures))


def take_turns(subject: str, *contestants: Contestant) -> None:
    """Run them all; nobody pays for what an earlier one left to be written to the disk."""
    for number in range(max(contestant.rounds for contestant in contestants)):
        for contestant in contestants:
            if number < contestant.rounds:
                os.sync()
                contestant.seconds.append(contestant.run())
                print(f"  {subject}, {contestant.name}: {contestant.seconds[-1]:.2f} s", file=sys.stderr, flush=True)


def ratio(one: Contestant, other: Contestant) -> Spread:
    """How many times as long ``one`` took as ``other``, round by round."""
    return Spread.of([a / b for a, b in zip(one.seconds, other.seconds, strict=False)])
