# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Uploads in parts that nobody completes: no listing of objects shows them, and they are billed until they are given up.

MinIO lists those of one whole key, or those of a bucket that were begun since it was started. So of any endpoint but
Amazon's all of the bucket are asked for; and what a server forgot when it was killed, the next upload of the same key finds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from ._s3_bucket import Bucket


def below(bucket: Bucket, prefix: str) -> Iterator[Mapping[str, Any]]:
    """Those whose keys begin with ``prefix``, which itself begins with the bucket's."""
    with bucket.asking(f"listing the uploads of {prefix or 'all'}", "s3:ListBucketMultipartUploads"):
        for page in bucket.client.get_paginator("list_multipart_uploads").paginate(
            Bucket=bucket.name, Prefix="" if bucket.endpoint_url else prefix
        ):
            if "IsTruncated" not in page:
                raise bucket.no_s3()
            yield from (upload for upload in page.get("Uploads", ()) if upload["Key"].startswith(prefix))


def of_key(bucket: Bucket, key: str) -> list[Mapping[str, Any]]:
    """Those of one key: a client may begin as many as it likes."""
    named = bucket.name_of(key)
    with bucket.asking(f"listing the uploads of {key}", "s3:ListBucketMultipartUploads"):
        page = bucket.client.list_multipart_uploads(Bucket=bucket.name, Prefix=named["Key"])
    return [upload for upload in page.get("Uploads", ()) if upload["Key"] == named["Key"]]


def last_sign(bucket: Bucket, upload: Mapping[str, Any]) -> datetime:
    """When its last part came, or it was begun."""
    with bucket.asking(f"listing the parts of {upload['Key']}", "s3:ListMultipartUploadParts"):
        pages = bucket.client.get_paginator("list_parts").paginate(
            Bucket=bucket.name, Key=upload["Key"], UploadId=upload["UploadId"]
        )
        times = [part["LastModified"] for page in pages for part in page.get("Parts", ())]
    newest: datetime = max(times, default=upload["Initiated"])
    return newest


def give_up(bucket: Bucket, upload: Mapping[str, Any]) -> None:
    with bucket.asking(f"giving up the upload of {upload['Key']}", "s3:AbortMultipartUpload"):
        bucket.client.abort_multipart_upload(Bucket=bucket.name, Key=upload["Key"], UploadId=upload["UploadId"])
