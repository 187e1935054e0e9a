# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a look at a system is made of: findings, and the verdict over all of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class Level(IntEnum):
    """A traffic light; the worst finding is the system's."""

    GREEN = 0
    AMBER = 1
    RED = 2

    @property
    def word(self) -> str:
        return self.name.lower()


LIGHTS = {"green": "\N{LARGE GREEN CIRCLE}", "amber": "\N{LARGE ORANGE CIRCLE}", "red": "\N{LARGE RED CIRCLE}"}


@dataclass(frozen=True)
class Finding:
    """One object as it was found. What is not green has a ``reason``, and a ``remedy`` that says what to do next; what is green
    may have one for what would still be better."""

    object: str
    level: Level = Level.GREEN
    reason: str = ""
    remedy: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "object": self.object,
            "level": self.level.word,
            "reason": self.reason or None,
            "remedy": self.remedy or None,
            **self.facts,
        }


def verdict(findings: Iterable[Finding]) -> dict[str, Any]:
    """The light with its reasons, the worst first, and what to do about them; what many objects share is told once."""
    told = sorted(findings, key=lambda finding: -finding.level)
    bad = [finding for finding in told if finding.level > Level.GREEN]
    level = max((finding.level for finding in bad), default=Level.GREEN).word
    return {
        "level": level,
        "light": LIGHTS[level],
        "reasons": _shared((finding.object, finding.reason) for finding in bad),
        "next": _shared((finding.object, finding.remedy) for finding in told if finding.remedy),
    }


def _shared(told: Iterable[tuple[str, str]]) -> list[str]:
    objects: dict[str, list[str]] = {}
    for name, sentence in told:
        objects.setdefault(sentence, []).append(name)
    return [f"{', '.join(names)}: {sentence}" for sentence, names in objects.items()]
