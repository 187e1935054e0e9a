# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stores do when networks and servers fail while an object is written: nothing bad published."""

from __future__ import annotations

import time

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import Refused, RunbookError, StoreError
from ansible_collections.runbook.ops.plugins.module_utils._store._s3_bucket import Patience
from integration.store_bench import HASTY, IMPATIENT, MIB, PART, Bench, refused, write
from support import fault_report
from support.s3_proxy import Answer, Cut, Drip, Fault, Flip, Header, LostAnswer, Silence

pytestmark = pytest.mark.usefixtures("small_parts")


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
