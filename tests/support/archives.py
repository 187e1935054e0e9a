# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small document archive on real servers: an index in PostgreSQL, objects in a bucket or a directory, copies in another."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from ansible_collections.runbook.ops.plugins.module_utils._archive.bucket import ArchiveBucket
from ansible_collections.runbook.ops.plugins.module_utils._archive.declared import Archive, archive_of
from ansible_collections.runbook.ops.plugins.module_utils._archive.report import Report
from ansible_collections.runbook.ops.plugins.module_utils._archive.verify import Verification
from ansible_collections.runbook.ops.plugins.module_utils._runtime.local import LocalRuntime
from psycopg import sql
from support.s3_requests import counted_client

from lab.embedded.servers import PostgresServer, S3Server

TABLE = "CREATE TABLE documents (id bigserial PRIMARY KEY, storage_key text, size_bytes bigint, digest {})"
_COPY = "COPY documents (storage_key, size_bytes, digest) FROM STDIN"
AWKWARD = ("a b/c d.pdf", "umlaut/Übergabe.pdf", "plus+and%percent.pdf", "q'uo\"te<&>.xml", "漢字/文書", "z/\U0001f4c4")
"""Keys that somebody's escaping gets wrong. (moto has no route for a line feed: tests/unit/test_archive.py has it.)"""


def new_bucket(s3: S3Server, *, versions: bool = False, prefix: str = "docs") -> dict[str, Any]:
    """A new bucket as an operator declares it."""
    declared = {
        "type": "s3", "bucket": f"b{secrets.token_hex(8)}", "prefix": prefix, "region": s3.region,
        "endpoint_url": s3.endpoint_url, "access_key": s3.access_key, "secret_key": s3.secret_key,
    }  # fmt: skip
    bucket = S3Objects(declared)
    bucket.client.create_bucket(
        Bucket=declared["bucket"], CreateBucketConfiguration={"LocationConstraint": s3.region}
    )  # fmt: skip
    if versions:
        bucket.client.put_bucket_versioning(
            Bucket=declared["bucket"], VersioningConfiguration={"Status": "Enabled"}
        )  # fmt: skip
    return declared


@dataclass(frozen=True)
class S3Objects:
    """The objects of a declared bucket, as an application handles them."""

    declared: Mapping[str, Any]

    @property
    def client(self) -> Any:
        import boto3

        return boto3.client(
            "s3", endpoint_url=self.declared["endpoint_url"], region_name=self.declared["region"],
            aws_access_key_id=self.declared["access_key"], aws_secret_access_key=self.declared["secret_key"],
        )  # fmt: skip

    def name(self, key: str) -> dict[str, str]:
        prefix = self.declared["prefix"]
        return {"Bucket": self.declared["bucket"], "Key": f"{prefix}/{key}" if prefix else key}

    def put(self, key: str, data: bytes, **also: Any) -> None:
        self.client.put_object(**self.name(key), Body=data, **also)

    def put_all(self, documents: Mapping[str, bytes]) -> None:
        client = self.client
        for key, data in documents.items():
            client.put_object(**self.name(key), Body=data)

    def get(self, key: str) -> bytes:
        return self.client.get_object(**self.name(key))["Body"].read()

    def delete(self, key: str) -> None:
        self.client.delete_object(**self.name(key))

    def keys(self) -> set[str]:
        client, cut = self.client, len(self.name("")["Key"])
        pages = client.get_paginator("list_objects_v2").paginate(
            Bucket=self.declared["bucket"], Prefix=self.name("")["Key"]
        )
        return {entry["Key"][cut:] for page in pages for entry in page.get("Contents", ())}

    def contents(self) -> dict[str, bytes | None]:
        """Of every object; ``None`` of one that is archived."""
        client, found = self.client, dict.fromkeys(self.keys())
        for key in found:
            with suppress(client.exceptions.InvalidObjectState):
                found[key] = self.get(key)
        return found

    def versions(self) -> list[tuple[str, str]]:
        answer = self.client.list_object_versions(Bucket=self.declared["bucket"])
        return sorted(
            (v["Key"], v["VersionId"]) for kind in ("Versions", "DeleteMarkers") for v in answer.get(kind, ())
        )


@dataclass(frozen=True)
class Files:
    """The same below a directory."""

    declared: Mapping[str, Any]

    @property
    def root(self) -> Path:
        return Path(self.declared["path"])

    def put(self, key: str, data: bytes) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def put_all(self, documents: Mapping[str, bytes]) -> None:
        for key, data in documents.items():
            self.put(key, data)

    def get(self, key: str) -> bytes:
        return (self.root / key).read_bytes()

    def delete(self, key: str) -> None:
        (self.root / key).unlink()

    def keys(self) -> set[str]:
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*") if not path.is_dir()}

    def contents(self) -> dict[str, bytes | None]:
        return {key: self.get(key) for key in self.keys()}


Objects = S3Objects | Files


def objects_of(declared: Mapping[str, Any]) -> Objects:
    return S3Objects(declared) if declared["type"] == "s3" else Files(declared)


@dataclass
class Documents:
    """An archive with a database of its own."""

    postgres: PostgresServer
    database: str
    declared: dict[str, Any]
    contents: dict[str, bytes] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return str(self.declared["checksum"])

    @property
    def objects(self) -> Objects:
        return objects_of(self.declared["objects"])

    @property
    def copies(self) -> Objects:
        return objects_of(self.declared["sources"][0])

    def archive(self, **changes: Any) -> Archive:
        return archive_of("archive", {**self.declared, **changes}, LocalRuntime())

    def connected(self) -> psycopg.Connection:
        server = self.postgres
        return psycopg.connect(
            host=server.host, port=server.port, user=server.user, password=server.password, dbname=self.database,
            autocommit=True,
        )  # fmt: skip

    def execute(self, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        with self.connected() as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def rows(self) -> list[tuple[Any, ...]]:
        return self.execute(
            'SELECT storage_key, size_bytes, digest FROM documents ORDER BY storage_key COLLATE "C", id'
        )

    def digest(self, data: bytes) -> str:
        return hashlib.new(self.kind, data).hexdigest()

    def index(self, documents: Mapping[str, bytes]) -> None:
        """Rows for these."""
        with self.connected() as connection, connection.cursor().copy(_COPY) as copy:
            for key, data in documents.items():
                copy.write_row((key, len(data), self.digest(data)))
        self.contents.update(documents)

    def store(self, documents: Mapping[str, bytes], *, copies: bool = True) -> None:
        """Rows, objects, and their copies."""
        self.index(documents)
        self.objects.put_all(documents)
        if copies:
            self.copies.put_all(documents)

    def verify(self, mode: str = "quick", **also: Any) -> Report:
        return Verification(self.archive(), deep=mode == "deep", **also).run()

    def found(self, mode: str = "quick", **also: Any) -> dict[str, list[str]]:
        """The keys of each state that is not good."""
        report = self.verify(mode, **also)
        found: dict[str, list[str]] = {}
        for problem in report.problems:
            found.setdefault(problem.verdict.state, []).append(problem.key)
        return found


def documents(keys: Iterable[str], size: int = 40) -> dict[str, bytes]:
    return {key: (key.encode("utf-8", "surrogateescape") * size)[:size] + os.urandom(8) for key in keys}


@contextmanager
def archive(
    postgres: PostgresServer,
    objects: dict[str, Any],
    sources: list[dict[str, Any]],
    checksum: str = "md5",
    column: str = "text",
) -> Iterator[Documents]:
    name = f"archive_{secrets.token_hex(5)}"
    login = {"host": postgres.host, "port": postgres.port, "user": postgres.user, "password": postgres.password}
    with psycopg.connect(**login, dbname="postgres", autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    declared = {
        "database": {"name": name, **login}, "table": "documents", "checksum": checksum,
        "columns": {"key": "storage_key", "size": "size_bytes", "checksum": "digest"}, "objects": objects, "sources": sources,
    }  # fmt: skip
    made = Documents(postgres, name, declared)
    made.execute(TABLE.format(column))
    try:
        yield made
    finally:
        with psycopg.connect(**login, dbname="postgres", autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def requests_of(archive: Archive) -> Iterator[Counter[str]]:
    """What an archive's bucket is asked for."""
    assert isinstance(archive.objects, ArchiveBucket)
    with counted_client(archive.objects.client) as requests:
        yield requests
