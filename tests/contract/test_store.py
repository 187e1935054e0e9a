# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store contract, held by a directory, a bucket, and a bucket that keeps versions."""

from __future__ import annotations

import math
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import (
    InputError,
    NotFound,
    Refused,
    StoreError,
    Unsupported,
)
from ansible_collections.runbook.ops.plugins.module_utils._store import _s3_class, _s3_upload
from ansible_collections.runbook.ops.plugins.module_utils._store.base import Store
from ansible_collections.runbook.ops.plugins.module_utils._store.declared import store_of
from ansible_collections.runbook.ops.plugins.module_utils._store.local import LocalStore
from ansible_collections.runbook.ops.plugins.module_utils._store.s3 import S3Store
from support.s3_requests import counted

from lab.embedded.servers import S3Server

MIB = 1 << 20
PART = _s3_upload.SMALLEST_PART
AT_ONCE = timedelta(0)


def new_bucket(s3: S3Server, *, versions: bool = False, lock: bool = False, prefix: str = "p r/e") -> S3Store:
    """A store in a bucket of its own."""
    store = store_of(
        "stores[0]",
        {"type": "s3", "bucket": f"b{uuid.uuid4().hex}", "prefix": prefix, "region": s3.region,
         "endpoint_url": s3.endpoint_url, "access_key": s3.access_key, "secret_key": s3.secret_key},
    )  # fmt: skip
    assert isinstance(store, S3Store)
    name, client = store.bucket.name, store.bucket.client
    place = {"LocationConstraint": s3.region}
    client.create_bucket(Bucket=name, CreateBucketConfiguration=place, ObjectLockEnabledForBucket=lock)
    if versions:
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return store


def minio(*names: str) -> list[Any]:
    """Stores of the server that is built from its sources."""
    return [pytest.param(name, marks=pytest.mark.lab) for name in names]


@pytest.fixture(params=["local", "s3", "s3-versions", *minio("minio", "minio-versions")])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return LocalStore(str(tmp_path / "a root"))
    server, _, versions = request.param.partition("-")
    return new_bucket(request.getfixturevalue(server), versions=bool(versions))


@pytest.fixture
def local(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "root"))


@pytest.fixture(params=["s3", *minio("minio")])
def server(request: pytest.FixtureRequest) -> S3Server:
    found: S3Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def bucket(server: S3Server) -> S3Store:
    return new_bucket(server)


def keys(store: Store, prefix: str = "") -> list[str]:
    return [entry.key for entry in store.entries(prefix)]


def write(store: Store, key: str, data: bytes, **options: Any) -> None:
    with store.upload(key, size_hint=len(data), **options) as upload:
        for start in range(0, len(data), 3 * MIB + 1):
            upload.write(data[start : start + 3 * MIB + 1])
        upload.commit()


def remains(store: Store) -> list[str]:
    """What lies in a store beside its objects: unfinished files or uploads."""
    if isinstance(store, LocalStore):
        return [name for _, _, files in os.walk(store.root) for name in files if name.endswith(".partial")]
    assert isinstance(store, S3Store)
    uploads = store.bucket.client.list_multipart_uploads(Bucket=store.bucket.name).get("Uploads", [])
    return [upload["Key"] for upload in uploads]


# Writing and reading


@pytest.mark.parametrize("size", [0, 1, MIB + 7, PART, PART + 1])
def test_what_is_read_is_what_was_written(store: Store, size: int) -> None:
    data = os.urandom(size)
    write(store, "scope/id/data.bin", data)
    assert b"".join(store.read("scope/id/data.bin")) == data
    (entry,) = store.entries("scope/id/")
    assert (entry.key, entry.size) == ("scope/id/data.bin", size)
    assert not remains(store)


def test_an_upload_is_invisible_until_its_commit(store: Store) -> None:
    with store.upload("d/x", size_hint=0) as upload:
        upload.write(b"x" * (PART + MIB))
        assert keys(store) == []
        with pytest.raises(NotFound):
            store.get("d/x")
        upload.commit()
        assert keys(store) == ["d/x"]


class Broken(Exception):
    pass


def leave(_upload: Any) -> None:
    pass


def fail(_upload: Any) -> None:
    raise Broken


@pytest.mark.parametrize("end", [leave, fail])
@pytest.mark.parametrize("size", [0, 5, 2 * PART + 5])
def test_an_upload_without_commit_leaves_nothing(store: Store, end: Callable[[Any], None], size: int) -> None:
    store.put("d/before", b"stays")
    with pytest.raises(Broken) if end is fail else _nothing(), store.upload("d/new/x", size_hint=0) as upload:
        upload.write(b"x" * size)
        end(upload)
    assert keys(store) == ["d/before"]
    assert not remains(store)
    if isinstance(store, LocalStore):
        assert not os.path.exists(os.path.join(store.root, "d/new"))


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def test_put_replaces_whole_and_the_etag_tells(store: Store) -> None:
    etags = []
    for data in (b"a longer first record", b"second"):
        store.put("s/manifest.json", data)
        assert store.get("s/manifest.json") == data
        etags += [entry.etag for entry in store.entries("s/")]
    assert len(set(etags)) == 2
    assert [entry.etag for entry in store.entries("s/")] == etags[1:]


def test_two_writers_of_one_key_leave_one_whole_object(store: Store) -> None:
    contents = [bytes([letter]) * (2 * MIB) for letter in b"ab"]
    writers = [threading.Thread(target=write, args=(store, "s/x", data)) for data in contents]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert b"".join(store.read("s/x")) in contents
    assert not remains(store)


def test_what_is_not_there_says_so(store: Store) -> None:
    for ask in (store.read, store.get):
        with pytest.raises(NotFound, match=r"scope/manifest\.json") as caught:
            ask("scope/manifest.json")
        assert store.label in str(caught.value)


def test_a_record_that_is_too_large_is_not_loaded(store: Store) -> None:
    store.put("r", b"x" * 100)
    assert store.get("r", limit=100) == b"x" * 100
    with pytest.raises(StoreError, match="larger than 99 bytes"):
        store.get("r", limit=99)


def test_reading_can_be_given_up(store: Store) -> None:
    write(store, "x", b"x" * (5 * MIB))
    chunks = store.read("x")
    assert next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert len(store.get("x", limit=5 * MIB)) == 5 * MIB


BAD_KEYS = ["", "/etc/passwd", "../x", "a/../../x", "a/./x", "a//x", "a/", "a\nb", "a\0b", "a/x.partial", "a\x7f"]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_keys_that_could_lead_elsewhere_are_refused(store: Store, key: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be a key"), store.upload(key, size_hint=0):
        pass
    for ask in (
        store.read,
        store.get,
        lambda k: store.put(k, b""),
        lambda k: store.set_storage_class(k, "STANDARD_IA"),
    ):
        with pytest.raises((Refused, Unsupported)):
            ask(key)
    with suppress(Refused):
        assert key in store.delete([key]).errors
    assert not list(tmp_path.glob("**/*passwd*"))


@pytest.mark.parametrize("prefix", ["/", "a", "../", "a//", "a/../"])
def test_only_directories_are_listed(store: Store, prefix: str) -> None:
    with pytest.raises(Refused):
        list(store.entries(prefix))
    with pytest.raises(Refused):
        store.sweep(prefix)


# Listing

AWKWARD = [
    "a.b/x",
    "a/b/x",
    "a/b.x",
    "a-b/x",
    "a/é",
    "a/ b",
    "a/%2F",
    "a/+",
    "a/😀",
    "a/\u00e9\u0301",
    "Z/x",
    "a/b/y",
    "ab",
]


def test_a_listing_is_sorted_by_the_keys_bytes_in_every_store(store: Store) -> None:
    for key in AWKWARD:
        store.put(key, key.encode())
    assert keys(store) == sorted(AWKWARD, key=str.encode)
    assert all(store.get(key) == key.encode() for key in AWKWARD)
    assert keys(store, "a/b/") == ["a/b/x", "a/b/y"]


def test_a_directory_is_not_its_namesake(store: Store) -> None:
    store.put("app/id/m", b"")
    store.put("app_test/id/m", b"")
    assert keys(store, "app/") == ["app/id/m"]
    assert keys(store, "nobody/") == []


def test_listing_and_deleting_cost_their_pages(bucket: S3Store) -> None:
    names: list[str] = []
    for count in (0, 1, 1000, 1001):
        for number in range(len(names), count):
            names.append(f"d/{number:04}")
            bucket.bucket.client.put_object(**bucket.bucket.name_of(names[-1]), Body=b"12")
        with counted(bucket) as requests:
            assert keys(bucket) == names
        assert requests == {"ListObjectsV2": max(1, math.ceil(count / 1000))}
    with counted(bucket) as requests:
        report = bucket.delete(names)
    assert (report.deleted, report.freed) == (names, 2002)
    assert requests["DeleteObjects"] == 2
    assert keys(bucket) == []


def test_what_a_console_makes_for_a_folder_is_no_object(bucket: S3Store) -> None:
    bucket.bucket.client.put_object(Bucket=bucket.bucket.name, Key=f"{bucket.bucket.prefix}erni/", Body=b"")
    assert keys(bucket) == []


# Deleting


def test_delete_reports_what_is_gone(store: Store) -> None:
    for key, size in (("s/1/a", 10), ("s/1/b", 200), ("s/2/a", 3000), ("t/x", 1)):
        store.put(key, b"x" * size)
    report = store.delete(["s/1/a", "s/1/b", "s/9/never", "s/2/a"])
    assert sorted(report.deleted) == ["s/1/a", "s/1/b", "s/2/a", "s/9/never"]
    assert (report.errors, report.freed) == ({}, 3210)
    assert keys(store) == ["t/x"]
    assert store.delete([]).deleted == []
    if isinstance(store, LocalStore):
        assert sorted(os.listdir(store.root)) == ["t"]


def test_delete_finds_keys_wherever_they_lie(store: Store) -> None:
    here = ["a-b/x", "a.b/x", "a/b/1/x", "a/b/2/x", "a/c/x", "top"]
    for key in here:
        store.put(key, b"12")
    for chosen in (["a/b/2/x"], ["a-b/x", "a/c/x"], ["a.b/x", "top"], ["a/b/1/x"]):
        report = store.delete(chosen)
        assert (sorted(report.deleted), report.freed) == (chosen, 2 * len(chosen))
        here = [key for key in here if key not in chosen]
        assert keys(store) == here


def test_delete_takes_former_versions_too(server: S3Server) -> None:
    store = new_bucket(server, versions=True)
    client, name = store.bucket.client, store.bucket.name
    for size in (10, 20, 30):
        store.put("s/m", b"x" * size)
    client.delete_object(**store.bucket.name_of("s/m"))  # hides it behind a marker
    store.put("s/m.other", b"stays")
    report = store.delete(["s/m"])
    assert (report.deleted, report.freed) == (["s/m"], 60)
    left = client.list_object_versions(Bucket=name)
    assert [version["Key"] for version in left.get("Versions", [])] == [f"{store.bucket.prefix}s/m.other"]
    assert not left.get("DeleteMarkers")


# Storage classes


@pytest.mark.parametrize("store", ["local", "s3", "s3-versions"], indirect=True)
def test_storage_class(store: Store) -> None:
    data = os.urandom(PART + 3)
    write(store, "s/data", data, storage_class="STANDARD_IA")
    store.put("s/manifest.json", b"{}")
    if isinstance(store, LocalStore):
        assert [entry.storage_class for entry in store.entries("")] == [None, None]
        with pytest.raises(Unsupported, match="storage_class"):
            store.set_storage_class("s/data", "GLACIER")
        return
    assert isinstance(store, S3Store)
    assert [entry.storage_class for entry in store.entries("")] == ["STANDARD_IA", "STANDARD"]
    store.set_storage_class("s/data", "STANDARD")
    store.set_storage_class("s/data", "STANDARD")
    assert b"".join(store.read("s/data")) == data
    versions = store.bucket.client.list_object_versions(Bucket=store.bucket.name)["Versions"]
    assert len(versions) == 2  # the version in the former class is gone
    store.set_storage_class("s/data", "GLACIER")
    assert [entry.storage_class for entry in store.entries("")] == ["GLACIER", "STANDARD"]
    with pytest.raises(Refused, match=r"s/data.*archived.*restore"):
        store.read("s/data")
    with pytest.raises(Refused, match="archived in GLACIER"):
        store.set_storage_class("s/data", "DEEP_ARCHIVE")
    store.bucket.client.restore_object(**store.bucket.name_of("s/data"), RestoreRequest={"Days": 1})
    assert b"".join(store.read("s/data")) == data
    assert store.delete(["s/data", "s/manifest.json"]).freed == len(data) + 2


@pytest.mark.parametrize("store", minio("minio", "minio-versions"), indirect=True)
def test_an_endpoint_may_have_fewer_classes(store: S3Store) -> None:
    data = os.urandom(PART + 3)
    with pytest.raises(Refused, match=r"does not have this storage class: correct storage_class\."):
        write(store, "s/data", data, storage_class="STANDARD_IA")
    assert (keys(store), remains(store)) == ([], [])
    write(store, "s/data", data, storage_class="REDUCED_REDUNDANCY")
    assert [entry.storage_class for entry in store.entries("")] == ["REDUCED_REDUNDANCY"]
    for _twice in range(2):
        store.set_storage_class("s/data", "STANDARD")
    assert [entry.storage_class for entry in store.entries("")] == ["STANDARD"]
    with pytest.raises(Refused, match=r"moving s/data to GLACIER failed: .* does not have this storage class"):
        store.set_storage_class("s/data", "GLACIER")
    assert b"".join(store.read("s/data")) == data
    versions = store.bucket.client.list_object_versions(Bucket=store.bucket.name)["Versions"]
    assert len(versions) == 1  # the version in the former class is gone
    assert store.delete(["s/data"]).freed == len(data)


def test_a_class_that_s3_does_not_have_is_refused(bucket: S3Store) -> None:
    bucket.put("x", b"")
    with pytest.raises(StoreError, match="LUKEWARM"):
        bucket.set_storage_class("x", "LUKEWARM")
    with pytest.raises(NotFound):
        bucket.set_storage_class("y", "STANDARD_IA")


def test_what_one_request_cannot_copy_is_copied_in_parts(bucket: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_s3_class, "SINGLE_COPY", 8 * MIB)
    monkeypatch.setattr(_s3_class, "_PART", 5 * MIB)
    data = os.urandom(12 * MIB + 1)
    client, named = bucket.bucket.client, bucket.bucket.name_of("x")
    client.put_object(**named, Body=data, Metadata={"colour": "red"}, ContentType="application/zstd")
    with counted(bucket) as requests:
        bucket.set_storage_class("x", "REDUCED_REDUNDANCY")
    assert requests["UploadPartCopy"] == 3
    moved = client.head_object(**named)
    assert (moved["StorageClass"], moved["Metadata"]) == ("REDUCED_REDUNDANCY", {"colour": "red"})
    assert moved["ContentType"] == "application/zstd"
    assert b"".join(bucket.read("x")) == data
    assert not remains(bucket)


@pytest.mark.parametrize(
    ("hint", "size"),
    [(0, 16 * MIB), (10 * MIB, 16 * MIB), (900 * 16 * MIB, 16 * MIB), (900 * 16 * MIB + 1, 16 * MIB + 1),
     (1 << 40, -(-(1 << 40) // 900)), (1 << 60, 5 << 30)],
)  # fmt: skip
def test_part_size(hint: int, size: int) -> None:
    assert _s3_upload.part_size(hint) == size


def test_a_hint_that_was_far_too_small_meets_no_bound_of_parts(
    bucket: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_s3_upload, "SMALLEST_PART", 5 * MIB)
    monkeypatch.setattr(_s3_upload, "PARTS", 1)
    monkeypatch.setattr(_s3_upload, "_GROWTH", 2)
    data = os.urandom(10 * MIB) * 7
    with counted(bucket) as requests:
        write(bucket, "x", data[: 5 * MIB])
        with bucket.upload("x", size_hint=0) as upload:
            upload.write(data)
            upload.commit()
    assert requests["UploadPart"] == 6  # of 5, 5, 10, 10, 20, 20 MiB
    assert b"".join(bucket.read("x")) == data


# Sweeping


def test_sweep_takes_only_what_is_dead(store: Store) -> None:
    store.put("a/1/manifest.json", b"{}")
    unfinished = {key: store.upload(key, size_hint=0) for key in ("a/1/data", "b/1/data")}
    for upload in unfinished.values():
        upload.__enter__().write(b"x" * (2 * PART + 1))
    _await(lambda: len(remains(store)) == 2 and _parts_arrived(store))
    assert store.sweep("") == []
    (swept,) = store.sweep("a/", AT_ONCE)
    assert swept.startswith("a/1/data")
    assert len(remains(store)) == 1
    assert keys(store) == ["a/1/manifest.json"]
    assert len(store.sweep("", AT_ONCE)) == 1
    assert remains(store) == []
    for upload in unfinished.values():
        upload.__exit__(None, None, None)


def _parts_arrived(store: Store) -> bool:
    """Whether each unfinished upload has both its parts: one that comes later makes it younger than the sweep's moment."""
    if isinstance(store, LocalStore):
        return True
    assert isinstance(store, S3Store)
    client, name = store.bucket.client, store.bucket.name
    return all(
        len(client.list_parts(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"]).get("Parts", ())) == 2
        for upload in client.list_multipart_uploads(Bucket=name)["Uploads"]
    )


def _await(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    assert condition()


def test_sweep_leaves_files_that_are_not_ours(local: LocalStore) -> None:
    local.put("a/x", b"")
    foreign = Path(local.root, "a", "download.partial")
    foreign.write_bytes(b"somebody else's")
    assert local.sweep("", AT_ONCE) == []
    assert foreign.exists()


# Whether a store is there


def test_check_writes_nothing(store: Store) -> None:
    for write_too in (False, True):
        store.check(write=write_too)
    assert keys(store) == []
    if isinstance(store, LocalStore):
        assert not os.path.exists(store.root)


def test_an_absent_directory_is_an_empty_store(local: LocalStore) -> None:
    local.check(write=True)
    assert not local.begun()
    assert (keys(local), local.sweep(""), local.delete(["x"]).deleted) == ([], [], ["x"])
    assert local.free_space()
    assert not os.path.exists(local.root)
    local.put("x", b"y")
    assert local.begun()


def test_labels() -> None:
    assert LocalStore("/backups/").label == "local:/backups"
    assert S3Store("b", "/a/b/").label == "s3:b/a/b"
    assert S3Store("b").label == "s3:b"


# A directory's own


def test_files_are_private_and_their_directories_too(local: LocalStore) -> None:
    old = os.umask(0)
    try:
        local.put("a/b/x", b"")
    finally:
        os.umask(old)
    modes = {
        path: oct(os.stat(path).st_mode & 0o777) for path in (local.root, f"{local.root}/a/b", f"{local.root}/a/b/x")
    }
    assert list(modes.values()) == ["0o700", "0o700", "0o600"]


def test_links_are_not_followed(local: LocalStore, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "x").write_bytes(b"not a backup")
    local.put("a/x", b"ours")
    os.symlink(precious, Path(local.root, "linked"))
    os.symlink(precious / "x", Path(local.root, "a", "link"))
    assert keys(local) == ["a/x"]
    report = local.delete(["linked/x", "a/link", "a/x"])
    assert report.deleted == ["a/x"]
    assert "symbolic link" in report.errors["linked/x"]
    assert "no regular file" in report.errors["a/link"]
    for attempt in (lambda: local.put("linked/y", b""), lambda: local.get("linked/x"), lambda: local.get("a/link")):
        with pytest.raises(Refused):
            attempt()
    assert [path.name for path in precious.iterdir()] == ["x"]


def test_the_root_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    os.symlink(tmp_path / "disk", tmp_path / "backups")
    store = LocalStore(str(tmp_path / "backups"))
    store.put("a/x", b"1")
    assert (keys(store), store.get("a/x")) == (["a/x"], b"1")
    assert store.delete(["a/x"]).freed == 1
    assert (tmp_path / "backups").is_symlink()
    assert list((tmp_path / "disk").iterdir()) == []


def test_bytes_that_another_hard_link_holds_are_not_freed(local: LocalStore, tmp_path: Path) -> None:
    local.put("a/x", b"12345")
    os.link(f"{local.root}/a/x", tmp_path / "kept")
    assert local.delete(["a/x"]).freed == 0


def test_delete_leaves_directories_that_are_in_use(local: LocalStore) -> None:
    local.put("a/b/c/x", b"")
    Path(local.root, "a", "theirs").write_bytes(b"")
    local.delete(["a/b/c/x"])
    assert sorted(os.listdir(local.root)) == ["a"]
    assert os.listdir(f"{local.root}/a") == ["theirs"]


# From a description


@pytest.mark.parametrize(
    ("declared", "label"),
    [
        ({"type": "local", "path": "/var/backups"}, "local:/var/backups"),
        ({"type": "local", "path": "/b/../c//d/", "prefix": "", "validate_certs": True, "bucket": None}, "local:/c/d"),
        ({"type": "s3", "bucket": "erni-backups", "prefix": None, "path": None}, "s3:erni-backups"),
        ({"type": "s3", "bucket": "b.c", "prefix": "/x/y/", "policy": {}, "validate_certs": False}, "s3:b.c/x/y"),
        ({"type": "s3", "bucket": "erni", "profile": "p", "endpoint_url": "https://s3.example.org:9000"}, "s3:erni"),
    ],
)
def test_a_description_becomes_a_store(declared: dict[str, Any], label: str) -> None:
    assert store_of("stores[0]", declared).label == label


S3 = {"type": "s3", "bucket": "erni-backups"}


@pytest.mark.parametrize(
    ("declared", "wrong"),
    [
        ({}, r"stores\[0\]\.type"),
        ({"type": "ftp"}, r"stores\[0\]\.type is 'ftp'"),
        ({"type": "local"}, r"stores\[0\]\.path"),
        ({"type": "local", "path": "backups"}, "absolute"),
        ({"type": "local", "path": "/"}, "directory for the backups"),
        ({"type": "local", "path": "/a\n"}, "control"),
        ({"type": "local", "path": "/a", "bucket": "b"}, r"stores\[0\]\.bucket means nothing"),
        ({**S3, "path": "/a"}, r"stores\[0\]\.path means nothing"),
        ({"type": "s3"}, r"stores\[0\]\.bucket"),
        ({"type": "s3", "bucket": "s3://b/x"}, "without s3://"),
        ({**S3, "prefix": "a/../b"}, r"stores\[0\]\.prefix"),
        ({**S3, "endpoint_url": "s3.example.org"}, r"stores\[0\]\.endpoint_url"),
        ({**S3, "endpoint_url": "https://key:CANARY@s3.example.org"}, r"stores\[0\]\.endpoint_url"),
        ({**S3, "endpoint_url": "http://[s3"}, r"stores\[0\]\.endpoint_url"),
        ({**S3, "endpoint_url": "http://s3:99999"}, r"stores\[0\]\.endpoint_url"),
        ({**S3, "access_key": "a", "secret_key": "CANARY\n"}, r"stores\[0\]\.secret_key holds a line break"),
        ({**S3, "access_key": "a"}, r"stores\[0\]\.secret_key is missing"),
        ({**S3, "secret_key": "CANARY"}, r"stores\[0\]\.access_key is missing"),
        ({**S3, "session_token": "CANARY"}, "session_token"),
        ({**S3, "profile": "p", "access_key": "a", "secret_key": "CANARY"}, "exclude each other"),
        ({**S3, "aws_ca_bundle": "/nowhere.pem"}, r"stores\[0\]\.aws_ca_bundle"),
        ({**S3, "aws_ca_bundle": "/nowhere.pem", "validate_certs": False}, "of no use"),
    ],
)
def test_a_description_that_cannot_be_is_refused(declared: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InputError, match=wrong) as caught:
        store_of("stores[0]", declared)
    assert "CANARY" not in str(caught.value)
