# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of faults at the end of a test run: what was broken, what the operator saw, what was found unharmed.

    def test_a_full_disk(fault: Fault) -> None:
        ...
        fault("disk full during a backup", caught.value, "nothing published, the next run works")

A row counts only when its test passed, and the report of a parallel run has the rows of all workers.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Fault = Callable[[str, object, str], None]
"""Called at the end of a test: the fault, the sentence that was seen, and what was checked to be unharmed."""

_PROPERTY = "fault"
_WIDTHS = (38, 62, 48)
_HEAD = ("FAULT", "SEEN", "NOTHING LOST")


@pytest.fixture
def fault(record_property: Callable[[str, object], None], tmp_path: Path) -> Fault:
    def record(name: str, seen: object, checked: str) -> None:
        sentence = " ".join(str(seen).replace(f"{tmp_path}/", "/…/").split())
        # As text: properties travel between processes, and into a report in XML.
        record_property(_PROPERTY, json.dumps([name, sentence, checked], ensure_ascii=False))

    return record


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = list(_rows(terminalreporter))
    if not rows:
        return
    terminalreporter.section(f"{len(rows)} faults")
    for row in [_HEAD, *rows]:
        for line in _lines(row):
            terminalreporter.write_line(line)


def _rows(terminalreporter: pytest.TerminalReporter) -> Iterator[tuple[str, ...]]:
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            if getattr(report, "when", "") != "call":  # set-up and tear-down carry the same properties
                continue
            for name, value in report.user_properties:
                if name == _PROPERTY:
                    fault, seen, checked = json.loads(value)
                    yield fault, seen, checked if report.passed else f"TEST FAILED: {report.nodeid}"


def _lines(row: tuple[str, ...]) -> Iterator[str]:
    """A row as lines of three columns."""
    columns = [textwrap.wrap(cell, width) or [""] for cell, width in zip(row, _WIDTHS, strict=True)]
    for number in range(max(map(len, columns))):
        cells = [column[number] if number < len(column) else "" for column in columns]
        yield " | ".join(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()
