# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading many objects whole: the short way, and the long one from where that ends, for it goes on where a connection was cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._store._s3_bucket import Bucket
from .._store._s3_read import read_object
from .base import Found
from .short_way import NotPlain, ShortWay

_CHUNK = 1 << 20


class Reader:
    """For one bucket; threads may share it."""

    def __init__(self, bucket: Bucket, short_way: ShortWay) -> None:
        self._bucket = bucket
        self._short_way = short_way

    def read(self, found: Found) -> Iterator[bytes]:
        """The object's bytes, of the version or with the tag that was found."""
        if not found.archived:
            try:
                return self._chunks(self._short_way.get(found), found)
            except NotPlain:
                pass
        return read_object(self._bucket, found.key, _conditions(found))

    def _chunks(self, answer: Any, found: Found) -> Iterator[bytes]:
        done = 0
        try:
            for data in answer.stream(min_chunk_size=_CHUNK):
                done += len(data)
                yield bytes(data)
        except self._short_way.errors:
            pass
        if done < found.size:
            yield from read_object(self._bucket, found.key, _conditions(found), done)


def _conditions(found: Found) -> dict[str, str]:
    return {"IfMatch": f'"{found.tag}"', **({"VersionId": found.version} if found.version else {})}
