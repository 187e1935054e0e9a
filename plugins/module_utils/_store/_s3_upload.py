# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing one object to a bucket while its bytes are still being made.

Parts wait in anonymous temporary files, not in memory: what we hold is the same for a part of 16 MiB and of 1 GiB, a
failed part can be sent again, and nothing is left when we are killed. Two parts travel while the next one is filled.

Each part carries its SHA-256, which the endpoint checks, and the MD5 it answers with (the ETag) is compared too, for
endpoints that do not. The finished object is asked for once more; where its ETag cannot prove it, it is read back.
"""

from __future__ import annotations

import base64
import hashlib
import re
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from typing import Any

from .._errors import NoSpace, RunbookError, StoreError
from . import _s3_unfinished
from ._s3_bucket import Bucket, Deadline, Stalled
from ._s3_delete import delete_objects
from ._s3_errors import code_of
from ._s3_read import read_object
from .base import Upload

SMALLEST_PART = 16 << 20
LARGEST_PART = 5 << 30
"""S3's own bound, of a part as of a single put."""

PARTS = 900
"""Parts that the size hint is spread over: some providers allow 1,000, and a hint may be short by a tenth."""

_GROWTH = 20
"""Past ``PARTS`` the hint was wrong: the part size doubles every so many parts, so that no provider's bound is met."""

_IN_FLIGHT = 2
_BLOCK = 1 << 20
_MD5 = re.compile(r"\A[0-9a-f]{32}(-\d+)?\Z")
_CHANGED = frozenset({"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"})
_PERMISSION = "s3:PutObject"


def part_size(size_hint: int) -> int:
    """Bytes of each part of an object that will be about ``size_hint`` bytes."""
    return min(max(SMALLEST_PART, -(-size_hint // PARTS)), LARGEST_PART)


class _Altered(StoreError):
    """The far side has other bytes than were sent."""


@dataclass(frozen=True)
class _Digests:
    """What a part, or an object of several, must be on the far side."""

    size: int
    md5: bytes
    sha256: bytes
    parts: int = 0

    @classmethod
    def of_file(cls, file: FileIO) -> _Digests:
        md5, sha256, size = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
        file.seek(0)
        while data := file.read(_BLOCK):
            md5.update(data)
            sha256.update(data)
            size += len(data)
        return cls(size, md5.digest(), sha256.digest())

    @classmethod
    def of_parts(cls, parts: Sequence[_Digests]) -> _Digests:
        """S3's own rule for an object of several parts: the digest of the parts' digests."""
        return cls(
            sum(part.size for part in parts),
            hashlib.md5(b"".join(part.md5 for part in parts), usedforsecurity=False).digest(),
            hashlib.sha256(b"".join(part.sha256 for part in parts)).digest(),
            len(parts),
        )

    @property
    def etag(self) -> str:
        return f"{self.md5.hex()}-{self.parts}" if self.parts else self.md5.hex()

    @property
    def checksum(self) -> str:
        return base64.b64encode(self.sha256).decode()

    def proved_by(self, answer: Mapping[str, Any]) -> bool:
        """Whether the endpoint's answer shows that it has these bytes. What KMS encrypts has no MD5 for an ETag; only
        S3 itself does that, and it has checked the SHA-256 that it repeats."""
        if _by_kms(answer):
            return str(answer.get("ChecksumSHA256", "")).partition("-")[0] == self.checksum
        return _etag(answer) == self.etag


def _etag(answer: Mapping[str, Any]) -> str:
    return str(answer.get("ETag", "")).strip('"')


def _by_kms(answer: Mapping[str, Any]) -> bool:
    return str(answer.get("ServerSideEncryption", "")).startswith("aws:kms")


def _has_md5(answer: Mapping[str, Any]) -> bool:
    return bool(_MD5.match(_etag(answer))) and not _by_kms(answer)


@dataclass(frozen=True)
class _Sent:
    number: int
    digests: _Digests
    etag: str
    proved: bool

    @property
    def named(self) -> dict[str, Any]:
        """As the request that completes an upload names a part."""
        return {"PartNumber": self.number, "ETag": self.etag, "ChecksumSHA256": self.digests.checksum}


class _Body:
    """A part as botocore reads it, for as long as the upload is wanted and the deadline has not passed."""

    def __init__(self, file: FileIO, deadline: Deadline, abandoned: threading.Event) -> None:
        self._file = file
        self._deadline = deadline
        self._abandoned = abandoned
        self.seek = file.seek
        self.tell = file.tell

    def read(self, size: int = -1) -> bytes:
        self._deadline.check()
        if self._abandoned.is_set():
            raise Stalled("The upload was given up.")
        return self._file.read(size)


class S3Upload(Upload):
    """A single put when one part holds it all, else a multipart upload, whose beginning is put off until then."""

    def __init__(self, bucket: Bucket, key: str, *, size_hint: int, storage_class: str | None) -> None:
        self._bucket = bucket
        self._key = key
        self._named = bucket.name_of(key)
        self._class = {"StorageClass": storage_class} if storage_class else {}
        self._part_size = part_size(size_hint)
        self._file = self._new_file()
        self._filled = 0
        self._upload_id: str | None = None
        self._sending: list[Future[_Sent]] = []
        self._senders = ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="s3-part")
        self._in_flight: set[Future[_Sent]] = set()
        self._abandoned = threading.Event()

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if self._filled == self._part_size:
                self._dispatch()
            try:
                written = self._file.write(view[: self._part_size - self._filled])
            except OSError as error:
                raise self._no_room(error) from None
            self._filled += written
            view = view[written:]

    def commit(self) -> None:
        if self._upload_id is None:
            self._commit_whole()
        else:
            self._commit_parts()

    def abort(self) -> None:
        self._abandoned.set()
        self._senders.shutdown(wait=True, cancel_futures=True)
        self._file.close()
        if self._upload_id is not None:
            with suppress(Exception):  # what stays is swept when it is old
                self._bucket.client.abort_multipart_upload(**self._named, UploadId=self._upload_id)
            self._upload_id = None

    def _commit_whole(self) -> None:
        try:
            sent = self._send(1, self._file, self._put)
            if not sent.proved:
                self._read_back([sent.digests])
        except _Altered:
            self._discard()
            raise

    def _commit_parts(self) -> None:
        if self._filled:
            self._dispatch()
        sent = [future.result() for future in self._sending]
        parts = [part.digests for part in sent]
        self._end_former()
        try:
            self._complete(sent)
        except StoreError:
            if not self._arrived(parts):
                raise
        self._upload_id = None
        try:
            self._confirm(parts)
        except RunbookError:  # what is not confirmed is not published
            self._discard()
            raise

    def _new_file(self) -> FileIO:
        try:
            return tempfile.TemporaryFile(buffering=0)
        except OSError as error:
            raise self._no_room(error) from None

    def _no_room(self, error: OSError) -> NoSpace:
        return NoSpace(
            f"{self._bucket.label}: a part of {self._key} cannot wait on this host's disk ({error.strerror or error}): "
            f"free some space in {tempfile.gettempdir()}, or set TMPDIR to a directory that has it."
        )

    def _dispatch(self) -> None:
        """Hand the filled part to a sender, once one is free, and begin another."""
        if self._upload_id is None:
            with self._bucket.asking(f"beginning the upload of {self._key}", _PERMISSION):
                begun = self._bucket.client.create_multipart_upload(
                    **self._named, **self._class, ChecksumAlgorithm="SHA256"
                )
            if "UploadId" not in begun:
                raise self._bucket.no_s3()
            self._upload_id = begun["UploadId"]
        if len(self._in_flight) == _IN_FLIGHT:  # all that a sender waits for is time-limited, so this is
            arrived, self._in_flight = wait(self._in_flight, return_when=FIRST_COMPLETED)
            for future in arrived:
                future.result()  # a part that cannot be sent ends the dump now, not when it is complete
        number = len(self._sending) + 1
        self._sending.append(self._senders.submit(self._send_part, number, self._file))
        self._in_flight.add(self._sending[-1])
        if number > PARTS and number % _GROWTH == 0:
            self._part_size = min(self._part_size * 2, LARGEST_PART)
        self._file, self._filled = self._new_file(), 0

    def _send_part(self, number: int, file: FileIO) -> _Sent:
        with file:
            return self._send(number, file, self._put_part)

    def _send(self, number: int, file: FileIO, put: Callable[[int, _Body, _Digests], Mapping[str, Any]]) -> _Sent:
        """Send until the far side has the same bytes; what botocore tries again by itself is one attempt here."""
        digests = _Digests.of_file(file)
        doing = f"writing {self._key}" + (f" (part {number})" if self._upload_id else "")
        body = _Body(file, self._bucket.deadline(doing), self._abandoned)
        attempts = self._bucket.patience.attempts
        for attempt in range(attempts):
            if attempt:
                self._bucket.patience.pause(attempt)
            file.seek(0)
            with self._bucket.asking(doing, _PERMISSION):
                try:
                    answer = put(number, body, digests)
                except Exception as error:
                    if code_of(error) in _CHANGED and attempt + 1 < attempts:
                        continue
                    raise
            proved = digests.proved_by(answer)
            if proved or not _has_md5(answer):
                return _Sent(number, digests, _etag(answer), proved)
        raise self._altered(doing, f"in {attempts} tries")

    def _put(self, _number: int, body: _Body, digests: _Digests) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self._bucket.client.put_object(
            **self._named, **self._class, Body=body, ContentLength=digests.size,
            ChecksumAlgorithm="SHA256", ChecksumSHA256=digests.checksum,
        )  # fmt: skip
        return answer

    def _put_part(self, number: int, body: _Body, digests: _Digests) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self._bucket.client.upload_part(
            **self._named, UploadId=self._upload_id, PartNumber=number,
            Body=body, ContentLength=digests.size, ChecksumSHA256=digests.checksum,
        )  # fmt: skip
        return answer

    def _complete(self, sent: Sequence[_Sent]) -> None:
        with self._bucket.asking(f"publishing {self._key}", _PERMISSION):
            self._bucket.client.complete_multipart_upload(
                **self._named, UploadId=self._upload_id, MultipartUpload={"Parts": [part.named for part in sent]}
            )

    def _end_former(self) -> None:
        """Give up uploads of this key that fell silent before ours began: whoever was at it lost the endpoint, or died."""
        # What stays is swept when it is old; no odd answer spoils what was sent.
        with suppress(RunbookError, LookupError):
            uploads = {upload["UploadId"]: upload for upload in _s3_unfinished.of_key(self._bucket, self._key)}
            ours = uploads.pop(self._upload_id, None)
            for upload in uploads.values():
                if ours and _s3_unfinished.last_sign(self._bucket, upload) < ours["Initiated"]:
                    _s3_unfinished.give_up(self._bucket, upload)

    def _arrived(self, parts: Sequence[_Digests]) -> bool:
        """Whether it was published all the same: only the answer may have been lost, and a second try is refused."""
        with suppress(RunbookError):
            return _Digests.of_parts(parts).proved_by(self._published())
        return False

    def _confirm(self, parts: Sequence[_Digests]) -> None:
        answer, whole = self._published(), _Digests.of_parts(parts)
        if answer["ContentLength"] != whole.size:
            raise self._altered(f"publishing {self._key}", f"{answer['ContentLength']} bytes of {whole.size}")
        if not whole.proved_by(answer):
            self._read_back(parts)

    def _published(self) -> Mapping[str, Any]:
        with self._bucket.asking(f"confirming {self._key}", "s3:GetObject"):
            answer: Mapping[str, Any] = self._bucket.client.head_object(**self._named, ChecksumMode="ENABLED")
        return answer

    def _read_back(self, parts: Sequence[_Digests]) -> None:
        chunks, rest = read_object(self._bucket, self._key), b""
        for part in parts:
            digest, missing = hashlib.sha256(), part.size
            while missing and (rest := rest or next(chunks, b"")):
                piece, rest = rest[:missing], rest[missing:]
                digest.update(piece)
                missing -= len(piece)
            if digest.digest() != part.sha256:
                raise self._altered(f"reading back {self._key}", "its sha256 is another")
        if rest or next(chunks, b""):
            raise self._altered(f"reading back {self._key}", "it is longer than what was written")

    def _altered(self, doing: str, how: str) -> _Altered:
        return _Altered(
            f"{self._bucket.label}: {doing} failed, other bytes arrived than were sent ({how}): "
            f"check the network between this host and {self._bucket.place.endpoint}, and its proxies."
        )

    def _discard(self) -> None:
        with suppress(RunbookError):
            delete_objects(self._bucket, [self._key])
