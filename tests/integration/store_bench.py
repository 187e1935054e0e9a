# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket behind a proxy that does harm, for tests of what stores do then."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import RunbookError
from ansible_collections.runbook.ops.plugins.module_utils._store._s3_bucket import Credentials, Patience
from ansible_collections.runbook.ops.plugins.module_utils._store.base import Store
from ansible_collections.runbook.ops.plugins.module_utils._store.s3 import S3Store
from support.s3_proxy import S3Proxy

from lab.embedded.servers import S3Server

MIB = 1 << 20
PART = 5 * MIB
CANARY = "CANARY-secret-key-7f3a"
AT_ONCE = timedelta(0)
IMPATIENT = Patience(attempts=2, connect=2, read=5, stall=60)
HASTY = Patience(attempts=2, connect=1, read=1, stall=60)


@dataclass
class Bench:
    """A bucket with an empty store in it, reached through a proxy that does harm, and without it."""

    s3: S3Server
    proxy: S3Proxy
    name: str

    def store(self, **options: Any) -> S3Store:
        chosen = {
            "prefix": "pre", "region": self.s3.region, "endpoint_url": self.proxy.endpoint_url, "patience": IMPATIENT,
            "credentials": Credentials(access_key=self.s3.access_key, secret_key=CANARY), "variable": "stores[0].bucket",
            "bucket": self.name, **options,
        }  # fmt: skip
        return S3Store(**chosen)

    @property
    def behind(self) -> S3Store:
        """The same store, without the proxy."""
        return self.store(endpoint_url=self.s3.endpoint_url)

    def keys(self) -> list[str]:
        return [entry.key for entry in self.behind.entries("")]

    def unfinished(self) -> list[str]:
        listed = self.behind.bucket.client.list_multipart_uploads(Bucket=self.name)
        return [upload["Key"] for upload in listed.get("Uploads", [])]


@contextmanager
def bench_in(s3: S3Server, *, lock: bool = False) -> Iterator[Bench]:
    with S3Proxy(s3.endpoint_url) as proxy:
        bench = Bench(s3, proxy, f"f{uuid.uuid4().hex}")
        bench.behind.bucket.client.create_bucket(
            Bucket=bench.name, CreateBucketConfiguration={"LocationConstraint": s3.region},
            ObjectLockEnabledForBucket=lock,
        )  # fmt: skip
        yield bench


@contextmanager
def refused(kind: type[RunbookError], match: str) -> Iterator[pytest.ExceptionInfo[RunbookError]]:
    """The error is of this kind, says this, is one line, and holds no secret."""
    with pytest.raises(kind, match=match) as caught:
        yield caught
    said = str(caught.value)
    assert CANARY not in said + repr(caught.value)
    assert "\n" not in said
    assert said.endswith(".")


def write(store: Store, key: str, data: bytes) -> None:
    with store.upload(key, size_hint=0) as upload:
        for start in range(0, len(data), MIB):
            upload.write(data[start : start + MIB])
        upload.commit()
