# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Streams that zstd packed, unpacked in bounded memory: a piece of a few bytes may hold gigabytes of zeros."""

from __future__ import annotations

from collections.abc import Iterator

from ._require import require

PIECE = 1 << 20


class NotPacked(Exception):
    """The bytes are not what zstd wrote."""


def unpacked(source: Iterator[bytes]) -> Iterator[bytes]:
    """What the frames in ``source`` hold, in pieces of at most ``PIECE`` bytes. That the last frame ends early is not seen:
    who reads knows how many bytes there are to be."""
    zstandard = require("zstandard", "zstandard")
    reader = zstandard.ZstdDecompressor().stream_reader(_File(source), read_size=PIECE, read_across_frames=True)
    try:
        while data := reader.read1(PIECE):  # what there is, as it comes
            yield data
    except zstandard.ZstdError as error:
        raise NotPacked(str(error)) from None


class _File:
    """``read(n)`` over an iterator of chunks, for libraries that want a file."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self._source = source
        self._rest = b""

    def read(self, size: int) -> bytes:
        data = self._rest or next(self._source, b"")
        self._rest = data[size:]
        return data[:size]
