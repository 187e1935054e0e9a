# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One S3 server for all of the laboratory's systems, on loopback; its buckets outlive it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import boto3
from ansible_collections.runbook.ops.plugins.module_utils import _server
from ansible_collections.runbook.ops.plugins.module_utils._errors import TimedOut

from .embedded.configuration import write
from .embedded.servers import REGION, start_s3
from .embedded.unprivileged import PID_FILE
from .place import held, home

NAME = "s3"
STATE = "s3.json"
STOP_SECONDS = 30.0


def up(buckets: Sequence[str]) -> bool:
    """Start it where it does not run, with these buckets; whether anything had to be done."""
    with held(NAME) as directory:
        state = known() or {
            "port": 0,
            "access_key": "laboratory",
            "secret_key": secrets.token_urlsafe(30),
            "buckets": [],
        }
        started = not running()
        if started:
            server = start_s3(
                directory, port=state["port"], access_key=state["access_key"], secret_key=state["secret_key"],
                keep=True, detach=True,
            )  # fmt: skip
            state.update(port=server.server.port, endpoint_url=server.endpoint_url, region=server.region)
        missing = [bucket for bucket in buckets if bucket not in state["buckets"]]
        for bucket in missing:
            client(state).create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
            state["buckets"].append(bucket)
        if started or missing:
            write(os.path.join(directory, STATE), json.dumps(state, indent=2).encode(), replace=True)
        return bool(started or missing)


def down() -> bool:
    """Stop it; whether it ran."""
    pid = running()
    if not pid:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while running() == pid:
        if time.monotonic() > deadline:
            raise TimedOut(f"The laboratory's S3 server (process {pid}) does not end: end it by hand.")
        time.sleep(0.02)
    return True


def running() -> int | None:
    """The server's process."""
    return _server.running(home(NAME, PID_FILE))


def known() -> dict[str, Any] | None:
    """Where the server is, and how to speak to it."""
    with suppress(FileNotFoundError), open(home(NAME, STATE), encoding="utf-8") as file:
        state: dict[str, Any] = json.load(file)
        return state
    return None


def client(state: dict[str, Any]) -> Any:
    return boto3.client(
        "s3", endpoint_url=state["endpoint_url"], region_name=state["region"],
        aws_access_key_id=state["access_key"], aws_secret_access_key=state["secret_key"],
    )  # fmt: skip
