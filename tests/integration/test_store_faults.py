# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stores do when disks, networks and servers fail: a clear sentence, nothing bad published, nothing good lost."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import (
    InputError,
    NoSpace,
    NotFound,
    Refused,
    RunbookError,
    StoreError,
)
from ansible_collections.runbook.ops.plugins.module_utils._store import _s3_upload
from ansible_collections.runbook.ops.plugins.module_utils._store._s3_bucket import Credentials, Patience
from ansible_collections.runbook.ops.plugins.module_utils._store.base import Store
from ansible_collections.runbook.ops.plugins.module_utils._store.local import LocalStore
from ansible_collections.runbook.ops.plugins.module_utils._store.s3 import S3Store
from support import fault_report
from support.s3_proxy import Answer, Cut, Drip, Fault, Flip, Header, LostAnswer, Reply, S3Proxy, Silence

from lab.embedded.servers import S3Server

MIB = 1 << 20
PART = 5 * MIB
CANARY = "CANARY-secret-key-7f3a"
AT_ONCE = timedelta(0)
ROOT = Path(__file__).parents[2]
IMPATIENT = Patience(attempts=2, connect=2, read=5, stall=60)
HASTY = Patience(attempts=2, connect=1, read=1, stall=60)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3's least, so that objects of several parts are quick to make."""
    monkeypatch.setattr(_s3_upload, "SMALLEST_PART", PART)


@dataclass
class Bench:
    """A bucket with an empty store in it, reached through a proxy that does harm, and without it."""

    s3: S3Server
    proxy: S3Proxy
    name: str

    def store(self, **options: Any) -> S3Store:
        chosen = {
            "prefix": "pre", "region": self.s3.region, "endpoint_url": self.proxy.endpoint_url, "patience": IMPATIENT,
            "credentials": Credentials(access_key=self.s3.access_key, secret_key=CANARY), "variable": "stores[0].bucket",
            "bucket": self.name, **options,
        }  # fmt: skip
        return S3Store(**chosen)

    @property
    def behind(self) -> S3Store:
        """The same store, without the proxy."""
        return self.store(endpoint_url=self.s3.endpoint_url)

    def keys(self) -> list[str]:
        return [entry.key for entry in self.behind.entries("")]

    def unfinished(self) -> list[str]:
        listed = self.behind.bucket.client.list_multipart_uploads(Bucket=self.name)
        return [upload["Key"] for upload in listed.get("Uploads", [])]


@contextmanager
def bench_in(s3: S3Server, *, lock: bool = False) -> Iterator[Bench]:
    with S3Proxy(s3.endpoint_url) as proxy:
        bench = Bench(s3, proxy, f"f{uuid.uuid4().hex}")
        bench.behind.bucket.client.create_bucket(
            Bucket=bench.name, CreateBucketConfiguration={"LocationConstraint": s3.region},
            ObjectLockEnabledForBucket=lock,
        )  # fmt: skip
        yield bench


@pytest.fixture
def bench(s3: S3Server) -> Iterator[Bench]:
    with bench_in(s3) as bench:
        yield bench


@pytest.fixture
def locked(s3: S3Server) -> Iterator[Bench]:
    """A bucket with Object Lock, and so with versions."""
    with bench_in(s3, lock=True) as bench:
        yield bench


@contextmanager
def refused(kind: type[RunbookError], match: str) -> Iterator[pytest.ExceptionInfo[RunbookError]]:
    """The error is of this kind, says this, is one line, and holds no secret."""
    with pytest.raises(kind, match=match) as caught:
        yield caught
    said = str(caught.value)
    assert CANARY not in said + repr(caught.value)
    assert "\n" not in said
    assert said.endswith(".")


def write(store: Store, key: str, data: bytes) -> None:
    with store.upload(key, size_hint=0) as upload:
        for start in range(0, len(data), MIB):
            upload.write(data[start : start + MIB])
        upload.commit()


@pytest.fixture(scope="module")
def large() -> bytes:
    return os.urandom(2 * PART + 12345)


# Sentences


def nobody_listens() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def name_of(harm: object) -> str:
    return str(getattr(harm, "code", type(harm).__name__)) if isinstance(harm, Fault) else ""


@pytest.mark.parametrize(
    ("harm", "kind", "match"),
    [
        (Answer(403, "AccessDenied", "Access Denied"), Refused, "s3:ListBucket on the bucket"),
        (Answer(403, "InvalidAccessKeyId"), Refused, "correct access_key"),
        (Answer(403, "SignatureDoesNotMatch"), Refused, "correct secret_key"),
        (Answer(400, "ExpiredToken"), Refused, "session token has expired"),
        (Answer(403, "RequestTimeTooSkewed"), Refused, "clock"),
        (Answer(404, "NoSuchBucket"), NotFound, r"no bucket f\w+ at .*create it, or correct stores\[0\]\.bucket"),
        (Answer(400, "AuthorizationHeaderMalformed", "expecting 'eu-west-1'"), Refused, "another region.*eu-west-1"),
        (Answer(501, "NotImplemented"), Refused, "does not implement"),
        (Answer(500, "InternalError"), StoreError, "after 2 tries.*500 InternalError"),
        (Answer(503, "SlowDown"), StoreError, "after 2 tries.*503 SlowDown"),
        (Reply(b"<html>a web site</html>"), StoreError, "does not speak S3"),
        (Silence(), StoreError, "2 tries.*did not answer in time"),
        (Cut(), StoreError, "2 tries.*cut the connection"),
    ],
    ids=name_of,
)
def test_what_a_listing_says(
    bench: Bench, harm: Fault, kind: type[RunbookError], match: str, fault: fault_report.Fault
) -> None:
    bench.behind.put("id/manifest.json", b"good")
    bench.proxy.inject("*", harm)
    with refused(kind, match) as caught:
        list(bench.store(patience=HASTY).entries(""))
    bench.proxy.heal()
    assert [entry.key for entry in bench.store().entries("")] == ["id/manifest.json"]
    fault(f"S3 listing: {name_of(harm)}", caught.value, "never taken for an empty store; the next run lists it")


@pytest.mark.parametrize(
    ("options", "kind", "match"),
    [
        ({"bucket": "no-such-bucket-here"}, NotFound, r"no bucket no-such-bucket-here.*stores\[0\]\.bucket"),
        ({"bucket": "under/score"}, InputError, r"stores\[0\]\.bucket"),
        ({"endpoint_url": nobody_listens()}, StoreError, r"127\.0\.0\.1.*check the address"),
        ({"credentials": Credentials()}, Refused, "give access_key and secret_key, or a profile"),
        ({"credentials": Credentials(profile="nobody")}, InputError, "correct profile"),
        ({"verify": "/nowhere.pem", "endpoint_url": "https://127.0.0.1:9"}, RunbookError, "s3:"),
    ],
)
def test_what_check_says(
    bench: Bench, options: dict[str, Any], kind: type[RunbookError], match: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:  # fmt: skip
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with refused(kind, match):
        bench.store(**options).check(write=True)
    assert bench.keys() == []


def test_keys_that_the_server_does_not_know(bench: Bench) -> None:
    def demand(number: str) -> None:
        request = urllib.request.Request(
            f"{bench.s3.endpoint_url}/moto-api/reset-auth",
            number.encode(),
            {"Content-Type": "text/plain"},
            method="POST",
        )
        urllib.request.urlopen(request, timeout=5).close()

    demand("0")
    try:
        with refused(Refused, "correct access_key"):
            bench.store().check(write=False)
        with refused(Refused, "correct access_key"):
            bench.store().put("x", b"1")
    finally:
        demand("inf")
    assert bench.keys() == []


def test_check_believes_a_permission_for_the_prefix_alone(bench: Bench) -> None:
    bench.proxy.inject("HeadBucket", Answer(403, "AccessDenied"))
    bench.store().check(write=True)


def test_nothing_shows_the_secret(bench: Bench) -> None:
    store = bench.store()
    assert CANARY not in repr(store) + repr(store.bucket) + repr(vars(store.bucket))


# Writing

OPERATIONS = ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("broken", "harm", "kind"),
    [
        ("403", Answer(403, "AccessDenied"), Refused), ("500", Answer(500, "InternalError"), StoreError),
        ("cut", Cut(after=100), StoreError), ("silence", Silence(), StoreError),
    ],
)  # fmt: skip
def test_a_large_object_that_cannot_be_written(
    bench: Bench, large: bytes, operation: str, broken: str, harm: Fault, kind: type[RunbookError],
    fault: fault_report.Fault,
) -> None:  # fmt: skip
    bench.behind.put("id/manifest.json", b"good")
    bench.proxy.inject(operation, harm, skip=1 if operation == "UploadPart" else 0)
    with refused(kind, "s3:f.*id/data") as caught:
        write(bench.store(patience=HASTY if isinstance(harm, Silence) else IMPATIENT), "id/data", large)
    assert (bench.keys(), bench.unfinished()) == (["id/manifest.json"], [])
    bench.proxy.heal()
    write(bench.store(), "id/data", large)
    assert b"".join(bench.behind.read("id/data")) == large
    fault(f"S3 writing: {broken} at {operation}", caught.value, "nothing of it left, others kept; the next run works")


@pytest.mark.parametrize(
    ("operation", "fault"),
    [
        *((operation, Answer(500, "InternalError")) for operation in OPERATIONS),
        ("HeadObject", Answer(503, "SlowDown")),
        ("UploadPart", Answer(400, "BadDigest")),
        ("UploadPart", Cut(after=2 * MIB)),
        ("UploadPart", LostAnswer()),
        ("UploadPart", Flip(at=3 * MIB)),
        ("UploadPart", Silence()),
        ("CompleteMultipartUpload", LostAnswer()),
    ],
    ids=str,
)
def test_a_fault_that_passes_is_outlived(bench: Bench, large: bytes, operation: str, fault: Fault) -> None:
    bench.proxy.inject(operation, fault, times=1)
    write(bench.store(), "id/data", large)
    assert b"".join(bench.behind.read("id/data")) == large
    assert bench.unfinished() == []


def test_a_publication_whose_answer_was_lost_still_counts(bench: Bench, large: bytes) -> None:
    bench.proxy.inject("CompleteMultipartUpload", LostAnswer(), times=1)
    bench.proxy.inject("CompleteMultipartUpload", Answer(404, "NoSuchUpload"), skip=1)  # as S3 answers the second try
    write(bench.store(), "id/data", large)
    assert b"".join(bench.behind.read("id/data")) == large


def test_only_the_part_that_changed_is_sent_again(bench: Bench, large: bytes) -> None:
    bench.proxy.inject("UploadPart", Flip(at=100), skip=1, times=1)
    write(bench.store(), "id/data", large)
    assert bench.proxy.count("UploadPart") == 4
    assert b"".join(bench.behind.read("id/data")) == large


@pytest.mark.parametrize("size", [0, 10, PART], ids=["empty", "record", "one part"])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [(Answer(403, "AccessDenied"), Refused), (Answer(500, "InternalError"), StoreError), (Cut(), StoreError)],
    ids=["403", "500", "cut"],
)
def test_a_record_that_cannot_be_replaced_stays_as_it_was(
    bench: Bench, fault: Fault, kind: type[RunbookError], size: int
) -> None:
    bench.behind.put("id/verification.json", b"the old verdict")
    bench.proxy.inject("PutObject", fault)
    with refused(kind, "id/verification.json"):
        bench.store().put("id/verification.json", b"x" * size)
    assert bench.behind.get("id/verification.json") == b"the old verdict"


@pytest.mark.parametrize("fault", [Answer(500, "InternalError"), LostAnswer(), Cut(after=3), Flip(at=3)], ids=str)
def test_a_record_outlives_a_fault_that_passes(bench: Bench, fault: Fault) -> None:
    bench.proxy.inject("PutObject", fault, times=1)
    bench.store().put("id/manifest.json", b"0123456789")
    assert bench.behind.get("id/manifest.json") == b"0123456789"


@pytest.mark.parametrize("size", [10, PART, PART + 10], ids=["record", "one part", "two parts"])
def test_bytes_that_change_on_the_way_are_never_published(bench: Bench, size: int) -> None:
    bench.proxy.inject("PutObject", Flip(at=5))
    bench.proxy.inject("UploadPart", Flip(at=5))
    with refused(StoreError, "other bytes arrived than were sent"):
        write(bench.store(), "id/data", b"x" * size)
    assert (bench.keys(), bench.unfinished()) == ([], [])


OPAQUE = Header("ETag", '"no-md5-at-all"')
KMS = Header("x-amz-server-side-encryption", "aws:kms")
NO_CHECKSUM = Header("x-amz-checksum-sha256", None)
WRONG_CHECKSUM = Header("x-amz-checksum-sha256", "d3Jvbmc=")
SHORT = Header("Content-Length", "12")


@pytest.mark.parametrize(
    ("headers", "reads"),
    [
        ([], 0),
        ([KMS, OPAQUE], 0),
        ([KMS, OPAQUE, NO_CHECKSUM], 1),
        ([KMS, OPAQUE, WRONG_CHECKSUM], 1),
        ([OPAQUE], 1),
    ],
    ids=["md5", "checksum", "neither", "wrong checksum", "opaque"],
)
def test_a_published_object_is_proved_or_read_back(
    bench: Bench, large: bytes, headers: list[Header], reads: int
) -> None:
    for header in headers:
        bench.proxy.inject("HeadObject", header)
    write(bench.store(), "id/data", large)
    assert bench.proxy.count("GetObject") == reads
    assert bench.keys() == ["id/data"]


def test_a_small_object_without_an_md5_is_read_back(bench: Bench) -> None:
    bench.proxy.inject("PutObject", OPAQUE)
    bench.store().put("id/manifest.json", b"0123456789")
    assert bench.proxy.count("GetObject") == 1
    bench.proxy.inject("GetObject", Flip(at=5, of="response"))
    bench.proxy.inject("GetObject", NO_CHECKSUM)
    with refused(StoreError, "its sha256 is another"):
        bench.store().put("id/other.json", b"0123456789")
    assert bench.keys() == ["id/manifest.json"]


@pytest.mark.parametrize(
    ("faults", "match"),
    [
        ([("HeadObject", SHORT)], "12 bytes of"),
        ([("HeadObject", OPAQUE), ("GetObject", Flip(at=PART, of="response"))], "its sha256 is another"),
        ([("HeadObject", Answer(404, "NotFound"))], "confirming id/data failed: it is not there"),
        ([("HeadObject", Answer(403, "Forbidden"))], "s3:GetObject"),
    ],
    ids=["short", "read back", "absent", "unconfirmable"],
)  # fmt: skip
def test_what_is_not_confirmed_is_taken_back(
    bench: Bench, large: bytes, faults: list[tuple[str, Fault]], match: str
) -> None:
    for operation, fault in faults:
        bench.proxy.inject(operation, fault)
    with refused(StoreError, match):
        write(bench.store(), "id/data", large)
    assert (bench.keys(), bench.unfinished()) == ([], [])


def test_a_part_that_crawls_is_given_up(bench: Bench, large: bytes, fault: fault_report.Fault) -> None:
    bench.proxy.inject("UploadPart", Drip())
    store = bench.store(patience=Patience(attempts=2, connect=1, read=1, stall=1))
    begun = time.monotonic()
    with refused(StoreError, "did not get through.*in 1 s") as caught:
        write(store, "id/data", large)
    assert time.monotonic() - begun < 60
    assert bench.keys() == []
    fault("S3 writing: a part that crawls", caught.value, "nothing published; given up in time")


def test_a_dump_ends_as_soon_as_a_part_cannot_be_sent(bench: Bench) -> None:
    bench.proxy.inject("UploadPart", Answer(403, "AccessDenied"))
    written = 0
    with refused(Refused, r"part [12]"), bench.store().upload("id/data", size_hint=0) as upload:
        for _ in range(20 * PART // MIB):
            upload.write(bytes(MIB))
            written += MIB
    assert written < 6 * PART


# Reading


def test_reading_goes_on_after_a_cut(bench: Bench, large: bytes) -> None:
    write(bench.behind, "id/data", large)
    for skip, after in enumerate((5 * MIB + 3, 0, 3 * MIB)):
        bench.proxy.inject("GetObject", Cut(after=after, of="response"), skip=skip, times=1)
    assert b"".join(bench.store(patience=Patience(attempts=4, read=5)).read("id/data")) == large
    assert bench.proxy.count("GetObject") == 4


@pytest.mark.parametrize("fault", [Cut(after=MIB, of="response"), Silence()], ids=["cut", "silence"])
def test_reading_is_given_up_at_last(bench: Bench, large: bytes, fault: Fault) -> None:
    write(bench.behind, "id/data", large)
    store = bench.store(patience=HASTY if isinstance(fault, Silence) else IMPATIENT)
    chunks = store.read("id/data") if isinstance(fault, Cut) else iter(())
    bench.proxy.inject("GetObject", fault)
    with refused(StoreError, "reading id/data failed after up to 2 tries"):
        list(chunks) or list(store.read("id/data"))
        list(store.read("id/data"))


def test_an_object_that_is_replaced_while_it_is_read_is_not_mixed(bench: Bench, large: bytes) -> None:
    write(bench.behind, "id/data", large)
    bench.proxy.inject("GetObject", Cut(after=4 * MIB, of="response"), times=1)
    chunks = bench.store().read("id/data")
    next(chunks)
    write(bench.behind, "id/data", bytes(len(large)))
    with refused(StoreError, "replaced meanwhile"):
        list(chunks)


def test_a_record_that_changes_on_the_way_back_is_not_believed(bench: Bench) -> None:
    bench.behind.put("id/manifest.json", b'{"format": 1}')
    bench.proxy.inject("GetObject", Flip(at=11, of="response"))
    with refused(StoreError, "bytes changed on the way"):
        bench.store().get("id/manifest.json")


# Deleting


def retain(bench: Bench, key: str) -> None:
    bench.behind.bucket.client.put_object_retention(
        **bench.behind.bucket.name_of(key),
        Retention={"Mode": "GOVERNANCE", "RetainUntilDate": datetime.now(timezone.utc) + timedelta(days=1)},
    )


def test_object_lock_is_reported_and_frees_nothing(locked: Bench) -> None:
    store = locked.store()
    for key, size in (("id/a", 10), ("id/kept", 200), ("id/z", 3000)):
        store.put(key, b"x" * size)
    retain(locked, "id/kept")
    report = store.delete(["id/a", "id/kept", "id/z"])
    assert (report.deleted, report.freed) == (["id/a", "id/z"], 3010)
    assert list(report.errors) == ["id/kept"]
    assert "until its retention or legal hold ends" in report.errors["id/kept"]
    assert locked.keys() == ["id/kept"]


def test_what_a_marker_hides_stays_hidden_when_it_cannot_be_deleted(locked: Bench) -> None:
    store = locked.store()
    store.put("id/manifest.json", b"old")
    retain(locked, "id/manifest.json")
    store.bucket.client.delete_object(**store.bucket.name_of("id/manifest.json"))
    report = store.delete(["id/manifest.json"])
    assert (report.deleted, report.freed, list(report.errors)) == ([], 0, ["id/manifest.json"])
    assert locked.keys() == []


def test_an_old_version_that_is_locked_does_not_come_to_light(locked: Bench) -> None:
    store = locked.store()
    store.put("id/verification.json", b"old")
    retain(locked, "id/verification.json")
    store.put("id/verification.json", b"new")
    report = store.delete(["id/verification.json"])
    assert list(report.errors) == ["id/verification.json"]
    assert store.get("id/verification.json") == b"new"


def test_a_locked_version_stays_in_its_class_and_that_is_said(locked: Bench) -> None:
    store = locked.store()
    store.put("id/data", b"x" * 100)
    retain(locked, "id/data")
    with refused(Refused, "moved all the same.*former version stays"):
        store.set_storage_class("id/data", "STANDARD_IA")
    assert [entry.storage_class for entry in store.entries("")] == ["STANDARD_IA"]


def test_hiding_is_not_deleting(locked: Bench) -> None:
    store = locked.store()
    store.put("id/data", b"x" * 100)
    locked.proxy.inject("GetBucketVersioning", Answer(403, "AccessDenied"))
    report = store.delete(["id/data"])
    assert (report.deleted, report.freed) == ([], 0)
    assert "hidden, not gone" in report.errors["id/data"]


@pytest.mark.parametrize("operation", ["ListObjectsV2", "DeleteObjects"])
def test_a_delete_that_is_refused_says_so_for_each_key(bench: Bench, operation: str) -> None:
    for key in ("id/a", "id/b"):
        bench.behind.put(key, b"1")
    bench.proxy.inject(operation, Answer(403, "AccessDenied"))
    report = bench.store().delete(["id/a", "id/b"])
    assert (report.deleted, report.freed, sorted(report.errors)) == ([], 0, ["id/a", "id/b"])
    assert all("AccessDenied" in reason for reason in report.errors.values())
    bench.proxy.heal()
    assert bench.store().delete(["id/a", "id/b"]).freed == 2


def test_a_key_that_fails_for_a_moment_is_tried_again(bench: Bench) -> None:
    bench.behind.put("id/a", b"1")
    busy = b"<DeleteResult><Error><Key>pre/id/a</Key><Code>InternalError</Code><Message>busy</Message></Error></DeleteResult>"
    bench.proxy.inject("DeleteObjects", Reply(busy), times=1)
    report = bench.store().delete(["id/a"])
    assert (report.deleted, report.freed, report.errors) == (["id/a"], 1, {})


def test_what_an_answer_does_not_mention_is_not_gone(bench: Bench) -> None:
    bench.behind.put("id/a", b"1")
    bench.proxy.inject("DeleteObjects", Reply(b"<DeleteResult></DeleteResult>"))
    report = bench.store().delete(["id/a"])
    assert (report.deleted, report.freed) == ([], 0)
    assert "does not mention it" in report.errors["id/a"]


def test_a_bucket_that_cannot_be_asked_is_no_empty_report(bench: Bench) -> None:
    with refused(StoreError, "check the address"):
        bench.store(endpoint_url=nobody_listens()).delete(["id/a"])


@pytest.mark.parametrize("size", [10, 2 * PART], ids=["record", "parts"])
def test_a_web_site_is_no_store(bench: Bench, size: int) -> None:
    bench.proxy.inject("*", Reply(b"<html>a web site</html>"))
    with refused(StoreError, "does not speak S3|other bytes arrived"):
        write(bench.store(), "id/data", bytes(size))


def test_an_upload_whose_beginning_was_lost_is_swept(bench: Bench, large: bytes) -> None:
    bench.proxy.inject("CreateMultipartUpload", LostAnswer(), times=1)
    write(bench.store(), "id/data", large)
    assert bench.unfinished() == ["pre/id/data"]
    assert bench.store().sweep("", AT_ONCE) == ["id/data"]
    assert (bench.keys(), bench.unfinished()) == (["id/data"], [])


def test_an_odd_answer_about_former_uploads_spoils_nothing(bench: Bench, large: bytes) -> None:
    upload = b"<Upload><UploadId>somebody-elses</UploadId></Upload>"  # without its key
    bench.proxy.inject(
        "ListMultipartUploads", Reply(b"<ListMultipartUploadsResult>%b</ListMultipartUploadsResult>" % upload)
    )
    write(bench.store(), "id/data", large)
    assert bench.keys() == ["id/data"]


def test_a_copy_that_fails_leaves_the_object_where_it_was(bench: Bench) -> None:
    bench.behind.put("id/data", b"1")
    bench.proxy.inject("CopyObject", Answer(403, "AccessDenied"))
    with refused(Refused, "moving id/data to STANDARD_IA was denied"):
        bench.store().set_storage_class("id/data", "STANDARD_IA")
    assert [entry.storage_class for entry in bench.behind.entries("")] == ["STANDARD"]


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
