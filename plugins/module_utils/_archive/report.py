# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was found in an archive: counts of everything, and the first of each kind by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .base import Found, Row
from .compare import CONTRADICTORY, DAMAGED, EXTRA, GOOD, MISSING, Verdict

CHANGING, UNREADABLE = "changing", "unreadable"
STATES = (MISSING, DAMAGED, CONTRADICTORY, UNREADABLE, CHANGING, EXTRA)
"""What is not good, the worst first."""

LISTED = 1000
"""Names that a list may have; counts are always of all."""


@dataclass(frozen=True)
class Problem:
    """A key that is not good, with what was seen of it."""

    key: str
    rows: tuple[Row, ...]
    found: Found | None
    verdict: Verdict

    def to_dict(self) -> dict[str, Any]:
        return {"key": printable(self.key), "reason": self.verdict.reason}


def printable(key: str) -> str:
    """A key as JSON and a terminal can carry it: what is no text, or would move the cursor, is escaped."""
    shown = key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown)


@dataclass
class Report:
    """Of one verification. ``matched``: keys with a row and an object; ``read``: objects read whole, with their bytes."""

    mode: str
    kind: str
    index: str
    objects_at: str
    rows: int = 0
    objects: int = 0
    matched: int = 0
    nameless: int = 0
    duplicates: int = 0
    archived: int = 0
    read: int = 0
    read_bytes: int = 0
    looked_again: int = 0
    proofs: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def good(self, verdict: Verdict) -> None:
        self.proofs[verdict.proof] += 1

    def bad(self, problem: Problem, *, keep: bool) -> None:
        """Count it; ``keep``: with its name, whatever the number."""
        self.states[problem.verdict.state] += 1
        if keep or self.states[problem.verdict.state] <= LISTED:
            self.problems.append(problem)

    def of(self, *states: str) -> list[Problem]:
        return [problem for problem in self.problems if problem.verdict.state in states]

    @property
    def sound(self) -> bool:
        """Whether every row has its object, as far as this mode can tell."""
        return not self.errors and not any(self.states[state] for state in STATES if state not in (EXTRA, CHANGING))

    def to_dict(self) -> dict[str, Any]:
        counts = {
            "rows": self.rows, "objects": self.objects, GOOD: sum(self.proofs.values()),
            "by_checksum": self.proofs["checksum"], "by_size": self.proofs["size"], "by_existence": self.proofs["existence"],
            **{state: self.states[state] for state in STATES},
            "duplicates": self.duplicates, "nameless": self.nameless, "archived": self.archived,
            "read": self.read, "read_bytes": self.read_bytes,
        }  # fmt: skip
        return {
            "mode": self.mode, "checksum": self.kind, "index": self.index, "objects_at": self.objects_at, "sound": self.sound,
            "counts": counts, **{state: capped(self.of(state)) for state in STATES}, "notes": self.notes, "errors": self.errors,
        }  # fmt: skip

    def explain(self) -> None:
        """Say plainly what this verification could not see."""
        if self.proofs["size"]:
            why = (
                f"the index's {self.kind} is not what a listing holds"
                if self.mode == "quick" and self.kind != "md5"
                else "the listing has no md5 of them (files, uploads in parts, encryption by KMS)"
                if self.mode == "quick"
                else "the index has no usable checksum of them, or they are archived"
            )
            remedy = ": deep reads them" if self.mode == "quick" else ""
            self.notes.append(
                f"{self.proofs['size']} of {self.matched} are compared by size alone, because {why}{remedy}."
            )
        if self.proofs["existence"]:
            self.notes.append(
                f"{self.proofs['existence']} exist, and that is all: the index has neither size nor usable checksum."
            )
        if self.duplicates:
            self.notes.append(f"The index has {self.duplicates} rows more than keys: the same key several times.")
        if self.nameless:
            self.notes.append(f"{self.nameless} rows of the index have no key, so they speak of no object.")
        if self.archived:
            self.notes.append(f"{self.archived} objects are archived and were not read; their sizes were compared.")


def capped(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    return [problem.to_dict() for problem, _number in zip(problems, range(LISTED), strict=False)]
