# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verification of an archive: index and listing stream by, and what does not fit is looked at again."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import chain

from .._errors import Archived, Changed, InputError, NotFound, Refused, RunbookError, StoreError
from .._stages import ahead
from .base import Found, Place, Row
from .compare import CONTRADICTORY, DAMAGED, GOOD, MISSING, Verdict, judge, pairs
from .declared import Archive
from .index import OpenIndex
from .report import CHANGING, UNREADABLE, Problem, Report

THREADS = 8
LOOK_AGAIN = 1000
"""Of each kind. A document that is stored while we look is seen by one of the two and not by the other, which a second look
sets right; more than this is no coincidence."""

_PAGE = 1000
"""Rows between two boundaries: a full list page, so that listing in pieces takes no request more."""

_WAITING = 64
_TRIES = 3
_TELL_SECONDS = 10.0
_HOPELESS = 20
"""Objects in a row that could not be read: then it is the place, not they."""

Tell = Callable[[str], None]


class Verification:
    """``keep``: states whose problems are all wanted by name. ``into_empty``: a place without the index's objects is believed."""

    def __init__(
        self, archive: Archive, *, deep: bool, threads: int = THREADS, tell: Tell = lambda _text: None,
        keep: Collection[str] = (), into_empty: bool = False,
    ) -> None:  # fmt: skip
        self._archive = archive
        self._place = archive.objects
        self._deep = deep
        self._threads = threads
        self._tell = tell
        self._keep = keep
        self._into_empty = into_empty
        self._turn = threading.Lock()
        self._index_turn = threading.Lock()
        self._suspects: list[Problem] = []
        self._suspected: dict[str, int] = {}
        self._foreign = 0
        self._failed_in_a_row = 0
        self._hopeless: RunbookError | None = None
        self.report = Report(
            "deep" if deep else "quick", archive.kind, archive.index.label, archive.objects.label
        )  # fmt: skip

    def run(self) -> Report:
        self._place.begin(quick=not self._deep and not self._keep)
        try:
            with self._archive.index.opened() as index:
                self._verify(index)
        finally:
            self._place.end()
        self.report.explain()
        return self.report

    def _verify(self, index: OpenIndex) -> None:
        index.begin()
        keys = index.boundaries(_PAGE) if self._place.round_trips else []
        listed = self._place.pages(spread(keys[:-1]), keys[-1] if keys else None)
        with closing(ahead(index.batches())) as rows, closing(ahead(listed)) as pages:
            self._compare(pairs(chain.from_iterable(rows), chain.from_iterable(pages)))
        self.report.nameless = index.nameless()
        index.end()
        self._believe()
        self._settle(index)

    def _compare(self, paired: Iterator[tuple[list[Row], Found | None]]) -> None:
        kind, report, listed = self._archive.kind, self.report, self._archive.kind == "md5" and not self._deep
        proofs = report.proofs
        told = time.monotonic()
        slots = threading.BoundedSemaphore(_WAITING)
        with ThreadPoolExecutor(self._threads, thread_name_prefix="archive-read") as pool:
            for number, (rows, found) in enumerate(paired):
                report.rows += len(rows)
                report.duplicates += max(len(rows) - 1, 0)
                if found is not None:
                    report.objects += 1
                    report.matched += bool(rows)
                verdict = judge(rows, found, found.md5 if listed and found else None, kind)
                if verdict.state != GOOD:
                    self._suspect(
                        Problem((rows[0].key if rows else found.key if found else ""), tuple(rows), found, verdict)
                    )
                elif self._deep and found is not None:
                    slots.acquire()
                    pool.submit(self._read, tuple(rows), found, slots)
                else:
                    proofs[verdict.proof] += 1
                if number % 256 == 0 and time.monotonic() - told > _TELL_SECONDS:
                    told = time.monotonic()
                    self._tell(self._so_far())
                if self._hopeless:
                    raise self._hopeless
        if self._hopeless:
            raise self._hopeless

    def _so_far(self) -> str:
        report = self.report
        return (
            f"{report.rows} rows and {report.objects} objects compared, {report.read} read ({report.read_bytes} bytes)"
        )

    def _read(self, rows: tuple[Row, ...], found: Found, slots: threading.BoundedSemaphore) -> None:
        """One object of a deep verification, in a thread of its own."""
        try:
            if not self._hopeless:
                self._conclude(rows, found, self._verdict(rows, found))
        except (Changed, NotFound):
            self._suspect(Problem(found.key, rows, found, Verdict(CHANGING, "it was written while it was read")))
        except RunbookError as error:
            self._unreadable(rows, found, error)
        except BaseException as error:  # a fault of ours must not be taken for a good object
            self._hopeless = StoreError(f"{self._place.label}: reading {found.key!r} failed ({error!r}).")
        finally:
            slots.release()

    def _verdict(self, rows: tuple[Row, ...], found: Found) -> Verdict:
        if found.archived:
            with self._turn:
                self.report.archived += 1
            return judge(rows, found, None, self._archive.kind)
        try:
            size, digest = digest_of(self._place, found, self._archive.kind)
        except Archived:
            return self._verdict(rows, found._replace(archived=True))
        with self._turn:
            self._failed_in_a_row = 0
            self.report.read += 1
            self.report.read_bytes += size
        if size != found.size:
            return Verdict(DAMAGED, f"only {size} of its {found.size} bytes can be read")
        return judge(rows, found, digest, self._archive.kind)

    def _conclude(self, rows: tuple[Row, ...], found: Found, verdict: Verdict) -> None:
        if verdict.state == GOOD:
            with self._turn:
                self.report.good(verdict)
        else:
            self._suspect(Problem(found.key, rows, found, verdict))

    def _unreadable(self, rows: tuple[Row, ...], found: Found, error: RunbookError) -> None:
        with self._turn:
            self._failed_in_a_row += 1
            if self._failed_in_a_row >= _HOPELESS:
                self._hopeless = error
        self._suspect(Problem(found.key, rows, found, Verdict(UNREADABLE, str(error))))

    def _suspect(self, problem: Problem) -> None:
        with self._turn:
            state = problem.verdict.state
            self._suspected[state] = self._suspected.get(state, 0) + 1
            if self._suspected[state] <= LOOK_AGAIN or state in self._keep:
                self._suspects.append(problem)
            else:
                self.report.bad(problem, keep=False)

    def _believe(self) -> None:
        """An empty mount point, or another prefix, is not the loss of everything."""
        report = self.report
        if report.rows and not report.matched and not self._into_empty:
            there = (
                "no object at all"
                if not report.objects
                else f"{report.objects} objects, none of them one of the index's"
            )
            raise InputError(
                f"{report.objects_at} holds {there}, but {report.index} has {report.rows} rows: see whether bucket and prefix are right "
                "and the volume is mounted. If everything is lost indeed, set archive_restore_into_empty to true for archive_restore.yml."
            )

    def _settle(self, index: OpenIndex) -> None:
        """The second look, some at a time."""
        again: dict[str, int] = {}
        with ThreadPoolExecutor(self._threads, thread_name_prefix="archive-again") as pool:
            for start in range(0, len(self._suspects), 200):
                batch = self._suspects[start : start + 200]
                looked = index.look([problem.key for problem in batch])
                wanted = []
                for problem in batch:
                    state = problem.verdict.state
                    again[state] = again.get(state, 0) + 1
                    wanted.append(again[state] <= LOOK_AGAIN)
                jobs = [
                    pool.submit(self._again, problem, looked.get(problem.key, []), index) if wants else None
                    for problem, wants in zip(batch, wanted, strict=True)
                ]
                for problem, job in zip(batch, jobs, strict=True):
                    self._final(job.result() if job else self._unlooked(problem))
        self._suspects.clear()

    def _unlooked(self, problem: Problem) -> Problem:
        """Of a crowd whose first thousand were looked at again. Where KMS makes ETags, one that differs proves nothing."""
        if self._foreign and problem.found and not self._deep and problem.verdict.state == DAMAGED:
            return Problem(
                problem.key, problem.rows, problem.found, judge(problem.rows, problem.found, None, self._archive.kind)
            )
        return problem

    def _final(self, problem: Problem) -> None:
        if problem.verdict.state == GOOD:
            self.report.good(problem.verdict)
        elif problem.verdict.state:
            self.report.bad(problem, keep=problem.verdict.state in self._keep)

    def _again(self, before: Problem, rows: list[Row], index: OpenIndex) -> Problem:
        with self._turn:
            self.report.looked_again += 1
        for attempt in range(_TRIES):
            if attempt:
                with self._index_turn:
                    rows = index.look([before.key]).get(before.key, [])
            try:
                return self._looked(before, tuple(rows))
            except (Changed, NotFound):
                continue
            except Refused as error:
                state = MISSING if before.found is None else UNREADABLE
                return Problem(before.key, tuple(rows), before.found, Verdict(state, str(error)))
            except RunbookError as error:
                return Problem(before.key, tuple(rows), before.found, Verdict(UNREADABLE, str(error)))
        return Problem(before.key, tuple(rows), before.found, Verdict(CHANGING, "it is being written again and again"))

    def _looked(self, before: Problem, rows: tuple[Row, ...]) -> Problem:
        if before.verdict.state == CONTRADICTORY:
            return before
        found = self._place.look(before.key)
        if found is None and not rows:
            return Problem(before.key, rows, None, Verdict(""))  # gone from both meanwhile
        if (
            self._deep
            and found is not None
            and rows
            and found.size == (rows[0].size if rows[0].size is not None else found.size)
        ):
            return Problem(before.key, rows, found, self._verdict(rows, found))
        md5 = found.md5 if found and self._archive.kind == "md5" else None
        if found is not None and md5 is None and self._archive.kind == "md5" and before.found and before.found.md5:
            with self._turn:
                self._foreign += 1
        return Problem(before.key, rows, found, judge(rows, found, md5, self._archive.kind))


def spread(boundaries: list[str]) -> list[str]:
    """Pieces of up to four pages, and enough of them that nobody is left with a large last one: a piece takes a request more
    where objects lie in it that the index does not know of."""
    pages = min(max(len(boundaries) // 16, 1), 4)
    return boundaries[pages - 1 :: pages]


def digest_of(place: Place, found: Found, kind: str) -> tuple[int, str]:
    """The bytes that can be read of an object, and their digest."""
    digest, size = hashlib.new(kind, usedforsecurity=False), 0
    for data in place.read(found):
        digest.update(data)
        size += len(data)
    return size, digest.hexdigest()
