# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The document archive: objects in S3, and in PostgreSQL an index of what each has to be."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import boto3
from botocore.config import Config

from ..core.database_pg import engine

_INSERT = (
    "INSERT INTO archive_index (object_key, title, size, md5, sha256, archived_at) VALUES (%s, %s, %s, %s, %s, %s)"
    " ON CONFLICT (object_key) DO UPDATE SET title = excluded.title, size = excluded.size, md5 = excluded.md5,"
    " sha256 = excluded.sha256, archived_at = excluded.archived_at"
)


class Archive:
    """Its credentials are the environment's."""

    def __init__(self) -> None:
        self._bucket = os.environ["ARCHIVE_BUCKET"]
        self._client = boto3.client(
            "s3", endpoint_url=os.environ["S3_ENDPOINT_URL"], region_name=os.environ.get("S3_REGION", "eu-central-1"),
            config=Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 3, "mode": "standard"}),
        )  # fmt: skip

    def store(self, title: str, content: bytes) -> str:
        """The object first, then its row: a row without an object would promise what is not there."""
        now = datetime.now(timezone.utc)
        key = f"{now:%Y/%m}/{uuid.uuid4()}.txt"
        sha256 = hashlib.sha256(content).hexdigest()
        self._client.put_object(
            Bucket=self._bucket, Key=key, Body=content, ContentType="text/plain",
            Metadata={"title": title, "sha256": sha256, "archived-at": now.isoformat()},
        )  # fmt: skip
        with engine.pool.connection() as connection:
            md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
            connection.execute(_INSERT, (key, title, len(content), md5, sha256, now))
        return key

    def read(self, key: str) -> bytes:
        return bytes(self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read())

    def verify_all(self) -> None:
        """Reads every object; says which are damaged, missing or in no index, and ends with an error if any is."""
        with engine.connect() as connection:
            index = {row["object_key"]: row["sha256"] for row in connection.execute("SELECT * FROM archive_index")}
        stored = {found["Key"] for found in self._objects()}
        wrong = [f"missing {key}" for key in sorted(index.keys() - stored)]
        wrong += [f"not in the index {key}" for key in sorted(stored - index.keys())]
        for key in sorted(index.keys() & stored):
            if hashlib.sha256(self.read(key)).hexdigest() != index[key]:
                wrong.append(f"damaged {key}")
        if wrong:
            raise SystemExit("\n".join([*wrong, f"{len(index)} documents, {len(wrong)} wrong"]))
        print(f"{len(index)} documents, 0 wrong")

    def rebuild_index(self) -> None:
        """From the objects, in one transaction."""
        number = 0
        with engine.connect() as connection:
            connection.execute("DELETE FROM archive_index")
            for found in self._objects():
                content = self.read(found["Key"])
                told = self._client.head_object(Bucket=self._bucket, Key=found["Key"])["Metadata"]
                at = told.get("archived-at", found["LastModified"])
                md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
                sha256 = hashlib.sha256(content).hexdigest()
                connection.execute(_INSERT, (found["Key"], told.get("title", ""), len(content), md5, sha256, at))
                number += 1
        print(f"{number} documents are in the index")

    def _objects(self) -> Iterator[dict[str, Any]]:
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket):
            yield from page.get("Contents", [])


archive = Archive()
