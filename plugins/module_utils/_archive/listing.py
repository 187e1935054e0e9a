# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list pages of a bucket, and nothing more: fetched the short way where it will do, and several at a time.

On the long way botocore makes a dictionary of every element by a model of the service, which takes several times as long as the request.
Here a page goes through C's parser once (by the event that botocore has for such), and three of its texts are kept.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import repeat
from typing import Any, NamedTuple
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from .._stages import ahead
from .._store._s3_bucket import Bucket
from .._store.base import ARCHIVE_CLASSES
from .base import Found
from .compare import place_of
from .short_way import PAGE, NotPlain, ShortWay

_EVENT = "before-parse.s3.ListObjectsV2"
_AT_ONCE = 3
_HEAD_PAGES = 8
"""Pages that are fetched before their turn: what the index does not know of may be any number."""


class _Page(NamedTuple):
    objects: list[Found]
    token: str | None


class _Head(NamedTuple):
    pages: list[list[Found]]
    rest: Iterator[list[Found]] | None


class Listing:
    """The objects of a bucket below its prefix."""

    def __init__(self, bucket: Bucket, short_way: ShortWay) -> None:
        self._bucket = bucket
        self._short_way = short_way
        self._cut = len(bucket.prefix)
        self._quick = False
        self._begun: Future[_Head] | None = None
        self._came: list[list[Found]] = []
        self._enough = threading.Event()

    def begin(self, *, quick: bool) -> None:
        """Ask for pages, and go on: the endpoint works while the index is still being opened."""
        self._quick = quick
        self._enough.clear()
        self._came = []
        pool = ThreadPoolExecutor(1, thread_name_prefix="s3-list")
        self._begun = pool.submit(_head, self._all(None, apart=True), self._came, self._enough)
        pool.shutdown(wait=False)

    def is_empty(self) -> bool:
        return not any(self._all(None))

    def end(self) -> None:
        """What was begun is not wanted any more."""
        self._enough.set()

    def pages(self, boundaries: Sequence[str], last: str | None) -> Iterator[list[Found]]:
        """In the order of keys; between ``boundaries`` at the same time. ``last``: the index's last key."""
        self._enough.set()
        begun, self._begun = self._begun, None
        behind = next((page[-1].key for page in reversed([*self._came]) if page), None) if begun else None
        left = [key for key in boundaries if behind is None or place_of(key) > place_of(behind)]
        first = self._segment(
            _consume(begun) if begun else self._all(None), None, next(iter(left), None), last
        )  # what is under way is waited for there, and in nobody else's way
        segments = [first, *map(self._between, left, [*left[1:], None], repeat(last))]
        if len(segments) == 1:
            yield from ahead(first)
            return
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="s3-list") as pool:
            waiting: deque[Future[_Head]] = deque()
            try:
                for segment in segments:
                    waiting.append(pool.submit(_head, segment, []))
                    if len(waiting) > _AT_ONCE:
                        yield from _consume(waiting.popleft())
                while waiting:
                    yield from _consume(waiting.popleft())
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _between(self, after: str, until: str | None, last: str | None) -> Iterator[list[Found]]:
        """The pages of the keys behind ``after``, to ``until`` and with it."""
        shared = "" if until is None else os.path.commonprefix([after, until])  # noqa: RUF071 - keys
        return self._segment(self._all(after, shared, apart=until is not None), after, until, last)

    def _segment(
        self, pages: Iterable[list[Found]], after: str | None, until: str | None, last: str | None
    ) -> Iterator[list[Found]]:
        return _until(self._whole(pages, after, until or last), until)

    def _whole(self, pages: Iterable[list[Found]], after: str | None, expected: str | None) -> Iterator[list[Found]]:
        """obstore takes any document for a page, be it a login form: an empty one, the last. So where the index has more, and
        where a last page was full, botocore looks behind it; not where it ended with the index's last key, for there an end is what
        was to be expected."""
        full = True
        for page in pages:
            yield page
            if page:
                after, full = page[-1].key, len(page) == PAGE
        if self._quick and (
            after is None or place_of(after) < place_of(expected or "") or (full and after != expected)
        ):
            yield from self._long(after, "")

    def _all(self, after: str | None, shared: str = "", *, apart: bool = False) -> Iterator[list[Found]]:
        """The pages behind ``after``. ``shared``: what every key that is wanted begins with, which spares endpoints that walk
        directories the others. ``apart``: not all pages may be wanted."""
        if self._quick:
            try:
                for page in self._short_way.pages(after, shared, apart=apart):
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


def _until(pages: Iterable[list[Found]], until: str | None) -> Iterator[list[Found]]:
    """Those of the keys to ``until`` and with it."""
    end = None if until is None else place_of(until)
    for page in pages:
        if end is not None and page and place_of(page[-1].key) >= end:
            yield [found for found in page if place_of(found.key) <= end]
            return
        yield page


def _head(pages: Iterator[list[Found]], head: list[list[Found]], enough: threading.Event | None = None) -> _Head:
    """``head`` gets the first of them, until there are enough; and what gives the rest."""
    for page in pages:
        head.append(page)
        if len(head) == _HEAD_PAGES or (enough and enough.is_set()):
            return _Head(head, pages)
    return _Head(head, None)


def _consume(future: Future[_Head]) -> Iterator[list[Found]]:
    head, rest = future.result()
    yield from head
    if rest is not None:
        yield from rest
