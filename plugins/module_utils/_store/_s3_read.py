# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading one object as a stream that outlives a cut connection: it goes on where it stopped, in the same version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from .._errors import StoreError
from .._require import require
from ._s3_bucket import Bucket
from ._s3_errors import translate

_CHUNK = 1 << 20
_PERMISSION = "s3:GetObject"


def read_object(bucket: Bucket, key: str, which: Mapping[str, str] | None = None, start: int = 0) -> Iterator[bytes]:
    """The object's bytes in chunks. The first request is made at once, so that what is not there says so here.

    ``which``: the version or the ETag that is meant, as ``VersionId`` and ``IfMatch``. ``start``: bytes that are here already.
    """
    return _Reading(bucket, key, which or {}, start).chunks()


class _Reading:
    def __init__(self, bucket: Bucket, key: str, which: Mapping[str, str], start: int) -> None:
        self._which = which
        self._bucket = bucket
        self._key = key
        self._doing = f"reading {key}"
        self._done = start
        self._failures = 0
        self._answer = self._ask(Range=f"bytes={start}-") if start else self._ask(ChecksumMode="ENABLED")

    def chunks(self) -> Iterator[bytes]:
        try:
            while data := self._next():
                self._done += len(data)
                self._failures = 0
                yield data
        finally:
            self._close()

    def _next(self) -> bytes:
        deadline = self._bucket.deadline(self._doing)
        known = require("botocore.exceptions", "boto3")
        while True:
            try:
                data: bytes = self._answer["Body"].read(_CHUNK)
                return data
            except known.FlexibleChecksumError as error:
                raise translate(error, self._bucket.place, self._doing, _PERMISSION) from None
            except known.BotoCoreError as error:
                self._failures += 1
                if self._failures >= self._bucket.patience.attempts:
                    raise translate(error, self._bucket.place, self._doing, _PERMISSION) from None
            deadline.check()
            self._bucket.patience.pause(self._failures)
            self._resume()

    def _resume(self) -> None:
        self._close()
        if "ETag" not in self._answer:
            raise self._bucket.no_s3()
        self._answer = self._ask(Range=f"bytes={self._done}-", IfMatch=self._answer["ETag"])
        if self._done and "ContentRange" not in self._answer:
            raise StoreError(
                f"{self._bucket.label}: {self._doing} was cut off after {self._done} bytes, and "
                f"{self._bucket.place.endpoint} cannot go on from there (no Range requests): try again."
            )

    def _ask(self, **arguments: str) -> Mapping[str, Any]:
        with self._bucket.asking(self._doing, _PERMISSION):
            answer: Mapping[str, Any] = self._bucket.client.get_object(
                **self._bucket.name_of(self._key), **{**self._which, **arguments}
            )
        return answer

    def _close(self) -> None:
        with suppress(Exception):  # a connection that is broken already
            self._answer["Body"].close()
