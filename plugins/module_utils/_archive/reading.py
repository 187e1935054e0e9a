# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading many objects whole: obstore's request costs a fifth of the processor time that botocore's does.

What is not a plain answer with just the object that was found goes the long way, by botocore, which knows every way to log in
and what every refusal means, tries again, and goes on where a connection was cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from .._require import require
from .._store._s3_bucket import Bucket
from .._store._s3_read import read_object
from .base import Found

_CHUNK = 1 << 20
_FRESH = timedelta(minutes=5)
"""How long credentials are used before botocore is asked again, which renews them ten minutes before they expire."""

_PLAIN = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*")
"""Names that obstore takes as they are: others it would write in its own way."""


class Reader:
    """For one bucket; threads may share it."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def read(self, found: Found) -> Iterator[bytes]:
        """The object's bytes, of the version or with the tag that was found."""
        answer = None if found.archived else self._answer(found)
        if answer is None:
            return read_object(self._bucket, found.key, _conditions(found))
        return self._chunks(answer, found)

    def _chunks(self, answer: Any, found: Found) -> Iterator[bytes]:
        done = 0
        try:
            for data in answer.stream(min_chunk_size=_CHUNK):
                done += len(data)
                yield bytes(data)
        except self._errors:
            pass
        if done < found.size:
            yield from read_object(self._bucket, found.key, _conditions(found), done)

    def _answer(self, found: Found) -> Any:
        """One with the object that was found, or ``None``."""
        name = self._bucket.name_of(found.key)["Key"]
        if self._store is None or not _PLAIN.fullmatch(name):
            return None
        version = {"version": found.version} if found.version else {}
        try:
            answer = self._store.get(name, options={"if_match": f'"{found.tag}"', **version})
        except self._errors:
            return None
        meta = answer.meta
        return answer if ((meta["e_tag"] or "").strip('"'), meta["size"]) == (found.tag, found.size) else None

    @property
    def _errors(self) -> tuple[Any, ...]:
        """An object that is gone is a ``FileNotFoundError``."""
        return require("obstore.exceptions", "obstore").BaseError, OSError

    @cached_property
    def _store(self) -> Any:
        """``None`` for Amazon itself, whose many names for a bucket are botocore's affair, and without credentials."""
        bucket = self._bucket
        if not bucket.endpoint_url or bucket.session.get_credentials() is None:
            return None
        login = require("obstore.auth.boto3", "obstore").Boto3CredentialProvider(bucket.session, ttl=_FRESH)
        patience = bucket.patience
        trusted = {"root_certificate": Path(bucket.verify).read_bytes()} if isinstance(bucket.verify, str) else {}
        return require("obstore.store", "obstore").S3Store(
            bucket.name, endpoint=bucket.endpoint_url, virtual_hosted_style_request=False,
            region=bucket.client.meta.region_name or "us-east-1",
            credential_provider=login,  # keys as options would be mixed with what the environment has
            client_options={
                "allow_http": True, "allow_invalid_certificates": bucket.verify is False, **trusted,
                "connect_timeout": f"{patience.connect:g}s", "read_timeout": f"{patience.read:g}s",
                "timeout": f"{patience.stall:g}s",
            },
            retry_config={"max_retries": 0},
        )  # fmt: skip


def _conditions(found: Found) -> dict[str, str]:
    return {"IfMatch": f'"{found.tag}"', **({"VersionId": found.version} if found.version else {})}
