# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive's objects in a bucket."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .._errors import Changed, NotFound, StoreError
from .._store._s3_bucket import Bucket
from .._store._s3_errors import code_of
from .._store.base import ARCHIVE_CLASSES
from .base import Content, Found, Place
from .listing import Listing
from .reading import Reader
from .short_way import ShortWay

LARGEST = 5 << 30
"""S3's bound of a single put, which alone can be conditional everywhere."""

THAWED_DAYS = 7
"""How long a requested object stays readable: a later run, of the next morning or after a weekend, still finds it so."""

_KEPT = ("ContentType", "ContentEncoding", "ContentDisposition", "ContentLanguage", "CacheControl", "Metadata")
_MD5 = re.compile(r"\A[0-9a-f]{32}\Z")
_UNCONDITIONAL = frozenset({"NotImplemented", "501", "InvalidArgument"})
_VERSIONLESS = frozenset({"NotImplemented", "501", "MethodNotAllowed"})


class ArchiveBucket(Place):
    """Below the prefix of a bucket; an object's key in the index is what follows that."""

    round_trips = True

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        short_way = ShortWay(bucket)
        self._listing = Listing(bucket, short_way)
        self._reader = Reader(bucket, short_way)
        self.label = bucket.label

    @property
    def client(self) -> Any:
        """boto3's, for who counts its requests."""
        return self._bucket.client

    def pages(self, boundaries: Sequence[str] = (), last: str | None = None) -> Iterator[list[Found]]:
        return self._listing.pages(boundaries, last)

    def begin(self, *, quick: bool) -> None:
        self._listing.begin(quick=quick)

    def end(self) -> None:
        self._listing.end()

    def look(self, key: str) -> Found | None:
        try:
            answer = self._head(key)
        except NotFound:
            return None
        return self._found(key, answer)

    def read(self, found: Found) -> Iterator[bytes]:
        return self._reader.read(found)

    def describe(self, found: Found) -> Mapping[str, Any]:
        answer = self._head(found.key, **_version(found))
        return {name: answer[name] for name in _KEPT if answer.get(name)}

    def versions(self, key: str) -> Iterator[Found]:
        """Asked for whatever the bucket tells of its versioning, which an account may not be let know: that would pass for none."""
        for version in self._older(key):
            try:
                found = self._version(key, version)
            except NotFound:
                continue  # went away meanwhile; one that is older may be there
            yield found

    def _older(self, key: str) -> Iterator[str]:
        name = self._bucket.name_of(key)["Key"]
        with self._bucket.asking(f"listing the versions of {key}", "s3:ListBucketVersions"):
            try:
                for page in self._bucket.client.get_paginator("list_object_versions").paginate(
                    Bucket=self._bucket.name, Prefix=name, PaginationConfig={"PageSize": 100}
                ):
                    for version in page.get("Versions", ()):
                        if version["Key"] != name:
                            return  # the key itself is the first of all that begin with it
                        if not version.get("IsLatest"):
                            yield version["VersionId"]
            except Exception as error:
                if code_of(error) not in _VERSIONLESS:
                    raise

    def _version(self, key: str, version: str) -> Found:
        return self._found(key, self._head(key, VersionId=version))._replace(version=version)

    def request(self, found: Found) -> None:
        with self._bucket.asking(f"requesting {found.key} from {found.storage_class}", "s3:RestoreObject"):
            try:
                self._bucket.client.restore_object(
                    **self._bucket.name_of(found.key), **_version(found),
                    RestoreRequest={"Days": THAWED_DAYS, "GlacierJobParameters": {"Tier": "Standard"}},
                )  # fmt: skip
            except Exception as error:
                if code_of(error) != "RestoreAlreadyInProgress":
                    raise

    def replace(self, key: str, current: Found | None, content: Content) -> str | None:
        if content.size > LARGEST:
            raise StoreError(f"{self.label}: {key} is larger than 5 GiB, which is put back by hand (aws s3 cp).")
        self._still(key, current)
        condition = {"IfMatch": f'"{current.tag}"'} if current else {"IfNoneMatch": "*"}
        note = None
        with self._bucket.asking(f"writing {key}", "s3:PutObject"):
            try:
                self._put(key, current, content, condition)
            except Exception as error:
                if code_of(error) not in _UNCONDITIONAL:
                    raise
                note = (
                    f"{self.label}: {self._bucket.place.endpoint} has no conditional writes, so what was written there in the "
                    "last moment before a restore would have been replaced."
                )
        if note:
            self._still(key, current)
            with self._bucket.asking(f"writing {key}", "s3:PutObject"):
                self._put(key, current, content, {})
        self._confirm(key, content)
        return note

    def check(self) -> None:
        if self._listing.is_empty():
            raise StoreError(
                f"{self.label} holds no object at all: correct bucket and prefix, or remove it from the archive's sources."
            )

    def sweep(self) -> None:
        """A put is whole or is not there."""

    def _put(self, key: str, current: Found | None, content: Content, condition: Mapping[str, str]) -> None:
        content.file.seek(0)
        storage_class = current and current.storage_class
        kept = {"StorageClass": storage_class} if storage_class and storage_class not in ARCHIVE_CLASSES else {}
        self._bucket.client.put_object(
            **self._bucket.name_of(key), Body=content.file, ContentLength=content.size, ChecksumAlgorithm="SHA256",
            ChecksumSHA256=base64.b64encode(content.sha256).decode(), **content.headers, **kept, **condition,
        )  # fmt: skip

    def _still(self, key: str, current: Found | None) -> None:
        now = self.look(key)
        if (now and now.tag) != (current and current.tag):
            raise Changed(f"{self.label}: {key} was written meanwhile: it is left as it is.")

    def _confirm(self, key: str, content: Content) -> None:
        """Whatever is found, nothing is deleted: these are the application's objects, and the next run judges anew."""
        now = self.look(key)
        if now is None or now.size != content.size or (now.md5 is not None and now.md5 != content.md5):
            raise StoreError(
                f"{self.label}: {key} was written, but what is there now is not what was sent: nothing was deleted; "
                "verify it again (archive_verify.yml)."
            )

    def _head(self, key: str, **which: str) -> Mapping[str, Any]:
        with self._bucket.asking(f"looking at {key}", "s3:GetObject and s3:ListBucket"):
            answer: Mapping[str, Any] = self._bucket.client.head_object(**self._bucket.name_of(key), **which)
        return answer

    def _found(self, key: str, answer: Mapping[str, Any]) -> Found:
        if "ETag" not in answer:
            raise self._bucket.no_s3()
        tag = answer["ETag"].strip('"')
        foreign = str(answer.get("ServerSideEncryption", "")).startswith("aws:kms") or answer.get(
            "SSECustomerAlgorithm"
        )
        thaw = str(answer.get("Restore", ""))
        return Found(
            key, answer["ContentLength"], tag, None if foreign or not _MD5.match(tag) else tag, answer.get("StorageClass"), None,
            answer.get("StorageClass") in ARCHIVE_CLASSES and 'ongoing-request="false"' not in thaw,
            "requested" if 'ongoing-request="true"' in thaw else "ready" if thaw else None,
        )  # fmt: skip


def _version(found: Found) -> dict[str, str]:
    return {"VersionId": found.version} if found.version else {}
