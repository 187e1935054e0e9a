# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an object's right content still is: older versions, then the sources, each believed only when it is proved.

That somebody could not be asked is not that he has nothing: only who answers "there is none" counts as that.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

from .._errors import Archived, NoSpace, NotFound, RunbookError
from .base import Content, Found, Place, Row
from .compare import usable

_IN_MEMORY = 4 << 20
"""Bytes of an object that are held in memory before they go to a file without a name."""


@dataclass(frozen=True)
class Candidate:
    """A copy that may be the one."""

    place: Place
    found: Found

    def __str__(self) -> str:
        return f"{self.place.label}, version {self.found.version}" if self.found.version else self.place.label


@dataclass
class Search:
    """For one object. ``unfit``: copies that are not what the index says; ``unasked``: why some place could not be asked."""

    row: Row
    kind: str
    asleep: list[Candidate] = field(default_factory=list)
    unfit: int = 0
    unasked: list[str] = field(default_factory=list)

    @property
    def lost(self) -> bool:
        """Whether every place there is has answered that it has nothing."""
        return not (self.asleep or self.unfit or self.unasked)

    def candidates(self, objects: Place, sources: Sequence[Place]) -> Iterator[Candidate]:
        """One after the other, the nearest first."""
        versions = objects.versions(self.row.key)
        while True:
            try:
                found = next(versions, None)
            except RunbookError as error:
                self.unasked.append(str(error))
                break
            if found is None:
                break
            yield Candidate(objects, found)
        for source in sources:
            try:
                found = source.look(self.row.key)
            except RunbookError as error:
                self.unasked.append(str(error))
                continue
            if found is not None:
                yield Candidate(source, found)

    def fits(self, candidate: Candidate) -> bool:
        """As far as can be told without reading."""
        found = candidate.found
        fits = found.size >= 0 and self.row.size in (None, found.size)
        if fits and self.kind == "md5" and found.md5 is not None:
            fits = found.md5 == self.row.checksum
        self.unfit += not fits
        return fits

    @contextmanager
    def obtained(self, candidate: Candidate, work_dir: str, *, keep: bool) -> Iterator[Content | None]:
        """Its content, proved to be what the index says; ``None`` where it is not, is archived, or cannot be read.

        Without ``keep`` it is read and proved all the same, and the bytes are let go.
        """
        with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=work_dir) as file:
            yield self._read(candidate, file if keep else None, work_dir)

    def _read(
        self, candidate: Candidate, file: tempfile.SpooledTemporaryFile[bytes] | None, work_dir: str
    ) -> Content | None:
        if candidate.found.archived:
            self.asleep.append(candidate)
            return None
        digests = [hashlib.new(name, usedforsecurity=False) for name in (self.kind, "sha256", "md5")]
        size = 0
        try:
            for data in candidate.place.read(candidate.found):
                size += len(data)
                for digest in digests:
                    digest.update(data)
                if file is not None:
                    _write(file, data, work_dir)
            headers = candidate.place.describe(candidate.found) if file is not None else {}
        except Archived:
            self.asleep.append(candidate)
            return None
        except NoSpace:
            raise
        except NotFound:
            return None
        except RunbookError as error:
            self.unasked.append(str(error))
            return None
        if digests[0].hexdigest() != self.row.checksum or self.row.size not in (None, size):
            self.unfit += 1
            return None
        held: IO[bytes] = file if file is not None else tempfile.SpooledTemporaryFile()  # noqa: SIM115 - empty, in memory
        return Content(held, size, digests[1].digest(), digests[2].hexdigest(), headers)


def provable(row: Row, kind: str) -> bool:
    """Whether the index says enough of an object for a copy to be proved."""
    return usable(row.checksum, kind)


def _write(file: tempfile.SpooledTemporaryFile[bytes], data: bytes, work_dir: str) -> None:
    try:
        file.write(data)
    except OSError as error:
        raise NoSpace(
            f"{work_dir}: a copy cannot be held there until it is proved ({error.strerror or error}): free some space, or set "
            "runbook_work_dir to a directory that has it."
        ) from None
