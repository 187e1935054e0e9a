# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a tier of the test suite came to."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Outcome:
    """Counts, and one line for each thing that could not run here."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    not_run: list[str] = field(default_factory=list)

    def leave_out(self, what_and_why: str) -> None:
        self.skipped += 1
        self.not_run.append(what_and_why)

    def require(self) -> None:
        """What did not run counts as failed: a machine that must prove everything has proved nothing by a skip."""
        self.failed += len(self.not_run)
        self.skipped -= len(self.not_run)

    @property
    def verdict(self) -> str:
        if self.failed:
            return "FAILED"
        return "passed" if self.passed else "NOT RUN"

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"
