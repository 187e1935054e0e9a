# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list pages of a bucket, and nothing more: fetched the short way where it will do, and several at a time.

On the long way botocore makes a dictionary of every element by a model of the service, which takes several times as long as the request.
Here a page goes through C's parser once (by the event that botocore has for such), and three of its texts are kept.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import Any, NamedTuple
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from .._stages import ahead
from .._store._s3_bucket import Bucket
from .._store.base import ARCHIVE_CLASSES
from .base import Found
from .compare import place_of
from .short_way import NotPlain, ShortWay

PAGE = 1000
"""Keys that one list request may return."""

_EVENT = "before-parse.s3.ListObjectsV2"
_AT_ONCE = 4
_HEAD_PAGES = 8
"""Pages of a segment that are fetched before its turn: what the index does not know of may be any number."""


class _Page(NamedTuple):
    objects: list[Found]
    token: str | None


class Listing:
    """The objects of a bucket below its prefix."""

    def __init__(self, bucket: Bucket, short_way: ShortWay) -> None:
        self._bucket = bucket
        self._short_way = short_way
        self._cut = len(bucket.prefix)
        self._quick = False
        self._first: Future[Iterator[list[Found]]] | None = None

    def begin(self, *, quick: bool) -> None:
        """Ask for the first page, and go on: the endpoint works while the index is still being opened."""
        self._quick = quick
        pool = ThreadPoolExecutor(1, thread_name_prefix="s3-list")
        self._first = pool.submit(self._begun)
        pool.shutdown(wait=False)

    def _begun(self) -> Iterator[list[Found]]:
        pages = self._all(None)
        return chain([*islice(pages, 1)], pages)

    def is_empty(self) -> bool:
        return not any(self._segment(None, None))

    def pages(self, boundaries: Sequence[str]) -> Iterator[list[Found]]:
        """In the order of keys; between ``boundaries`` at the same time."""
        segments = list(zip((None, *boundaries), (*boundaries, None), strict=True))
        if len(segments) == 1:
            yield from ahead(self._segment(None, None))
            return
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="s3-list") as pool:
            waiting: deque[Future[tuple[list[list[Found]], Iterator[list[Found]] | None]]] = deque()
            left = iter(segments)
            try:
                for after, until in left:
                    waiting.append(pool.submit(self._head, after, until))
                    if len(waiting) > _AT_ONCE:
                        yield from self._consume(waiting.popleft())
                while waiting:
                    yield from self._consume(waiting.popleft())
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    @staticmethod
    def _consume(future: Future[tuple[list[list[Found]], Iterator[list[Found]] | None]]) -> Iterator[list[Found]]:
        head, rest = future.result()
        yield from head
        if rest is not None:
            yield from rest

    def _head(self, after: str | None, until: str | None) -> tuple[list[list[Found]], Iterator[list[Found]] | None]:
        segment = self._segment(after, until)
        head = []
        for page in segment:
            head.append(page)
            if len(head) == _HEAD_PAGES:
                return head, segment
        return head, None

    def _segment(self, after: str | None, until: str | None) -> Iterator[list[Found]]:
        """The pages of the keys behind ``after``, to ``until`` and with it."""
        begun, self._first = (self._first, None) if after is None else (None, self._first)
        end = None if until is None else place_of(until)
        shared = "" if after is None or until is None else os.path.commonprefix([after, until])  # noqa: RUF071 - keys
        for page in begun.result() if begun else self._all(after, shared):
            if end is not None and page and place_of(page[-1].key) >= end:
                yield [found for found in page if place_of(found.key) <= end]
                return
            yield page

    def _all(self, after: str | None, shared: str = "") -> Iterator[list[Found]]:
        """The pages behind ``after``. ``shared``: what every key that is wanted begins with, which spares endpoints that walk
        directories the others."""
        if self._quick:
            try:
                for page in self._short_way.pages(after):
                    yield page
                    after = page[-1].key
                return
            except NotPlain:
                pass
        yield from self._long(after, shared)

    def _long(self, after: str | None, shared: str) -> Iterator[list[Found]]:
        token = None
        while True:
            page = self._page(after, token, shared)
            yield page.objects
            token = page.token
            if token is None:
                return

    def _page(self, after: str | None, token: str | None, shared: str) -> _Page:
        where = {"ContinuationToken": token} if token else {"StartAfter": self._bucket.prefix + after} if after else {}
        with self._bucket.asking("listing all", "s3:ListBucket"):
            client = self._bucket.client
            client.meta.events.register(_EVENT, self._parse, unique_id="runbook-archive")
            answer = client.list_objects_v2(
                Bucket=self._bucket.name, Prefix=self._bucket.prefix + shared, MaxKeys=PAGE, EncodingType="url", **where
            )
        page: _Page | None = answer.get("Lean")
        if page is None:  # a web site that says 200 to everything would look like an empty bucket
            raise self._bucket.no_s3()
        return page

    def _parse(self, response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
        """Takes the page out of the answer before botocore parses the rest."""
        if response_dict["status_code"] != 200:
            return
        try:
            root = ElementTree.fromstring(response_dict["body"])  # noqa: S314 - expat bounds what entities may grow to
        except ElementTree.ParseError:
            return  # botocore tries again, and says what is wrong
        space, _brace, name = root.tag.rpartition("}")
        if name != "ListBucketResult":
            return
        space = f"{space}}}" if space else ""
        customized_response_dict["Lean"] = self._lean(root, space)
        response_dict["body"] = b"<ListBucketResult/>"

    def _lean(self, root: ElementTree.Element, space: str) -> _Page:
        cut, objects = self._cut, []
        encoded = root.findtext(f"{space}EncodingType") == "url"
        names = (f"{space}Key", f"{space}Size", f"{space}ETag", f"{space}StorageClass")
        for entry in root.iter(f"{space}Contents"):
            key, size, tag, storage_class = map(entry.findtext, names)
            key = key or ""
            if encoded and ("%" in key or "+" in key):
                key = unquote_plus(key)
            if key.endswith("/"):  # what consoles make to show an empty folder
                continue
            tag = (tag or "").strip('"')
            objects.append(
                Found(
                    key[cut:], int(size or 0), tag, tag if len(tag) == 32 else None, storage_class, None,
                    storage_class in ARCHIVE_CLASSES,
                )
            )  # fmt: skip
        truncated = root.findtext(f"{space}IsTruncated") == "true"
        return _Page(objects, root.findtext(f"{space}NextContinuationToken") if truncated else None)
