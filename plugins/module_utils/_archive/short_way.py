# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""obstore, where it can serve a bucket: it is there in no time, and a request costs it a fifth of what botocore takes.

It is asked for plain answers alone. Whatever is not one goes the long way, by botocore, which knows every way to log in and what
every refusal means, and tries again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from .._require import require
from .._store._s3_bucket import Bucket
from .base import Found

_FRESH = timedelta(minutes=5)
"""How long credentials are used before botocore is asked again, which renews them ten minutes before they expire."""

_PLAIN = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*")
"""Names that obstore takes as they are: others it would write in its own way."""

PAGE = 1000
"""Keys that one list request may return."""


class NotPlain(Exception):
    """This is for the long way."""


class ShortWay:
    """For one bucket; threads may share it."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def get(self, found: Found) -> Any:
        """obstore's answer with the object that was found."""
        name = self._bucket.name_of(found.key)["Key"]
        if self._store is None or not _PLAIN.fullmatch(name):
            raise NotPlain
        version = {"version": found.version} if found.version else {}
        try:
            answer = self._store.get(name, options={"if_match": f'"{found.tag}"', **version})
        except self.errors:
            raise NotPlain from None
        if (_tag(answer.meta), answer.meta["size"]) != (found.tag, found.size):
            raise NotPlain
        return answer

    def pages(self, after: str | None, shared: str, *, apart: bool) -> Iterator[list[Found]]:
        """The objects behind ``after`` in the directory of ``shared``, as far as they are plain: keys, sizes and tags, no storage class.

        They may end before the bucket does: obstore takes a page that is none for an empty one.
        ``apart``: by requests that go on from a key, for somebody who may not want all pages. Where one goes on with the token of
        another, MinIO lists to the end in the background, which costs it twice as much as what is wanted.
        """
        prefix = self._bucket.prefix
        start = None if after is None else prefix + after
        where = prefix + shared[: shared.rfind("/") + 1]
        # Without a prefix it would take the slash off keys that begin with one.
        if not prefix or self._store is None or not all(map(_PLAIN.fullmatch, filter(None, (where[:-1], start)))):
            raise NotPlain
        last = start or ""
        while True:
            for metas in self._asked(where, start):
                page = []
                for meta in metas:
                    if _was_a_folder(meta, last):
                        raise NotPlain
                    last = meta["path"]
                    page.append(self._found(meta))
                yield page
                if apart and len(page) == PAGE and _PLAIN.fullmatch(last):
                    start = last
                    break
            else:
                return

    def _asked(self, where: str, start: str | None) -> Iterator[Sequence[Mapping[str, Any]]]:
        """The listing from ``start`` on, a page at a time."""
        errors = self.errors
        try:
            yield from self._store.list(where, offset=start, chunk_size=PAGE)
        except errors:
            raise NotPlain from None

    def _found(self, meta: Mapping[str, Any]) -> Found:
        prefix, tag = self._bucket.prefix, _tag(meta)
        if not meta["path"].startswith(prefix):
            raise NotPlain
        return Found(meta["path"][len(prefix) :], meta["size"], tag, tag if len(tag) == 32 else None)

    @property
    def errors(self) -> tuple[Any, ...]:
        """What obstore raises. An object that is gone is a ``FileNotFoundError``."""
        return require("obstore.exceptions", "obstore").BaseError, OSError

    @cached_property
    def _store(self) -> Any:
        """``None`` for Amazon itself, whose many names for a bucket are botocore's affair, and without credentials."""
        if not self._bucket.endpoint_url:
            return None
        with self._bucket.asking("setting up the connection", "no permission"):
            login = self._login
            try:
                return self._opened(login) if login else None
            except (*self.errors, ValueError):
                return None  # botocore says what is wrong

    def _opened(self, login: Any) -> Any:
        bucket = self._bucket
        patience = bucket.patience
        trusted = {"root_certificate": Path(bucket.verify).read_bytes()} if isinstance(bucket.verify, str) else {}
        return require("obstore.store", "obstore").S3Store(
            bucket.name, endpoint=bucket.endpoint_url, virtual_hosted_style_request=False,
            region=bucket.region or bucket.client.meta.region_name or "us-east-1",
            credential_provider=login,  # keys as options would be mixed with what the environment has
            client_options={
                "allow_http": True, "allow_invalid_certificates": bucket.verify is False, **trusted,
                "connect_timeout": f"{patience.connect:g}s", "read_timeout": f"{patience.read:g}s",
                "timeout": f"{patience.stall:g}s",
            },
            retry_config={"max_retries": 0},
        )  # fmt: skip

    @property
    def _login(self) -> Any:
        """Keys that are declared need no botocore, which takes longer to load than many a listing."""
        declared = self._bucket.credentials
        if declared.access_key and declared.secret_key:
            keys = {
                "access_key_id": declared.access_key, "secret_access_key": declared.secret_key,
                "token": declared.session_token, "expires_at": None,
            }  # fmt: skip
            return lambda: keys
        if self._bucket.session.get_credentials() is None:
            return None
        return require("obstore.auth.boto3", "obstore").Boto3CredentialProvider(self._bucket.session, ttl=_FRESH)


def _was_a_folder(meta: Mapping[str, Any], last: str) -> bool:
    """obstore takes the slash off what consoles make to show a folder: it is empty, out of order, or has what is in it behind it.
    One with bytes and nothing around it passes for an object; the second look, which every extra one gets, tells."""
    path = meta["path"]
    return (
        not meta["size"] or path <= last or path.startswith(f"{last}/")
    )  # code points are in the order of their UTF-8


def _tag(meta: Mapping[str, Any]) -> str:
    return (meta["e_tag"] or "").strip('"')
