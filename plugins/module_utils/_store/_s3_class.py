# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moving an object to another storage class: S3 does that by copying it onto itself."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .._errors import Refused, RunbookError, StoreError
from ._s3_bucket import Bucket
from .base import ARCHIVE_CLASSES

SINGLE_COPY = 5 << 30
"""The most that one request copies; larger objects are copied in parts."""

_PART = 512 << 20
_IN_FLIGHT = 4
_PERMISSION = "s3:GetObject and s3:PutObject"
_KEPT = (
    "CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "Metadata",
    "ServerSideEncryption", "SSEKMSKeyId", "BucketKeyEnabled",
)  # fmt: skip
"""What a copy in parts must be told again, under the names of ``HeadObject``."""


def move_to_class(bucket: Bucket, key: str, storage_class: str) -> None:
    """Copy the object in place; in a bucket with versions the copy replaces the old version, which is deleted."""
    doing = f"moving {key} to {storage_class}"
    with bucket.asking(doing, _PERMISSION):
        source = bucket.client.head_object(**bucket.name_of(key))
    if source.get("StorageClass", "STANDARD") == storage_class:
        return
    _refuse_archived(bucket, key, source)
    with bucket.asking(doing, _PERMISSION):
        if source["ContentLength"] > SINGLE_COPY:
            _copy_in_parts(bucket, key, source, storage_class)
        else:
            bucket.client.copy_object(
                **bucket.name_of(key), CopySource=bucket.name_of(key), CopySourceIfMatch=source["ETag"],
                StorageClass=storage_class, MetadataDirective="COPY", TaggingDirective="COPY",
                ChecksumAlgorithm="SHA256",  # of the whole: that of an object in parts would no longer fit
            )  # fmt: skip
        moved = bucket.client.head_object(**bucket.name_of(key))
    if moved["ContentLength"] != source["ContentLength"] or moved.get("StorageClass", "STANDARD") != storage_class:
        raise StoreError(
            f"{bucket.label}: {doing} failed: it has {moved['ContentLength']} bytes in "
            f"{moved.get('StorageClass', 'STANDARD')} now: see whether {bucket.place.endpoint} has that class."
        )
    _drop_former(bucket, key, source.get("VersionId"), moved.get("VersionId"))


def _refuse_archived(bucket: Bucket, key: str, source: Mapping[str, Any]) -> None:
    held = source.get("StorageClass")
    if held in ARCHIVE_CLASSES and 'ongoing-request="false"' not in source.get("Restore", ""):
        raise Refused(
            f"{bucket.label}: {key} is archived in {held}, which S3 cannot copy out of: "
            "request its restore, wait until S3 has done it, then try again."
        )


def _copy_in_parts(bucket: Bucket, key: str, source: Mapping[str, Any], storage_class: str) -> None:
    client, named, size = bucket.client, bucket.name_of(key), source["ContentLength"]
    kept = {name: source[name] for name in _KEPT if source.get(name)}
    # No checksum is asked for: MinIO makes none of what it copies itself, and then refuses the part without one.
    upload_id = client.create_multipart_upload(**named, **kept, StorageClass=storage_class)["UploadId"]

    def copy(number: int) -> dict[str, Any]:
        first = (number - 1) * _PART
        answer = client.upload_part_copy(
            **named, UploadId=upload_id, PartNumber=number, CopySource=named, CopySourceIfMatch=source["ETag"],
            CopySourceRange=f"bytes={first}-{min(first + _PART, size) - 1}",
        )["CopyPartResult"]  # fmt: skip
        return {"PartNumber": number, "ETag": answer["ETag"]}

    try:
        with ThreadPoolExecutor(_IN_FLIGHT) as pool:
            parts = list(pool.map(copy, range(1, -(-size // _PART) + 1)))
        client.complete_multipart_upload(**named, UploadId=upload_id, MultipartUpload={"Parts": parts})
    except BaseException:
        client.abort_multipart_upload(**named, UploadId=upload_id)
        raise


def _drop_former(bucket: Bucket, key: str, former: str | None, present: str | None) -> None:
    if former in (None, present) or not bucket.keeps_versions:
        return
    try:
        with bucket.asking(f"deleting the former version of {key}", "s3:DeleteObjectVersion"):
            bucket.client.delete_object(**bucket.name_of(key), VersionId=former)
    except RunbookError as error:
        raise Refused(
            f"{error} The object was moved all the same; its former version stays, and is billed, in its old class."
        ) from None
