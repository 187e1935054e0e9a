# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket of a test's own behind a proxy that does harm."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._store import _s3_upload
from integration.store_bench import PART, Bench, bench_in

from lab.embedded.servers import S3Server


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3's least, so that objects of several parts are quick to make."""
    monkeypatch.setattr(_s3_upload, "SMALLEST_PART", PART)


@pytest.fixture
def bench(s3: S3Server) -> Iterator[Bench]:
    with bench_in(s3) as bench:
        yield bench


@pytest.fixture
def locked(s3: S3Server) -> Iterator[Bench]:
    """A bucket with Object Lock, and so with versions."""
    with bench_in(s3, lock=True) as bench:
        yield bench


@pytest.fixture(scope="module")
def large() -> bytes:
    return os.urandom(2 * PART + 12345)
