# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stores say when servers, networks and what they hold fail, and what reading and deleting then leave: nothing good lost."""

from __future__ import annotations

import os
import socket
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import (
    InputError,
    NotFound,
    Refused,
    RunbookError,
    StoreError,
)
from ansible_collections.runbook.ops.plugins.module_utils._store._s3_bucket import Credentials, Patience
from integration.store_bench import AT_ONCE, CANARY, HASTY, IMPATIENT, MIB, PART, Bench, refused, write
from support import fault_report
from support.s3_proxy import Answer, Cut, Fault, Flip, LostAnswer, Reply, Silence

pytestmark = pytest.mark.usefixtures("small_parts")


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
