# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The laboratory's MinIO: what it stores outlives it, nobody else reaches it, and its keys show nowhere."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from support.processes import until

from lab import s3
from lab.go import Unavailable
from lab.place import home


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[s3.Shared]:
    """In a laboratory of its own."""
    monkeypatch.setenv("RUNBOOK_LAB_DIR", str(tmp_path / "lab"))
    try:
        s3.MINIO.up(["documents"])
    except Unavailable as reason:
        pytest.skip(f"NOT RUN: {reason}")
    yield s3.MINIO
    s3.MINIO.down()


def test_what_it_stored_outlives_it(shared: s3.Shared) -> None:
    before = shared.known()
    assert before and shared.up(["documents"]) is False
    s3.client(before).put_object(Bucket="documents", Key="a", Body=b"1")
    pid = shared.running()
    assert pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: not shared.running())
    assert shared.up(["documents"]) is True and shared.known() == before
    assert s3.client(before).get_object(Bucket="documents", Key="a")["Body"].read() == b"1"
    assert shared.down(data=True) is True and not os.path.exists(home(shared.name))
    assert shared.down(data=True) is False


def test_its_keys_are_asked_for_and_show_nowhere(shared: s3.Shared) -> None:
    state, pid = shared.known(), shared.running()
    assert state and pid
    for what in ("cmdline", "environ"):
        assert state["secret_key"].encode() not in Path(f"/proc/{pid}/{what}").read_bytes()
    assert state["secret_key"] not in Path(home(shared.name, "server.log")).read_text()
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        s3.client({**state, "secret_key": "x" * 40}).list_buckets()
    assert state["endpoint_url"] == f"http://127.0.0.1:{state['port']}"
