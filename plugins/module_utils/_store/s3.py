# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket as a store: Amazon S3, or whatever speaks its protocol."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

from .._errors import NotFound, Refused, StoreError
from . import _s3_unfinished
from ._keys import check_key, check_prefix
from ._s3_bucket import AMBIENT, PATIENCE, Bucket, Credentials, Patience
from ._s3_class import move_to_class
from ._s3_delete import delete_objects
from ._s3_read import read_object
from ._s3_upload import S3Upload
from .base import DeleteReport, Entry, Store, Upload

_PAGE = 1000
"""Keys that one list request may return."""


class S3Store(Store):
    """Backups under a prefix of a bucket. ``variable`` is where the operator wrote the bucket's name."""

    type = "s3"

    def __init__(
        self, bucket: str, prefix: str = "", *, region: str | None = None, endpoint_url: str | None = None,
        credentials: Credentials = AMBIENT, verify: bool | str = True, variable: str = "bucket",
        patience: Patience = PATIENCE,
    ) -> None:  # fmt: skip
        self.bucket = Bucket(
            bucket, prefix, variable=variable, region=region, endpoint_url=endpoint_url, credentials=credentials,
            verify=verify, patience=patience,
        )  # fmt: skip
        self.label = self.bucket.label

    def __repr__(self) -> str:
        return f"S3Store({self.label!r})"

    def check(self, *, write: bool) -> None:
        """Whether keys, bucket and region are right. Permission to write shows at the first write: S3 has no way to
        ask for it without writing."""
        try:
            with self.bucket.asking("reaching the bucket", "s3:ListBucket"):
                self.bucket.client.head_bucket(Bucket=self.bucket.name)
        except (Refused, NotFound):
            # HEAD has no body to say why, and ignores that a permission may be for our prefix alone.
            with self.bucket.asking("reaching the bucket", "s3:ListBucket"):
                self.bucket.client.list_objects_v2(Bucket=self.bucket.name, Prefix=self.bucket.prefix, MaxKeys=1)

    @contextmanager
    def upload(self, key: str, *, size_hint: int, storage_class: str | None = None) -> Iterator[Upload]:
        check_key(self.label, key)
        upload = S3Upload(self.bucket, key, size_hint=size_hint, storage_class=storage_class)
        try:
            yield upload
        finally:
            upload.abort()

    def put(self, key: str, data: bytes) -> None:
        with self.upload(key, size_hint=len(data)) as upload:
            upload.write(data)
            upload.commit()

    def read(self, key: str) -> Iterator[bytes]:
        return read_object(self.bucket, check_key(self.label, key))

    def get(self, key: str, limit: int = 4 << 20) -> bytes:
        data = bytearray()
        for chunk in self.read(key):
            data += chunk
            if len(data) > limit:
                raise StoreError(
                    f"{self.label}: {key} is larger than {limit} bytes: it is not the record it should be."
                )
        return bytes(data)

    def entries(self, prefix: str) -> Iterator[Entry]:
        pages = self.bucket.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket.name, Prefix=self._below(prefix), MaxKeys=_PAGE
        )
        with self.bucket.asking(f"listing {prefix or 'all'}", "s3:ListBucket"):
            for page in pages:
                if "IsTruncated" not in page:  # a web site that says 200 to everything would look like an empty bucket
                    raise self.bucket.no_s3()
                for found in page.get("Contents", ()):
                    key = found["Key"][len(self.bucket.prefix) :]
                    if not key.endswith("/"):  # what consoles make to show an empty folder
                        yield Entry(key, found["Size"], found["ETag"].strip('"'), found.get("StorageClass"))

    def delete(self, keys: Iterable[str]) -> DeleteReport:
        return delete_objects(self.bucket, [check_key(self.label, key) for key in keys])

    def set_storage_class(self, key: str, storage_class: str) -> None:
        move_to_class(self.bucket, check_key(self.label, key), storage_class)

    def free_space(self) -> int | None:
        return None

    def sweep(self, prefix: str, older_than: timedelta = timedelta(days=1)) -> list[str]:
        """An upload is dead when it was begun, and its last part came, longer ago than ``older_than``."""
        limit = datetime.now(timezone.utc) - older_than
        removed = []
        for upload in list(_s3_unfinished.below(self.bucket, self._below(prefix))):
            if upload["Initiated"] <= limit and _s3_unfinished.last_sign(self.bucket, upload) <= limit:
                _s3_unfinished.give_up(self.bucket, upload)
                removed.append(upload["Key"][len(self.bucket.prefix) :])
        return removed

    def _below(self, prefix: str) -> str:
        return self.bucket.prefix + check_prefix(self.label, prefix)
