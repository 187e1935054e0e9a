# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rebuilding the index from the objects: rows for objects that have none; rows without objects go only when that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from .._errors import RunbookError
from .._policy import MaxDelete
from .._result import Action
from .base import Row
from .declared import Archive
from .index import OpenIndex
from .report import Problem, printable
from .verify import digest_of

_BATCH = 500


class Rebuild:
    """What is there already is never changed: a damaged object's row is what it is known by."""

    def __init__(self, archive: Archive, index: OpenIndex, *, check: bool, threads: int) -> None:
        self._archive = archive
        self._index = index
        self._check = check
        self._threads = threads
        self.errors: list[str] = []
        self.notes: list[str] = []

    def add(self, extra: Sequence[Problem]) -> list[Action]:
        """Rows for these objects, with the size and the checksum that reading them tells."""
        actions: list[Action] = []
        with ThreadPoolExecutor(self._threads, thread_name_prefix="archive-index") as pool:
            for start in range(0, len(extra), _BATCH):
                rows = [row for row in pool.map(self._row, extra[start : start + _BATCH]) if row]
                added = [row.key for row in rows] if self._check else self._index.insert(rows)
                actions += [Action("index", printable(key), "the index has no row for it") for key in sorted(added)]
        if self.errors:
            self.errors[:] = [f"{len(self.errors)} objects could not be indexed, such as: {self.errors[0]}"]
        return actions

    def _row(self, problem: Problem) -> Row | None:
        key, objects = problem.key, self._archive.objects
        try:
            now = objects.look(key)
            if now is None or (problem.found and now.tag != problem.found.tag):
                return None  # the application is at it
            if now.archived or now.size < 0:
                why = f"it is archived in {now.storage_class}" if now.archived else "it is no regular file"
                self.notes.append(f"{printable(key)} is not indexed: {why}.")
                return None
            key.encode("utf-8")
            if self._check:
                return Row(key, now.size, None)
            size, digest = digest_of(objects, now, self._archive.kind)
            return Row(key, size, digest)
        except UnicodeError:
            self.notes.append(f"{printable(key)} is not indexed: its name is no text.")
        except RunbookError as error:
            self.errors.append(str(error))
        return None

    def remove(self, lost: Sequence[Problem], total: int, most: MaxDelete) -> list[Action]:
        """The rows of objects that no place has; all of them, or none when they are more than ``most`` allows of ``total``."""
        if not lost:
            return []
        rows = [row for problem in lost for row in problem.rows]
        if not most.allows(len(rows), total):
            self.errors.append(
                f"Removing the rows of objects that no place has would remove {len(rows)} of {total}, more than max_remove "
                f"({most}): none was removed. See whether all sources are named and right; then raise archive_restore_max_remove "
                "for one run."
            )
            return []
        removed: list[str] = []
        for start in range(0, len(lost), _BATCH):
            still = [
                problem for problem in lost[start : start + _BATCH] if self._archive.objects.look(problem.key) is None
            ]
            batch = [row for problem in still for row in problem.rows]
            removed += [row.key for row in batch] if self._check else self._index.remove(batch)
        return [Action("remove row", printable(key), "no place has its object") for key in sorted(set(removed))]
