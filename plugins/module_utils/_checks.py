# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declared checks: what must be true of a restored backup, parsed once and judged purely.

A check compares what an engine observed with what was declared. ``expect: source`` demands what was observed in
the very snapshot that the backup holds (the manifest's ``observed``). Not of Redis: its servers drop keys whose time
has come while they load a backup, so an equal count is nothing that a good one can promise.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ._durations import human_duration, parse_duration
from ._errors import InputError
from ._records import CheckResult

SOURCE = "source"
_COMPARISON = re.compile(r"\A(>=|<=|==|>|<)\s*(-?\d+(?:\.\d+)?)\Z")
_NEAR_COMPARISON = re.compile(r"\A\s*(?:[<>=!]\s*=|=\s*[<>]|[<>≥≤])\s*[-+.]?\s*\d")
"""What was meant as a comparison, and would be taken for a text that no number is ever equal to."""
_OPERATORS = {">=": operator.ge, "<=": operator.le, "==": operator.eq, ">": operator.gt, "<": operator.lt}
_KINDS = {
    "table": ({"rows"}, {"newest", "within"}),
    "sql": ({"name", "expect"},),
    "extension": (set(),),
    "role": (set(),),
    "keys": ({"expect"},),
    "file": (set(),),
}
_OF_ENGINE = {
    "postgresql": ("table", "sql", "extension", "role"),
    "sqlite": ("table", "sql"),
    "redis": ("keys",),
    "files": ("file",),
}


@dataclass(frozen=True)
class Check:
    """One declared check. ``kind``: rows, newest, sql, extension, role, keys (a glob pattern), file."""

    kind: str
    subject: str
    expected: Any = None
    query: str | None = None
    column: str | None = None

    @property
    def name(self) -> str:
        """As the records call it, e.g. ``table_rows:conversations``."""
        if self.kind == "newest":
            return f"freshness:{self.subject}.{self.column}"
        return f"{'table_rows' if self.kind == 'rows' else self.kind}:{self.subject}"

    @property
    def observable(self) -> bool:
        """Whether the value belongs in the manifest: it can be demanded equal later."""
        return self.kind in ("rows", "sql", "keys")

    def judge(self, observed: Any, source: Mapping[str, Any], consistent_at: datetime) -> CheckResult:
        """The verdict. ``observed``: a number, a value, a datetime (newest) or a bool (presence)."""
        if self.kind == "newest":
            return self._judge_age(observed, consistent_at)
        if self.kind in ("extension", "role", "file"):
            return CheckResult(self.name, "present", "present" if observed else "absent", bool(observed))
        if self.expected == SOURCE:
            if self.name not in source:
                return CheckResult(self.name, "as in the source", observed, False, answered=False)
            return CheckResult(self.name, source[self.name], observed, _same(observed, source[self.name]))
        return CheckResult(self.name, self.expected, observed, _meets(observed, self.expected))

    def judge_silence(self, said: str, source: Mapping[str, Any]) -> CheckResult:
        """The verdict where the question failed: what was answered when the backup was taken speaks against it, and nothing
        else does, for the question itself may be wrong: that of an sql check may be another one under the same name."""
        expected = "an answer" if self.expected is None else self.expected
        return CheckResult(
            self.name, expected, f"error: {said}", False, answered=self.kind != "sql" and self.name in source
        )

    def judge_count(self, found: int, expired: int) -> CheckResult:
        """The verdict on keys of which ``found`` are left, and up to ``expired`` more were in the backup."""
        wanted = re.search(r"\d+\Z", str(self.expected))
        most = found + expired
        nearest = min(max(int(wanted[0]), found), most) if wanted else most
        if not _meets(found, self.expected) and any(_meets(count, self.expected) for count in (nearest, most)):
            return CheckResult(self.name, self.expected, f"{found}, {expired} expired since", True)
        return CheckResult(self.name, self.expected, found, _meets(found, self.expected))

    def _judge_age(self, newest: datetime | None, consistent_at: datetime) -> CheckResult:
        expected = f"newest row at most {self.expected} before the backup"
        if newest is None:
            return CheckResult(self.name, expected, "no row", False)
        age = (consistent_at - newest).total_seconds()
        limit = parse_duration("within", self.expected).total_seconds()
        return CheckResult(self.name, expected, human_duration(max(age, 0.0)), age <= limit)


def unanswered(backup: str, results: Sequence[CheckResult]) -> InputError | None:
    """Why there can be no verdict: a check that nobody could answer, while no other one speaks against the backup."""
    silent = [result for result in results if not result.answered]
    if not silent or any(result.answered and not result.passed for result in results):
        return None
    what = ", ".join(
        f"{result.name} ({result.observed})" if str(result.observed).startswith("error: ") else
        f"{result.name} (the backup does not tell what the source held)"
        for result in silent
    )  # fmt: skip
    return InputError(
        f"{backup} has no verdict, for there is no answer to {what}, nor is one known from when it was taken: correct the "
        "description's checks, or, where they are right, take a backup (backup.yml -e backup_label=manual) and verify that one."
    )


def doubts(
    checks: Sequence[Check], values: Mapping[str, Any], silence: Mapping[str, str], now: datetime
) -> dict[str, str]:
    """By name, the checks that a backup of this source would not pass, and what the source says. ``silence``: why it has no
    value for a check."""
    found: dict[str, str] = {}
    for check in checks:
        if check.name not in values:
            found[check.name] = f"no answer: {silence[check.name]}"
        elif not (result := check.judge(values[check.name], values, now)).passed:
            found[check.name] = f"{result.observed}, expected {result.expected}"
    return found


def _same(left: Any, right: Any) -> bool:
    return bool(left == right) or str(left) == str(right)


def _meets(observed: Any, expected: Any) -> bool:
    match = _COMPARISON.match(expected) if isinstance(expected, str) else None
    if match is None:
        return _same(observed, expected)
    try:
        return bool(_OPERATORS[match[1]](float(observed), float(match[2])))
    except (TypeError, ValueError):
        return False


def _countable(expected: Any) -> bool:
    """Whether a number of rows or keys can be what is expected."""
    return (
        expected == SOURCE
        or re.fullmatch(r"\d+", str(expected)) is not None
        or _COMPARISON.match(str(expected)) is not None
    )


def _refuse_near_comparison(variable: str, expected: Any) -> None:
    if _COMPARISON.match(str(expected)) is None and _NEAR_COMPARISON.match(str(expected)):
        raise InputError(
            f"{variable} is {expected!r}, which is no comparison: write one of {' '.join(_OPERATORS)} and a number, such as >=1."
        )


def _kind(variable: str, declared: Mapping[str, Any], engine: str) -> str:
    kinds = [kind for kind in _OF_ENGINE[engine] if declared.get(kind) is not None]
    if len(kinds) != 1:
        raise InputError(
            f"{variable} is {dict(declared)!r}, but a check of engine {engine} names exactly one of {', '.join(_OF_ENGINE[engine])}."
        )
    kind = kinds[0]
    given = {key for key, value in declared.items() if value is not None} - {kind}
    if kind == "sql" and given == {"expect"}:
        raise InputError(f"{variable} has no name: give the sql check one, under which its answer is recorded.")
    if given not in _KINDS[kind]:
        wanted = " or ".join(", ".join(sorted(keys)) or "nothing else" for keys in _KINDS[kind])
        raise InputError(
            f"{variable} has {', '.join(sorted(given)) or 'nothing'} beside {kind}: a {kind} check takes {wanted}."
        )
    return kind


def parse_checks(variable: str, declared: Sequence[Mapping[str, Any]] | None, engine: str) -> tuple[Check, ...]:
    """The declared checks of one database.

    ``{table: t, rows: ">=1"}``, ``{table: t, newest: column, within: 24h}``, ``{sql: query, name: n, expect: v}``,
    ``{extension: e}``, ``{role: r}``, ``{keys: "guardrail:*", expect: ">=1"}``, ``{file: path}``;
    ``rows`` and ``expect`` take a value, a comparison such as ``>=1``, or (not for keys) ``source``.
    """
    checks: list[Check] = []
    for number, entry in enumerate(declared or []):
        where = f"{variable}[{number}]"
        kind = _kind(where, entry, engine)
        subject = str(entry[kind])
        if kind == "sql":
            _refuse_near_comparison(f"{where}.expect", entry["expect"])
            checks.append(Check("sql", str(entry["name"]), entry["expect"], query=subject))
        elif kind == "table" and entry.get("newest") is not None:
            parse_duration(f"{where}.within", entry["within"])
            checks.append(Check("newest", subject, str(entry["within"]), column=str(entry["newest"])))
        else:
            expected = entry.get("rows" if kind == "table" else "expect")
            if kind == "keys" and expected == SOURCE:
                raise InputError(
                    f"{where}.expect is source, but Redis drops keys whose time has come while it loads a backup, so a "
                    "good one may hold fewer: give a number, or a comparison such as >=1."
                )
            if kind in ("table", "keys") and not _countable(expected):
                key = "rows" if kind == "table" else "expect"
                raise InputError(
                    f"{where}.{key} is {expected!r}, with which no number can be compared: give a number, a comparison such as "
                    f">=1{'' if kind == 'keys' else ', or source'}."
                )
            checks.append(Check("rows" if kind == "table" else kind, subject, expected))
    names = [check.name for check in checks]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{variable} declares {name} twice: keep one.")
    return tuple(checks)
