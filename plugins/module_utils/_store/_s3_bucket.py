# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket, reached when it is first needed: client, patience, and errors that say what to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .._errors import InputError, RunbookError, StoreError
from .._require import require
from ._s3_errors import Place, code_of, translate

_UNKNOWABLE = frozenset({"AccessDenied", "NotImplemented", "MethodNotAllowed"})


@dataclass(frozen=True)
class Credentials:
    """As amazon.aws names them; all absent means the AWS chain: environment, files, the machine's role."""

    profile: str | None = None
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)


AMBIENT = Credentials()


@dataclass(frozen=True)
class Patience:
    """How long a fault may last, in seconds. ``stall``: the longest a part, or a piece that is read, may take."""

    attempts: int = 5
    connect: float = 10
    read: float = 60
    stall: float = 900

    def pause(self, failures: int) -> None:
        """Back off before another try of what botocore does not retry itself."""
        time.sleep(min(0.25 * 2**failures, 8))


PATIENCE = Patience()


def impatient(seconds: float) -> Patience:
    """For a look that somebody waits for: one try, and no wait longer than this."""
    return Patience(attempts=1, connect=seconds, read=seconds, stall=seconds)


class Stalled(StoreError, CancelledError):
    """Nothing got through for too long. botocore lets a ``CancelledError`` pass where it would try others again."""


class Deadline:
    """A moment after which somebody should have got on; ``Stalled`` says who did not."""

    def __init__(self, seconds: float, sentence: str) -> None:
        self._end = time.monotonic() + seconds
        self._sentence = sentence

    def check(self) -> None:
        if time.monotonic() > self._end:
            raise Stalled(self._sentence)


class Bucket:
    """Where the objects of one store lie: ``prefix`` is empty or ends with ``/``; ``endpoint_url`` is ``None`` for Amazon's."""

    def __init__(
        self, name: str, prefix: str, *, variable: str, region: str | None, endpoint_url: str | None,
        credentials: Credentials, verify: bool | str, patience: Patience,
    ) -> None:  # fmt: skip
        path = prefix.strip("/")
        self.name = name
        self.prefix = f"{path}/" if path else ""
        self.label = f"s3:{name}/{path}" if path else f"s3:{name}"
        self.patience = patience
        self.place = Place(self.label, name, variable, endpoint_url or "Amazon S3", patience.attempts)
        self.region = region
        self.endpoint_url = endpoint_url
        self.credentials = credentials
        self.verify = verify
        self._turn = threading.RLock()

    @property
    def client(self) -> Any:
        """boto3's client for S3; threads may share it, and ask for it at the same time, but not make it."""
        with self._turn:
            return self._client

    @property
    def session(self) -> Any:
        """boto3's session, which knows the credentials."""
        with self._turn:
            return self._session

    @cached_property
    def _client(self) -> Any:
        config = require("botocore.config", "boto3").Config(
            retries={"mode": "standard", "total_max_attempts": self.patience.attempts},
            connect_timeout=self.patience.connect,
            read_timeout=self.patience.read,
            tcp_keepalive=True,
            # Names such as bucket.minio.internal rarely resolve; Amazon wants them.
            s3={"addressing_style": "path" if self.endpoint_url else "auto"},
        )
        with self.asking("setting up the connection", "no permission"):
            try:
                return self._session.client("s3", endpoint_url=self.endpoint_url, verify=self.verify, config=config)
            except ValueError as error:  # boto3's word for an endpoint that is no URL
                raise InputError(f"{self.label}: {error}: correct endpoint_url or region.") from None

    @cached_property
    def _session(self) -> Any:
        boto3 = require("boto3", "boto3")
        with self.asking("setting up the connection", "no permission"):
            return boto3.session.Session(
                profile_name=self.credentials.profile,
                aws_access_key_id=self.credentials.access_key,
                aws_secret_access_key=self.credentials.secret_key,
                aws_session_token=self.credentials.session_token,
                region_name=self.region,
            )

    @cached_property
    def keeps_versions(self) -> bool:
        """Whether a delete only hides, as far as the bucket lets us know (its answers to deletes tell too)."""
        with self.asking("asking for the versioning of the bucket", "s3:GetBucketVersioning"):
            try:
                answer = self.client.get_bucket_versioning(Bucket=self.name)
            except Exception as error:
                if code_of(error) in _UNKNOWABLE:
                    return False
                raise
        return answer.get("Status") in ("Enabled", "Suspended")

    def name_of(self, key: str) -> dict[str, str]:
        """The arguments by which a request names the object of ``key``."""
        return {"Bucket": self.name, "Key": self.prefix + key}

    @contextmanager
    def asking(self, doing: str, permission: str) -> Iterator[None]:
        """Turns what botocore raises into a domain error."""
        known = require("botocore.exceptions", "boto3")
        try:
            yield
        except RunbookError:
            raise
        except (known.BotoCoreError, known.ClientError) as error:
            raise translate(error, self.place, doing, permission) from None

    def no_s3(self) -> StoreError:
        """For an answer that S3 would not give."""
        return StoreError(
            f"{self.label}: what answers at {self.place.endpoint} does not speak S3: check endpoint_url and proxies."
        )

    def deadline(self, doing: str) -> Deadline:
        """The time that one part or piece may take."""
        seconds = self.patience.stall
        return Deadline(
            seconds,
            f"{self.label}: {doing} did not get through to {self.place.endpoint} in {seconds:g} s: check the network.",
        )
