# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The document archive of a release: objects in one bucket, their copies elsewhere, and the rows that describe them."""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

UPLOADS = 8
"""Objects written at a time."""
_FIRST = datetime(2025, 1, 2, tzinfo=timezone.utc)
_WORDS = ("Lieferschein", "Rechnung", "Vertrag", "Angebot", "Protokoll", "Gutschrift", "Mahnung", "Bestellung")


@dataclass(frozen=True)
class Document:
    key: str
    title: str
    content: bytes
    archived_at: datetime

    def row(self) -> str:
        """A line for ``COPY archive_index``."""
        md5 = hashlib.md5(self.content, usedforsecurity=False).hexdigest()
        sha256 = hashlib.sha256(self.content).hexdigest()
        return "\t".join((self.key, self.title, str(len(self.content)), md5, sha256, self.archived_at.isoformat()))


def documents(release: str, number: int) -> Iterator[Document]:
    """The same ones for the same release: a few kilobytes each, through a year, in a folder for each month."""
    chance = random.Random(release)  # noqa: S311 - the same documents each time
    for count in range(number):
        at = _FIRST + timedelta(days=363 * count / number, seconds=chance.randrange(86_400))
        title = f"{chance.choice(_WORDS)} {10_000 + count}"
        lines = [f"{title}, {release}", *(chance.randbytes(40).hex() for _line in range(chance.randrange(20, 200)))]
        key = f"{at:%Y/%m}/{uuid.UUID(bytes=chance.randbytes(16), version=4)}.txt"
        yield Document(key, title, "\n".join(lines).encode(), at)


Bucket = tuple[Any, str]
"""A bucket's name, and the client of the server that has it."""


def is_empty(bucket: Bucket) -> bool:
    client, name = bucket
    return not client.list_objects_v2(Bucket=name, MaxKeys=1)["KeyCount"]


def fill(release: str, number: int, *buckets: Bucket) -> list[str]:
    """Put the documents into each bucket; their rows."""

    def store(document: Document) -> str:
        told = {
            "title": document.title, "archived-at": document.archived_at.isoformat(),
            "sha256": hashlib.sha256(document.content).hexdigest(),
        }  # fmt: skip
        for client, name in buckets:
            client.put_object(
                Bucket=name, Key=document.key, Body=document.content, ContentType="text/plain", Metadata=told
            )
        return document.row()

    with ThreadPoolExecutor(UPLOADS) as pool:
        return list(pool.map(store, documents(release, number)))
