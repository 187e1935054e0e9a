# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive with planted damage is told as it is; what is sound, or only busy, is never called damaged."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._archive import listing, short_way
from ansible_collections.runbook.ops.plugins.module_utils._archive.base import Found
from ansible_collections.runbook.ops.plugins.module_utils._archive.bucket import ArchiveBucket
from ansible_collections.runbook.ops.plugins.module_utils._archive.verify import Verification, digest_of
from ansible_collections.runbook.ops.plugins.module_utils._errors import EngineError, InputError, StoreError
from support.archives import AWKWARD, Documents, S3Objects, archive, documents, new_bucket, requests_of
from support.s3_proxy import Answer, Cut, Header, S3Proxy

from lab.embedded.servers import PostgresServer, S3Server

PLAIN = tuple(f"2025/{month:02}/{number}.pdf" for month in (1, 2) for number in range(5))


@pytest.fixture(params=["bucket", "directory"])
def placed(
    request: pytest.FixtureRequest, postgres: PostgresServer, s3: S3Server, tmp_path: Path
) -> Iterator[Documents]:
    """A sound archive in each kind of place, with awkward keys."""
    objects = new_bucket(s3) if request.param == "bucket" else {"type": "local", "path": str(tmp_path)}
    with archive(postgres, objects, [new_bucket(s3)]) as made:
        made.store(documents([*PLAIN, *AWKWARD]))
        yield made


@pytest.fixture
def stored(postgres: PostgresServer, s3: S3Server) -> Iterator[Documents]:
    """A sound archive in a bucket."""
    with archive(postgres, new_bucket(s3), [new_bucket(s3)]) as made:
        made.store(documents([*PLAIN, *AWKWARD]))
        yield made


def of_other_content(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize("mode", ["quick", "deep"])
def test_a_sound_archive(placed: Documents, mode: str) -> None:
    report = placed.verify(mode)
    told = report.to_dict()
    by_size = mode == "quick" and placed.declared["objects"]["type"] == "local"
    assert (report.sound, report.problems, told["counts"]["good"]) == (True, [], len(placed.contents))
    assert told["counts"]["by_size" if by_size else "by_checksum"] == len(placed.contents)
    assert any("by size alone" in note for note in told["notes"]) == by_size
    assert told["counts"]["read"] == (len(placed.contents) if mode == "deep" else 0)


@pytest.mark.parametrize("mode", ["quick", "deep"])
def test_missing_damaged_and_extra_are_told_apart(placed: Documents, mode: str) -> None:
    gone, short, flipped = "2025/01/1.pdf", "umlaut/Übergabe.pdf", "2025/02/3.pdf"
    placed.objects.delete(gone)
    placed.objects.put(short, placed.contents[short][:-1])
    placed.objects.put(flipped, of_other_content(placed.contents[flipped]))
    placed.objects.put("not/indexed.pdf", b"x")
    found = placed.found(mode)
    seen = {short} if mode == "quick" and placed.declared["objects"]["type"] == "local" else {short, flipped}
    assert {state: set(keys) for state, keys in found.items()} == {
        "missing": {gone}, "damaged": seen, "extra": {"not/indexed.pdf"},
    }  # fmt: skip


def test_what_a_listing_cannot_tell_is_said(postgres: PostgresServer, s3: S3Server) -> None:
    with archive(postgres, new_bucket(s3), [], checksum="sha256") as made:
        made.store(documents(PLAIN), copies=False)
        damaged = PLAIN[0]
        made.objects.put(damaged, of_other_content(made.contents[damaged]))
        report = made.verify("quick")
        assert report.sound and report.proofs == {"size": len(PLAIN)}
        assert (
            "compared by size alone, because the index's sha256 is not what a listing holds: deep reads them."
            in report.notes[0]
        )
        assert made.found("deep") == {"damaged": [damaged]}


def test_an_upload_in_parts_and_encryption_by_kms_are_no_damage(stored: Documents) -> None:
    """Their ETags are no MD5; by KMS it even looks like one."""
    objects = stored.objects
    assert isinstance(objects, S3Objects)
    client, parts, sealed = objects.client, PLAIN[0], PLAIN[1]
    upload = client.create_multipart_upload(**objects.name(parts))["UploadId"]
    etag = client.upload_part(**objects.name(parts), UploadId=upload, PartNumber=1, Body=stored.contents[parts])["ETag"]
    client.complete_multipart_upload(
        **objects.name(parts), UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]}
    )
    objects.put(sealed, of_other_content(stored.contents[sealed]), ServerSideEncryption="aws:kms")
    report = stored.verify("quick")
    assert (report.problems, report.proofs["size"]) == ([], 2)
    assert stored.found("deep") == {
        "damaged": [sealed]
    }  # moto's ETag is an MD5 even so; the content was damaged for that


def test_the_index_may_have_duplicates_nulls_and_nonsense(stored: Documents) -> None:
    stored.execute("INSERT INTO documents (storage_key, size_bytes, digest) SELECT storage_key, size_bytes, digest FROM documents "
                   "WHERE storage_key = '2025/01/0.pdf'")  # fmt: skip
    stored.execute(
        "INSERT INTO documents (storage_key, size_bytes, digest) VALUES (NULL, 1, 'x'), ('2025/01/1.pdf', 7, 'other')"
    )
    stored.execute("UPDATE documents SET digest = NULL WHERE storage_key = '2025/01/2.pdf'")
    stored.execute("UPDATE documents SET digest = 'n/a' WHERE storage_key = '2025/01/3.pdf'")
    stored.execute("UPDATE documents SET digest = NULL, size_bytes = NULL WHERE storage_key = '2025/01/4.pdf'")
    stored.execute("UPDATE documents SET digest = upper(digest) WHERE storage_key = '2025/02/0.pdf'")
    for mode in ("quick", "deep"):
        report = stored.verify(mode)
        assert [(p.key, p.verdict.state) for p in report.problems] == [("2025/01/1.pdf", "contradictory")]
        assert (report.proofs["size"], report.proofs["existence"]) == (2, 1)
        assert (report.duplicates, report.nameless) == (2, 1)
        assert not report.sound


def test_checksums_may_be_bytes(postgres: PostgresServer, s3: S3Server) -> None:
    with archive(postgres, new_bucket(s3), [], column="bytea") as made:
        contents = documents(PLAIN)
        made.objects.put_all(contents)
        for key, data in contents.items():
            made.execute(
                "INSERT INTO documents (storage_key, size_bytes, digest) VALUES (%s, %s, decode(%s, 'hex'))",
                [key, len(data), made.digest(data)],
            )
        assert made.verify("quick").proofs == {"checksum": len(PLAIN)}


@pytest.fixture
def long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that can be asked for small pages."""

    def pages(*_: Any, **__: Any) -> Iterator[list[Found]]:
        raise short_way.NotPlain

    monkeypatch.setattr(short_way.ShortWay, "pages", pages)


@pytest.mark.usefixtures("long_way")
def test_quick_asks_for_list_pages_and_nothing_more(
    postgres: PostgresServer, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small pages stand for large numbers: the requests are the same in kind and count."""
    monkeypatch.setattr(listing, "PAGE", 10)
    monkeypatch.setattr("ansible_collections.runbook.ops.plugins.module_utils._archive.verify._PAGE", 10)
    with archive(postgres, new_bucket(s3), []) as made:
        made.store(documents(f"{number:05}.pdf" for number in range(500)), copies=False)
        opened = made.archive()
        with requests_of(opened) as requests:
            report = Verification(opened, deep=False).run()
        assert (report.proofs, report.problems) == ({"checksum": 500}, [])
        assert requests == {"ListObjectsV2": 50}


@pytest.mark.usefixtures("long_way")
def test_extra_objects_between_the_boundaries(
    postgres: PostgresServer, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any number of objects may lie between two keys of the index; none is lost, none comes twice."""
    monkeypatch.setattr(listing, "PAGE", 5)
    monkeypatch.setattr(listing, "_HEAD_PAGES", 2)
    monkeypatch.setattr("ansible_collections.runbook.ops.plugins.module_utils._archive.verify._PAGE", 5)
    with archive(postgres, new_bucket(s3), []) as made:
        made.store(documents(f"{number:03}" for number in range(60)), copies=False)
        more = [f"{number:03}x{also:02}" for number in (9, 10, 30) for also in range(30)]
        made.objects.put_all(documents(more))
        report = made.verify()
        assert report.proofs == {"checksum": 60}
        assert sorted(p.key for p in report.of("extra")) == more


def test_memory_is_bounded(postgres: PostgresServer, s3: S3Server) -> None:
    """100,000 rows against a listing that comes from nowhere: what is held is a few pages."""

    class Endless:
        label, round_trips = "s3:endless", False

        def begin(self, *, quick: bool) -> None:
            pass

        def end(self) -> None:
            pass

        def pages(self, *_: Any) -> Iterator[list[Found]]:
            for start in range(0, 100_000, 1000):
                yield [Found(f"{number:06}", 8, "t", f"{number:032x}") for number in range(start, start + 1000)]

    with archive(postgres, new_bucket(s3), []) as made:
        made.execute(
            "INSERT INTO documents (storage_key, size_bytes, digest) "
            "SELECT lpad(n::text, 6, '0'), 8, lpad(to_hex(n), 32, '0') FROM generate_series(0, 99999) n"
        )
        opened = made.archive()
        object.__setattr__(opened, "objects", Endless())
        tracemalloc.start()
        report = Verification(opened, deep=False).run()
        _now, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert report.proofs == {"checksum": 100_000}
    assert peak < 60 << 20, peak


@pytest.mark.parametrize("mode", ["quick", "deep"])
def test_a_document_that_is_stored_meanwhile(stored: Documents, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The listing is older than what the application does during it: one more document, one fewer, one new version."""
    verification = Verification(stored.archive(), deep=mode == "deep")
    place = verification._place
    pages = place.pages

    def meanwhile(*known: Any) -> Iterator[list[Found]]:
        yield from list(pages(*known))  # all listed, and then
        stored.execute("DELETE FROM documents WHERE storage_key = '2025/01/0.pdf'")
        stored.objects.delete("2025/01/0.pdf")
        new = {"2025/01/1.pdf": b"a new version", "2025/01/0a.pdf": b"another document"}
        stored.execute("DELETE FROM documents WHERE storage_key = '2025/01/1.pdf'")
        stored.store(new, copies=False)

    monkeypatch.setattr(place, "pages", meanwhile)
    report = verification.run()
    assert (report.problems, report.sound) == ([], True)


def test_an_object_that_changes_while_it_is_read_is_read_again(
    stored: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "2025/01/1.pdf"
    verification = Verification(stored.archive(), deep=True)
    place, read = verification._place, verification._place.read
    writes = iter([b"first rewrite", b"second rewrite"])

    def rewritten(found: Found) -> Iterator[bytes]:
        if found.key == key and (data := next(writes, None)) is not None:
            stored.execute("DELETE FROM documents WHERE storage_key = %s", [key])
            stored.store({key: data}, copies=False)
        return read(found)

    monkeypatch.setattr(place, "read", rewritten)
    report = verification.run()
    assert (report.problems, report.sound, report.looked_again) == ([], True, 1)


def test_an_object_that_never_rests_is_called_changing(stored: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    verification = Verification(stored.archive(), deep=True)
    place, read = verification._place, verification._place.read

    def restless(found: Found) -> Iterator[bytes]:
        if found.key == PLAIN[1]:
            stored.objects.put(found.key, os.urandom(len(stored.contents[found.key])))
        return read(found)

    monkeypatch.setattr(place, "read", restless)
    report = verification.run()
    assert [(p.key, p.verdict.state) for p in report.problems] == [(PLAIN[1], "changing")]
    assert report.sound  # neither damaged nor proved; the report names it


def test_an_archived_object_is_not_read_and_not_damaged(stored: Documents) -> None:
    objects = stored.objects
    assert isinstance(objects, S3Objects)
    objects.put(PLAIN[2], stored.contents[PLAIN[2]], StorageClass="GLACIER")
    report = stored.verify("deep")
    assert (report.problems, report.archived, report.proofs) == (
        [],
        1,
        {"checksum": len(stored.contents) - 1, "size": 1},
    )
    assert any("archived and were not read" in note for note in report.notes)


@pytest.mark.parametrize("mode", ["quick", "deep"])
def test_an_empty_place_is_refused(stored: Documents, s3: S3Server, tmp_path: Path, mode: str) -> None:
    for objects in (
        new_bucket(s3),
        {**stored.declared["objects"], "prefix": "wrong"},
        {"type": "local", "path": str(tmp_path)},
    ):
        with pytest.raises(InputError, match=r"holds no object at all, but documents in .* has 16 rows: see whether"):
            Verification(stored.archive(objects=objects), deep=mode == "deep").run()
    other = {**stored.declared["objects"], "prefix": ""}
    with pytest.raises(InputError, match="holds 16 objects, none of them one of the index's"):
        Verification(stored.archive(objects=other), deep=mode == "deep").run()


@pytest.mark.parametrize("mode", ["quick", "deep"])
def test_a_store_that_is_away(stored: Documents, mode: str) -> None:
    gone = {**stored.declared["objects"], "endpoint_url": "http://127.0.0.1:9"}
    with pytest.raises(StoreError, match=r"listing all failed after up to 5 tries: http://127.0.0.1:9 did not answer"):
        Verification(stored.archive(objects=gone), deep=mode == "deep").run()
    with pytest.raises(StoreError, match="there is no bucket nobodys at"):
        Verification(stored.archive(objects={**stored.declared["objects"], "bucket": "nobodys"}), deep=False).run()


def test_a_store_that_goes_away(stored: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every object unreadable is the store's failure, not each object's."""
    stored.store(documents(f"more/{number}" for number in range(40)), copies=False)
    verification = Verification(stored.archive(), deep=True)

    def broken(found: Found) -> Iterator[bytes]:
        raise StoreError("s3:b: reading failed: the network is down.")

    monkeypatch.setattr(verification._place, "read", broken)
    with pytest.raises(StoreError, match="the network is down"):
        verification.run()


def test_one_object_that_cannot_be_read(stored: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    verification = Verification(stored.archive(), deep=True)
    read = verification._place.read

    def broken(found: Found) -> Iterator[bytes]:
        if found.key == PLAIN[3]:
            raise StoreError("s3:b: reading failed: InternalError.")
        return read(found)

    monkeypatch.setattr(verification._place, "read", broken)
    report = verification.run()
    assert [(p.key, p.verdict.state) for p in report.problems] == [(PLAIN[3], "unreadable")]
    assert not report.sound


def test_an_index_that_is_not_there(stored: Documents) -> None:
    def said(error: type[Exception], **changes: Any) -> str:
        with pytest.raises(error) as caught:
            Verification(stored.archive(**changes), deep=False).run()
        return str(caught.value)

    assert "archive.table is 'papers', but database" in said(InputError, table="papers")
    columns = {**stored.declared["columns"], "size": "bytes"}
    assert "has only the columns id, storage_key, size_bytes, digest" in said(InputError, columns=columns)
    database = {**stored.declared["database"], "port": 9}
    assert "cannot be reached" in said(EngineError, database=database)


def test_links_and_unsafe_keys_in_a_directory(postgres: PostgresServer, s3: S3Server, tmp_path: Path) -> None:
    """Nothing outside the directory is read, whatever keys and links say."""
    root, outside = tmp_path / "archive", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    with archive(postgres, {"type": "local", "path": str(root)}, []) as made:
        made.store(documents(PLAIN), copies=False)
        secret = documents(["secret"])["secret"]
        (outside / "secret").write_bytes(secret)
        (root / "link").symlink_to(outside / "secret")
        (root / "linked").symlink_to(outside)
        made.index(
            {"link": secret, "linked/secret": secret, "../outside/secret": secret, str(outside / "secret"): secret}
        )
        report = made.verify("deep")
        assert {p.key: (p.verdict.state) for p in report.problems} == {
            "link": "damaged", "linked": "extra", "linked/secret": "missing", "../outside/secret": "missing",
            str(outside / "secret"): "missing",
        }  # fmt: skip
        assert "is no regular file" in {p.key: p.verdict.reason for p in report.problems}["link"]
        assert "cannot be a file below the directory" in report.of("missing")[0].verdict.reason


def test_more_problems_than_are_listed(postgres: PostgresServer, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("report.LISTED", "verify.LOOK_AGAIN"):
        monkeypatch.setattr(f"ansible_collections.runbook.ops.plugins.module_utils._archive.{name}", 5)
    with archive(postgres, new_bucket(s3), []) as made:
        made.store(documents(PLAIN), copies=False)
        made.index(documents(f"lost/{number}" for number in range(20)))
        told = made.verify().to_dict()
        assert (told["counts"]["missing"], len(told["missing"])) == (20, 5)


LONG_WAY = {
    "cut": Cut(1 << 20, of="response"), "refused": Answer(503, "SlowDown"), "another": Header("ETag", '"another"'),
    "no length": Header("Content-Length", "7"),
}  # fmt: skip


@pytest.mark.parametrize("fault", LONG_WAY)
def test_what_is_no_plain_answer_goes_the_long_way(postgres: PostgresServer, s3: S3Server, fault: str) -> None:
    """A connection that is cut goes on where it stopped; a refusal, and an answer that is another object's, are asked again."""
    with archive(postgres, new_bucket(s3), []) as made, S3Proxy(s3.endpoint_url) as proxy:
        made.store({"large.bin": os.urandom(3 << 20), **documents(PLAIN)}, copies=False)
        opened = made.archive(objects={**made.declared["objects"], "endpoint_url": proxy.endpoint_url})
        (large,) = [found for page in opened.objects.pages() for found in page if found.key == "large.bin"]
        proxy.inject("GetObject", LONG_WAY[fault], times=1)
        assert digest_of(opened.objects, large, "md5") == (3 << 20, made.digest(made.contents["large.bin"]))
        assert proxy.count("GetObject") == 2
        report = Verification(opened, deep=True).run()
        assert report.sound and report.proofs == {"checksum": len(PLAIN) + 1}
        assert proxy.count("GetObject") == 2 + len(PLAIN) + 1


def test_an_index_that_cannot_be_read_ends_the_listing(postgres: PostgresServer, s3: S3Server) -> None:
    with archive(postgres, new_bucket(s3), []) as made:
        opened = made.archive(table="nowhere")
        with pytest.raises(InputError, match="no such table"):
            Verification(opened, deep=False).run()
        assert isinstance(opened.objects, ArchiveBucket) and opened.objects._listing._enough.is_set()
