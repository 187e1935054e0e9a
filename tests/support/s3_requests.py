# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many requests a store makes, by the name of the operation; without a proxy, so that a benchmark stays true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible_collections.runbook.ops.plugins.module_utils._store.s3 import S3Store


@contextmanager
def counted(store: S3Store) -> Iterator[Counter[str]]:
    """The requests that ``store`` sends while the context lasts, those that are tried again included."""
    with counted_client(store.bucket.client) as requests:
        yield requests


@contextmanager
def counted_client(client: Any) -> Iterator[Counter[str]]:
    """The same of a client of boto3's."""
    requests: Counter[str] = Counter()

    def count(event_name: str, **_: Any) -> None:
        requests[event_name.rpartition(".")[2]] += 1

    events = client.meta.events
    events.register("before-send.s3", count)
    try:
        yield requests
    finally:
        events.unregister("before-send.s3", count)
