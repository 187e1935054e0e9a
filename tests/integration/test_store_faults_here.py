# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stores do when this host fails them: a killed process, a full disk, an account that may not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import (
    NoSpace,
    NotFound,
    Refused,
    RunbookError,
    StoreError,
)
from ansible_collections.runbook.ops.plugins.module_utils._store.local import LocalStore
from command_line import ROOT
from integration.store_bench import AT_ONCE, MIB, Bench, refused, write

pytestmark = pytest.mark.usefixtures("small_parts")


# Killed

WRITER = """
import json, sys
from ansible_collections.runbook.ops.plugins.module_utils._store.declared import store_of
options = json.load(sys.stdin)
store = store_of("stores[0]", options["store"])
with store.upload("id/data", size_hint=0) as upload:
    block = bytearray(1 << 20)
    for number in range(options["mebibytes"]):
        block[:8] = number.to_bytes(8, "big")
        upload.write(bytes(block))
    print("written", flush=True)
    if options["wait"]:
        __import__("signal").pause()
    upload.commit()
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) / 1024)
"""


@contextmanager
def writer(declared: dict[str, Any], mebibytes: int, *, wait: bool) -> Iterator[subprocess.Popen[str]]:
    """A process that uploads so much to ``id/data``; with ``wait``, it never commits."""
    path = os.pathsep.join([str(ROOT / "collections"), str(ROOT)])
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert process.stdin and process.stdout
    try:
        process.stdin.write(json.dumps({"store": declared, "mebibytes": mebibytes, "wait": wait}))
        process.stdin.close()
        assert process.stdout.readline() == "written\n"
        yield process
    finally:
        process.kill()
        process.wait()


def declared_s3(bench: Bench) -> dict[str, Any]:
    return {
        "type": "s3", "bucket": bench.name, "prefix": "pre", "endpoint_url": bench.s3.endpoint_url, "region": bench.s3.region,
        "access_key": bench.s3.access_key, "secret_key": bench.s3.secret_key,
    }  # fmt: skip


def test_a_killed_upload_is_invisible_and_swept(bench: Bench) -> None:
    with writer(declared_s3(bench), 40, wait=True) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (bench.keys(), bench.unfinished()) == ([], ["pre/id/data"])
    assert bench.behind.sweep("", AT_ONCE) == ["id/data"]
    assert bench.unfinished() == []


def test_a_killed_write_is_invisible_and_swept(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path / "root"))
    with writer({"type": "local", "path": store.root}, 5, wait=True) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert list(store.entries("")) == []
    assert store.sweep("") == []
    (partial,) = Path(store.root, "id").iterdir()
    assert store.sweep("", AT_ONCE) == [f"id/{partial.name}"]
    assert list(Path(store.root).iterdir()) == []


def test_an_upload_of_400_mib_needs_little_memory(bench: Bench) -> None:
    with writer(declared_s3(bench), 400, wait=False) as process:
        assert process.stdout
        peak = float(process.stdout.readline())
        assert process.wait() == 0
    assert [entry.size for entry in bench.behind.entries("")] == [400 * MIB]
    assert peak <= 120, f"peak RSS {peak:.0f} MB"


# Disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    if os.geteuid() != 0:
        pytest.skip("NOT RUN: mounting a small tmpfs to fill needs root")
    mounted = tmp_path / "disk"
    mounted.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", mounted], capture_output=True, text=True, check=False
    )
    if mount.returncode:
        pytest.skip(f"NOT RUN: a small tmpfs to fill cannot be mounted here ({mount.stderr.strip()})")
    yield mounted
    subprocess.run(["umount", mounted], check=True)


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with pytest.raises(OSError, match="No space"), open(ballast, "wb", buffering=0) as file:
        while True:
            file.write(bytes(MIB))
    return ballast


@pytest.mark.parametrize("block", [MIB, 4096, 100], ids=["blocks", "pages", "crumbs"])
def test_a_full_disk_while_an_artefact_is_written(small_disk: Path, block: int) -> None:
    store = LocalStore(str(small_disk / "root"))
    store.put("id/lease.json", b"{}")
    with refused(NoSpace, "id/data.*free some space"), store.upload("id/data", size_hint=0) as upload:
        for _ in range(20 * MIB // block):
            upload.write(b"x" * block)
        upload.commit()
    assert [entry.key for entry in store.entries("")] == ["id/lease.json"]
    assert [path.name for path in Path(store.root, "id").iterdir()] == ["lease.json"]
    space = store.free_space()
    assert space and space > 7 * MIB


def test_a_record_on_a_full_disk_stays_as_it_was(small_disk: Path) -> None:
    store = LocalStore(str(small_disk / "root"))
    store.put("id/verification.json", b"the old verdict")
    ballast = fill(small_disk)
    with refused(NoSpace, "id/verification.json"):
        store.put("id/verification.json", b"x" * 10_000)
    assert store.get("id/verification.json") == b"the old verdict"
    assert store.free_space() == 0
    ballast.unlink()
    store.put("id/verification.json", b"the new verdict")
    assert store.get("id/verification.json") == b"the new verdict"


def test_no_room_for_a_part_on_its_way_to_s3(bench: Bench, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    with refused(NoSpace, "TMPDIR"):
        write(bench.store(), "id/data", bytes(10 * MIB))
    assert (bench.keys(), bench.unfinished()) == ([], [])
    assert list(small_disk.iterdir()) == []


@contextmanager
def another_account() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def directory(path: Path, mode: int) -> Path:
    path.mkdir()
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("make", "kind", "match"),
    [
        (lambda base: base / "absent" / "root", NotFound, "absent does not exist: create it, mount its disk"),
        (lambda base: base / "file", Refused, "no directory"),
        (lambda base: base / "file" / "root", Refused, "no directory"),
        (lambda base: directory(base / "shut", 0o500), Refused, "may not write .*shut"),
        (lambda base: directory(base / "shut", 0o500) / "root", Refused, "may not write .*shut"),
    ],
)
def test_a_directory_that_cannot_hold_backups(
    make: Callable[[Path], Path], kind: type[RunbookError], match: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = LocalStore(str(make(tmp_path)))
    if os.geteuid() == 0:
        for path in tmp_path.rglob("shut*"):
            os.chown(path, 65534, 65534)
    before = sorted(tmp_path.rglob("*"))
    with another_account():
        with refused(kind, match):
            store.check(write=True)
        with refused(StoreError, "local:"):
            store.put("id/x", b"1")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_that_cannot_be_deleted_frees_nothing(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path / "root"))
    for key in ("open/x", "shut/x"):
        store.put(key, b"12345")
    if os.geteuid() == 0:
        for path in (Path(store.root), *Path(store.root).rglob("*")):
            os.chown(path, 65534, 65534)
    Path(store.root, "shut").chmod(0o500)
    with another_account():
        report = store.delete(["open/x", "shut/x"])
    assert (report.deleted, report.freed, list(report.errors)) == (["open/x"], 5, ["shut/x"])
    assert "change its owner or mode" in report.errors["shut/x"]
