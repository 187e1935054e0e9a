# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows against objects: who belongs to whom, and what that says. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .._errors import StoreError
from .base import KINDS, Found, Row

GOOD, MISSING, DAMAGED, EXTRA, CONTRADICTORY = "good", "missing", "damaged", "extra", "contradictory"

_HEX = frozenset("0123456789abcdef")


class Disordered(StoreError):
    """A listing or an index that is not sorted would make objects look missing that are there."""


@dataclass(frozen=True)
class Verdict:
    """``proof`` of a good object is ``checksum``, ``size`` or ``existence``: what the index and the place had in common."""

    state: str
    reason: str = ""
    proof: str = ""


BY_CHECKSUM, BY_SIZE, BY_EXISTENCE = (Verdict(GOOD, proof=proof) for proof in ("checksum", "size", "existence"))


def place_of(key: str) -> bytes:
    """Where a key stands in the order: S3 sorts by UTF-8 bytes, PostgreSQL too under COLLATE "C"."""
    return key.encode("utf-8", "surrogateescape")


def pairs(rows: Iterable[Row], objects: Iterable[Found]) -> Iterator[tuple[list[Row], Found | None]]:
    """Every key once, with its rows (several where the index has it twice) and its object."""
    left, right = _grouped(rows), _placed(objects)
    group, found = next(left, None), next(right, None)
    while True:
        if group is not None and (found is None or group[0] < found[0]):
            yield group[1], None
            group = next(left, None)
        elif found is not None and (group is None or found[0] < group[0]):
            yield [], found[1]
            found = next(right, None)
        elif group is not None and found is not None:
            yield group[1], found[1]
            group, found = next(left, None), next(right, None)
        else:
            return


def _grouped(rows: Iterable[Row]) -> Iterator[tuple[bytes, list[Row]]]:
    last: tuple[bytes, list[Row]] | None = None
    for row in rows:
        place = place_of(row.key)
        if last is None:
            last = (place, [row])
        elif place == last[0]:
            last[1].append(row)
        elif place < last[0]:
            raise Disordered(f"The index gave {row.key!r} after {last[1][0].key!r}, which is not the order of bytes.")
        else:
            yield last
            last = (place, [row])
    if last is not None:
        yield last


def _placed(objects: Iterable[Found]) -> Iterator[tuple[bytes, Found]]:
    last = b""
    for found in objects:
        place = place_of(found.key)
        if place <= last and last:
            raise Disordered(
                f"The listing gave {found.key!r} after {last.decode('utf-8', 'replace')!r}, which is not the order of bytes: "
                "this endpoint's listings cannot be compared (S3 directory buckets are such)."
            )
        last = place
        yield place, found


def usable(checksum: str | None, kind: str) -> bool:
    """Whether a checksum of the index can be one of this kind."""
    return checksum is not None and len(checksum) == KINDS[kind] and _HEX.issuperset(checksum)


def judge(rows: Sequence[Row], found: Found | None, digest: str | None, kind: str) -> Verdict:  # noqa: PLR0911 - a table
    """What is to be said of a key. ``digest`` is the object's, of the index's ``kind``, where it is known."""
    if not rows:
        return Verdict(EXTRA, "the index has no row for it")
    row = rows[0]
    if len(rows) > 1 and any(other[1:] != row[1:] for other in rows):
        return Verdict(CONTRADICTORY, f"the index has {len(rows)} rows for it, which do not agree")
    if found is None:
        return Verdict(MISSING, "there is no object")
    if row.size is not None and row.size != found.size:
        return Verdict(
            DAMAGED,
            f"it has {found.size} bytes, the index says {row.size}" if found.size >= 0 else "it is no regular file",
        )
    if digest is not None and usable(row.checksum, kind):
        return BY_CHECKSUM if digest == row.checksum else Verdict(DAMAGED, f"its {kind} is not the index's")
    if found.size < 0:
        return Verdict(DAMAGED, "it is no regular file")
    return BY_EXISTENCE if row.size is None else BY_SIZE
