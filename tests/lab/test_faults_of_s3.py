# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An S3 server that is killed while a backup is copied to it: a process with parts on its disk, no proxy that says so."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._store import _s3_unfinished
from ansible_collections.runbook.ops.plugins.module_utils._store.declared import store_of
from ansible_collections.runbook.ops.plugins.module_utils._store.s3 import S3Store
from support.fault_report import Fault
from support.playbook import Run, play, write_inventory
from support.procedures import SYSTEM, Protected, leftovers, new_bucket, sqlite, whole
from support.s3_proxy import Meanwhile, S3Proxy
from support.slots import DAILY

from lab import minio
from lab.embedded.servers import S3Server
from lab.go import Unavailable

MEGABYTES = 40
"""Three parts, of which two travel at a time: one has come when the third is on its way."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[S3Server]:
    try:
        started = minio.start(tmp_path / "minio")
    except Unavailable as reason:
        pytest.skip(f"NOT RUN: {reason}")
    yield started
    started.stop()


@pytest.fixture
def protected(tmp_path: Path) -> Protected:
    return sqlite(tmp_path, megabytes=MEGABYTES)


def kill(server: S3Server) -> None:
    os.kill(server.server.process.pid, signal.SIGKILL)
    server.server.process.wait()


def again(server: S3Server, directory: Path) -> S3Server:
    """The same server at the same address, with what its disk has."""
    return minio.start(
        directory, port=server.server.port, access_key=server.access_key, secret_key=server.secret_key
    )  # fmt: skip


def test_the_server_is_killed_in_the_middle_of_the_copy(
    server: S3Server, protected: Protected, tmp_path: Path, fault: Fault
) -> None:
    with S3Proxy(server.endpoint_url) as way:
        near = {"type": "local", "path": str(tmp_path / "store")}
        far = new_bucket(server, way.endpoint_url)
        values = {
            "runbook_system": SYSTEM, "runbook_databases": [protected.database], "runbook_stores": [near, far],
            "runbook_policy": {"last": {"count": 3}}, "runbook_schedules": {"backup": DAILY}, "runbook_work_dir": protected.work_dir,
            "runbook_cache_dir": str(tmp_path / "cache"),
        }  # fmt: skip
        inventory = write_inventory(tmp_path / "inventory", {"shop": values})

        def backup() -> Run:
            return play("backup.yml", inventory=inventory)

        way.inject("UploadPart", Meanwhile(lambda: kill(server), after=1 << 20), skip=2, times=1)
        run = backup()
        assert run.returncode == 2
        (told,) = [line.strip() for line in run.summary().splitlines() if "FAILED" in line]
        assert "1 of 1 copies failed" in told and "did not answer in time or cut the connection" in told
        local, remote = store_of("near", near), store_of("far", far)
        assert isinstance(remote, S3Store)
        (good,) = whole(protected, local)

        revived = again(server, tmp_path / "minio")
        try:
            (artefact,) = [entry.key for entry in local.entries("") if entry.key.endswith("data.sqlite.zst")]
            (upload,) = _s3_unfinished.of_key(remote.bucket, artefact)
            begun = upload["Initiated"]
            assert _s3_unfinished.last_sign(remote.bucket, upload) > begun, "a part that came is on its disk"
            run = backup()
            assert run.returncode == 0, run.failures()
            assert run.kinds() == {"copy"}
            assert whole(protected, local) == whole(protected, remote) == {good}
            assert _s3_unfinished.of_key(remote.bucket, artefact) == leftovers(remote) == []
        finally:
            revived.stop()
    fault(
        "the S3 server is killed in the middle of the off-site copy",
        told,
        "the local backup is good; the next run completes the copy and gives up the parts",
    )
