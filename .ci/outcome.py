# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a tier of the test suite came to."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Outcome:
    """Counts, and what is to be told of each thing that failed or could not run here."""

    passed: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        return len(self.failures)

    def count(self, what: str, *, good: bool, why: str = "") -> None:
        """One more that ran: ``why`` says what went wrong."""
        if good:
            self.passed += 1
        else:
            self.failures.append(f"{what}: {why}" if why else what)

    def add(self, other: Outcome) -> None:
        self.passed += other.passed
        self.skipped += other.skipped
        self.failures += other.failures
        self.not_run += other.not_run

    def leave_out(self, what_and_why: str) -> None:
        self.skipped += 1
        self.not_run.append(what_and_why)

    def require(self) -> None:
        """What did not run counts as failed: a machine that must prove everything has proved nothing by a skip."""
        self.failures += [f"NOT RUN {what_and_why}" for what_and_why in self.not_run]
        self.skipped -= len(self.not_run)
        self.not_run.clear()

    @property
    def verdict(self) -> str:
        if self.failed:
            return "FAILED"
        return "passed" if self.passed else "NOT RUN"

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"
