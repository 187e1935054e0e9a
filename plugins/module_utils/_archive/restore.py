# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mending an archive: what is missing or damaged is put back from a copy that is proved, and nothing else is touched."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from .._errors import Changed, InputError, NoSpace, RunbookError
from .._policy import MaxDelete
from .._result import Action
from .base import Place, Row
from .candidates import Candidate, Search, provable
from .compare import CONTRADICTORY, DAMAGED, EXTRA, GOOD, MISSING, judge, place_of
from .declared import Archive
from .index import OpenIndex
from .rebuild import Rebuild
from .report import CHANGING, LISTED, UNREADABLE, Problem, Report, printable
from .verify import THREADS, Tell, Verification

RESTORED, REQUESTED, WAITING, LEFT, LOST, FAILED = "restored", "requested", "waiting", "left", "lost", "failed"

FATES = (RESTORED, REQUESTED, WAITING, LEFT, LOST, FAILED)

_BATCH = 200
_POLL_SECONDS = 30.0


@dataclass(frozen=True)
class Wishes:
    """What is asked for beside the mending. ``wait``: seconds that archived copies may take before a later run goes on."""

    deep: bool = False
    wait: float = 0.0
    into_empty: bool = False
    rebuild: bool = False
    remove_rows: bool = False
    max_remove: MaxDelete = field(default_factory=lambda: MaxDelete(percent=10))


@dataclass(frozen=True)
class Mended:
    """What became of a problem, or in check mode would."""

    key: str
    fate: str
    said: str
    size: int = 0
    problem: Problem | None = None
    note: str | None = None


@dataclass
class Outcome:
    """Of one run. A copy that was requested and came is among the requested and the restored."""

    report: Report
    mended: list[Mended] = field(default_factory=list)
    rebuilt: list[Action] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def of(self, fate: str) -> list[Mended]:
        return [one for one in self.mended if one.fate == fate]

    def actions(self) -> list[Action]:
        """The first thousand of what was done; the rest as one line each kind."""
        verbs = {RESTORED: "restore", REQUESTED: "request"}
        done = [Action(verbs[one.fate], printable(one.key), one.said) for one in self.mended if one.fate in verbs]
        every = [*done, *self.rebuilt]
        more = Counter(action.action for action in every[LISTED:])
        return every[:LISTED] + [
            Action(verb, f"{number} more", f"only the first {LISTED} are named") for verb, number in more.items()
        ]

    def to_dict(self) -> dict[str, Any]:
        done = Counter(action.action for action in self.rebuilt)
        counts = {fate: len(self.of(fate)) for fate in FATES}
        size = sum(one.size for one in self.of(RESTORED))
        named = {
            fate: [{"key": printable(one.key), "reason": one.said} for one in self.of(fate)[:LISTED]]
            for fate in (WAITING, LEFT, LOST, FAILED)
        }
        return {
            "counts": {**counts, "restored_bytes": size, "indexed": done["index"], "removed": done["remove row"]},
            **named, "notes": self.notes, "errors": self.errors,
        }  # fmt: skip


class Restore:
    """One run: verify, mend, and rebuild where that is wished for. ``check``: everything is looked at, nothing is written."""

    def __init__(
        self, archive: Archive, wishes: Wishes, work_dir: str, *, check: bool, threads: int = THREADS,
        tell: Tell = lambda _text: None,
    ) -> None:  # fmt: skip
        if wishes.into_empty and wishes.remove_rows:
            raise InputError(
                "into_empty and remove_rows exclude each other: the rows are what everything is restored by."
            )
        if wishes.remove_rows and not wishes.rebuild:
            raise InputError("remove_rows is part of rebuilding the index: set rebuild_index too, or leave it out.")
        self._archive = archive
        self._wishes = wishes
        self._work_dir = work_dir
        self._check = check
        self._threads = threads
        self._tell = tell
        self._sources: list[Place] = []
        self._away: list[str] = []

    def run(self) -> Outcome:
        keep = {MISSING, DAMAGED, *([EXTRA] if self._wishes.rebuild else [])}
        report = Verification(
            self._archive, deep=self._wishes.deep, threads=self._threads, tell=self._tell, keep=keep,
            into_empty=self._wishes.into_empty,
        ).run()  # fmt: skip
        outcome = Outcome(report, notes=list(report.notes))
        if not self._check:
            self._archive.objects.sweep()
        problems = report.of(MISSING, DAMAGED)
        with self._archive.index.opened() as index:
            if problems:
                self._ask_sources()
                outcome.mended = list(self._mend_all(index, problems))
                self._wait(index, outcome)
            if self._wishes.rebuild:
                self._rebuild(index, outcome)
        outcome.mended.sort(key=lambda one: place_of(one.key))
        self._say(outcome)
        return outcome

    def _rebuild(self, index: OpenIndex, outcome: Outcome) -> None:
        report = outcome.report
        rebuild = Rebuild(self._archive, index, check=self._check, threads=self._threads)
        try:
            outcome.rebuilt += rebuild.add(report.of(EXTRA))
            if self._wishes.remove_rows:
                gone = [one.problem for one in outcome.of(LOST) if one.problem and one.problem.found is None]
                outcome.rebuilt += rebuild.remove(gone, report.rows, self._wishes.max_remove)
        except RunbookError as error:  # what was mended is told all the same
            outcome.errors.append(str(error))
        outcome.errors += rebuild.errors
        outcome.notes += rebuild.notes

    def _ask_sources(self) -> None:
        for source in self._archive.sources:
            try:
                source.check()
                self._sources.append(source)
            except RunbookError as error:
                self._away.append(str(error))

    def _mend_all(self, index: OpenIndex, problems: Sequence[Problem]) -> Iterator[Mended]:
        with ThreadPoolExecutor(self._threads, thread_name_prefix="archive-mend") as pool:
            for start in range(0, len(problems), _BATCH):
                batch = problems[start : start + _BATCH]
                rows = index.look([problem.key for problem in batch])
                yield from pool.map(
                    lambda problem, rows=rows: self._mend(problem, tuple(rows.get(problem.key, ()))), batch
                )
                self._tell(f"{start + len(batch)} of {len(problems)} missing or damaged objects seen to")

    def _mend(self, problem: Problem, rows: tuple[Row, ...]) -> Mended:
        try:
            return self._mended(problem, rows)
        except Changed as error:
            return Mended(problem.key, LEFT, str(error))
        except NoSpace:
            raise
        except RunbookError as error:
            return Mended(problem.key, FAILED, str(error))

    def _mended(self, problem: Problem, rows: tuple[Row, ...]) -> Mended:
        key, objects, kind = problem.key, self._archive.objects, self._archive.kind
        now = objects.look(key)
        if rows != problem.rows or (now and now.tag) != (problem.found and problem.found.tag):
            return Mended(key, LEFT, "the application wrote it meanwhile")
        if now and not self._wishes.deep and judge(rows, now, now.md5 if kind == "md5" else None, kind).state == GOOD:
            return Mended(key, LEFT, "it proved good when it was looked at alone")
        row = rows[0]
        if not provable(row, kind):
            return Mended(
                key, FAILED, f"the index has no usable {kind} of it, so no copy can be proved: put it back by hand"
            )
        search = Search(row, kind, unasked=list(self._away))
        for candidate in search.candidates(objects, self._sources):
            if search.fits(candidate):
                with search.obtained(candidate, self._work_dir, keep=not self._check) as content:
                    if content is not None:
                        note = None if self._check else objects.replace(key, now, content)
                        said = f"{problem.verdict.reason}; from {candidate}"
                        return Mended(key, RESTORED, said, content.size, problem, note)
        return self._asleep(problem, search) if search.asleep else self._without(problem, search)

    def _asleep(self, problem: Problem, search: Search) -> Mended:
        """Nothing that can be read at once, but something archived."""
        candidate: Candidate = search.asleep[0]
        for other in search.asleep:
            if other.found.thaw == "requested":
                return Mended(
                    problem.key, WAITING, f"{other} is being fetched from {other.found.storage_class}", problem=problem
                )
        if not self._check:
            candidate.place.request(candidate.found)
        said = f"{problem.verdict.reason}; {candidate} has it in {candidate.found.storage_class}"
        return Mended(problem.key, REQUESTED, said, problem=problem)

    def _without(self, problem: Problem, search: Search) -> Mended:
        if search.lost:
            where = "no source is declared" if not self._archive.sources else "no source has it, and no older version"
            return Mended(problem.key, LOST, f"{problem.verdict.reason}; {where}", problem=problem)
        if search.unasked:
            return Mended(problem.key, FAILED, f"not every copy could be asked for: {search.unasked[0]}")
        copies = "the one copy is" if search.unfit == 1 else f"none of {search.unfit} copies is"
        return Mended(problem.key, FAILED, f"{copies} {'not ' if search.unfit == 1 else ''}what the index says")

    def _wait(self, index: OpenIndex, outcome: Outcome) -> None:
        """For archived copies, as long as was allowed; who was requested and comes is restored in this same run."""
        end = time.monotonic() + self._wishes.wait
        while not self._check:
            pending = [one for one in outcome.mended if one.fate in (REQUESTED, WAITING) and one.problem]
            left = end - time.monotonic()
            if not pending or left <= 0:
                return
            self._tell(f"waiting for {len(pending)} archived copies, {left:.0f} s at most")
            time.sleep(min(_POLL_SECONDS, left))
            again = self._mend_all(index, [one.problem for one in pending if one.problem])
            news = {one.key: one for one in again if one.fate not in (REQUESTED, WAITING)}
            told = [replace(one, problem=None) if one.key in news else one for one in outcome.mended]
            outcome.mended = [one for one in told if one.problem or one.fate != WAITING] + list(news.values())

    def _say(self, outcome: Outcome) -> None:
        report, errors = outcome.report, outcome.errors
        if outcome.of(FAILED):
            one = outcome.of(FAILED)[0]
            errors.append(
                f"{len(outcome.of(FAILED))} could not be restored, such as {printable(one.key)}: {one.said.rstrip('.')}."
            )
        damaged = [one for one in outcome.of(LOST) if one.problem and one.problem.found]
        lost = damaged if self._wishes.remove_rows else outcome.of(LOST)
        if lost:
            errors.append(
                f"{len(lost)} have no good copy anywhere, such as {printable(lost[0].key)}: name another source under "
                "runbook_archive.sources; the row of an object that is gone can be removed (archive_restore_rebuild_index and "
                "archive_restore_remove_rows), a damaged object keeps its row."
            )
        if report.states[CONTRADICTORY]:
            key = report.of(CONTRADICTORY)[0].key
            errors.append(
                f"{report.states[CONTRADICTORY]} have rows that do not agree, such as {printable(key)}: correct the index, for nobody "
                "can tell which is right."
            )
        if report.states[UNREADABLE]:
            problem = report.of(UNREADABLE)[0]
            errors.append(f"{report.states[UNREADABLE]} could not be read: {problem.verdict.reason}")
        if report.states[CHANGING]:
            outcome.notes.append(f"{report.states[CHANGING]} are being written again and again, and were left alone.")
        if outcome.of(LEFT):
            one = outcome.of(LEFT)[0]
            outcome.notes.append(
                f"{len(outcome.of(LEFT))} were left as they are, such as {printable(one.key)}: {one.said}"
            )
        outcome.notes += self._away + sorted({one.note for one in outcome.mended if one.note})
