# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The S3 servers of all of the laboratory's systems, on loopback; their buckets outlive them.

MinIO is what a system has in its own house, where VALEO's documents are. It knows no storage classes but its own two, so
the off-site copies, whose policies name STANDARD_IA, GLACIER and DEEP_ARCHIVE, lie in the one of moto, as at Amazon.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import boto3
from ansible_collections.runbook.ops.plugins.module_utils import _server
from ansible_collections.runbook.ops.plugins.module_utils._errors import TimedOut

from . import minio
from .embedded.configuration import write
from .embedded.servers import REGION, S3Server, start_s3
from .embedded.unprivileged import PID_FILE
from .place import held, home

STATE = "s3.json"
STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Shared:
    """A server that is found again by its state, in the laboratory's directory ``name``."""

    name: str
    start: Callable[..., S3Server]
    possible: Callable[[], None] = lambda: None
    """Says in one sentence why it cannot be had here."""

    def up(self, buckets: Sequence[str] = ()) -> bool:
        """Start it where it does not run, with these buckets; whether anything had to be done."""
        self.possible()
        with held(self.name) as directory:
            state = self.known() or {
                "port": 0,
                "access_key": "laboratory",
                "secret_key": secrets.token_urlsafe(30),
                "buckets": [],
            }
            started = not self.running()
            if started:
                server = self.start(
                    directory, port=state["port"], access_key=state["access_key"], secret_key=state["secret_key"],
                    detach=True,
                )  # fmt: skip
                state.update(port=server.server.port, endpoint_url=server.endpoint_url, region=server.region)
            missing = [bucket for bucket in buckets if bucket not in state["buckets"]]
            for bucket in missing:
                client(state).create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
                state["buckets"].append(bucket)
            if started or missing:
                write(os.path.join(directory, STATE), json.dumps(state, indent=2).encode(), replace=True)
            return bool(started or missing)

    def down(self, *, data: bool = False) -> bool:
        """Stop it; with ``data`` delete what it stored, too. Whether there was anything."""
        pid = self.running()
        if pid:
            self._stop(pid)
        if data and os.path.isdir(home(self.name)):
            with held(self.name) as directory:
                shutil.rmtree(directory)
            return True
        return bool(pid)

    def _stop(self, pid: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while self.running() == pid:
            if time.monotonic() > deadline:
                raise TimedOut(f"The laboratory's S3 server {self.name} (process {pid}) does not end: end it by hand.")
            time.sleep(0.02)

    def running(self) -> int | None:
        """The server's process."""
        return _server.running(home(self.name, PID_FILE))

    def known(self) -> dict[str, Any] | None:
        """Where the server is, and how to speak to it."""
        with suppress(FileNotFoundError), open(home(self.name, STATE), encoding="utf-8") as file:
            state: dict[str, Any] = json.load(file)
            return state
        return None


MINIO = Shared("minio", minio.start, minio.possible)
MOTO = Shared("s3", partial(start_s3, keep=True))


def client(state: dict[str, Any]) -> Any:
    return boto3.client(
        "s3", endpoint_url=state["endpoint_url"], region_name=state["region"],
        aws_access_key_id=state["access_key"], aws_secret_access_key=state["secret_key"],
    )  # fmt: skip
