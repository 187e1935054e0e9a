# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What listing a bucket costs: its pages, and one GET for each small record that was not seen before."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._catalog import Catalogue, ScopeListing, read_scope
from ansible_collections.runbook.ops.plugins.module_utils._protect import publication
from ansible_collections.runbook.ops.plugins.module_utils._records import (
    HOLD,
    VERIFICATION,
    Manifest,
    Verification,
    encode,
    utc_now,
)
from ansible_collections.runbook.ops.plugins.module_utils._store import s3 as _s3
from ansible_collections.runbook.ops.plugins.module_utils._store.declared import store_of
from ansible_collections.runbook.ops.plugins.module_utils._store.s3 import S3Store
from support.procedures import Protected, new_bucket
from support.s3_requests import counted

from lab.embedded.servers import S3Server

PAGE = 4
"""Keys a page, so that a few backups take several."""


class Shelf:
    """A bucket with six backups of one database, two of them verified and one held: 6 artefacts, 9 records."""

    def __init__(self, s3: S3Server, directory: Path) -> None:
        store = store_of("stores[0]", new_bucket(s3))
        assert isinstance(store, S3Store)
        self.store = store
        self.protected = Protected({"engine": "sqlite", "name": "sme"}, str(directory))
        self.cache_dir = directory / "cache"
        self.manifests = [self.protected.forged(store, timedelta(days=days)) for days in range(6)]
        for manifest in self.manifests[2:4]:
            self.verify(manifest, passed=True)
        self.store.put(f"{self.manifests[5].path}/{HOLD}", encode({"reason": "audit", "until": None, "by": "ops"}))

    def verify(self, manifest: Manifest, *, passed: bool) -> None:
        verdict = Verification(manifest.id, utc_now(), passed, "restore", self.store.label)
        self.store.put(f"{manifest.path}/{VERIFICATION}", encode(verdict.to_dict()))

    def look(self, *, remember: bool = True, protected: Protected | None = None) -> tuple[ScopeListing, Counter[str]]:
        """What a new process sees, and what it asks the bucket for."""
        with counted(self.store) as requests:
            listing = read_scope(
                self.store, (protected or self.protected).scope, str(self.cache_dir), remember=remember
            )
        return listing, requests

    def truth(self) -> ScopeListing:
        return Catalogue(self.store).scope(self.protected.scope)

    @property
    def file(self) -> Path:
        (found,) = self.cache_dir.iterdir()
        return found

    def remembered(self) -> set[str]:
        return set(json.loads(self.file.read_text().partition("\n")[2]))


@pytest.fixture
def shelf(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    made = Shelf(s3, tmp_path)
    monkeypatch.setattr(_s3, "_PAGE", PAGE)
    return made


def asked(pages: int, records: int) -> Counter[str]:
    return Counter(ListObjectsV2=pages) + Counter(GetObject=records)


def test_a_cold_listing_reads_each_record_once_and_a_warm_one_none(shelf: Shelf) -> None:
    cold, requests = shelf.look()
    assert requests == asked(pages=4, records=9)
    warm, requests = shelf.look()
    assert requests == asked(pages=4, records=0)
    assert cold == warm == shelf.truth()
    assert len(warm.backups) == 6 and sum(b.passed for b in warm.backups) == 2 and warm.backups[5].hold


@pytest.mark.parametrize("number", [0, 2], ids=["first verification", "another verification"])
def test_a_changed_record_is_the_only_one_read(shelf: Shelf, number: int) -> None:
    shelf.look()
    shelf.verify(shelf.manifests[number], passed=False)
    seen, requests = shelf.look()
    assert requests["GetObject"] == 1
    assert [backup.id for backup in seen.backups if backup.failed] == [shelf.manifests[number].id]
    assert shelf.look() == (seen, asked(pages=4, records=0))


def emptied(_text: str) -> bytes:
    return b""


def cut(text: str) -> bytes:
    return text[: len(text) // 2].encode()


def binary(text: str) -> bytes:
    return b"\x00\xff" + text.encode()


def written(records: object) -> bytes:
    """As the cache writes it: a digest in the first line."""
    body = json.dumps(records).encode()
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def altered(text: str) -> bytes:
    return text.replace("scheduled", "manual").replace("passed", "failed").encode()


def of_another_shape(_text: str) -> bytes:
    return written([["key", "etag", "text"]])


def entries_of_another_shape(text: str) -> bytes:
    return written({key: ["etag"] for key in json.loads(text.partition("\n")[2])})


@pytest.mark.parametrize("damage", [emptied, cut, binary, altered, of_another_shape, entries_of_another_shape])
def test_a_corrupt_cache_costs_time_only(shelf: Shelf, damage: Callable[[str], bytes]) -> None:
    cold, _requests = shelf.look()
    shelf.file.write_bytes(damage(shelf.file.read_text()))
    assert shelf.look() == (cold, asked(pages=4, records=9))
    assert shelf.look() == (cold, asked(pages=4, records=0)), "it is whole again"


def test_a_cache_that_cannot_be_written_costs_time_only(shelf: Shelf) -> None:
    shelf.cache_dir.write_text("a file where the directory should be")
    for _time in range(2):
        assert shelf.look() == (shelf.truth(), asked(pages=4, records=9))


def test_check_mode_writes_no_cache_and_uses_one(shelf: Shelf) -> None:
    assert shelf.look(remember=False) == (shelf.truth(), asked(pages=4, records=9))
    assert not shelf.cache_dir.exists()
    shelf.look()
    before = shelf.file.read_bytes()
    shelf.verify(shelf.manifests[0], passed=True)
    assert shelf.look(remember=False)[1]["GetObject"] == 1
    assert shelf.file.read_bytes() == before


def test_deleted_records_are_forgotten_and_others_kept(shelf: Shelf) -> None:
    other = Protected({"engine": "sqlite", "name": "sme_archive"}, shelf.protected.work_dir)
    theirs = other.forged(shelf.store, timedelta(0))
    shelf.look()
    shelf.look(protected=other)
    assert len(shelf.remembered()) == 10
    doomed = shelf.truth().backups[2:4]
    assert publication.remove(shelf.store, doomed).errors == {}
    seen, requests = shelf.look()
    assert requests["GetObject"] == 0 and len(seen.backups) == 4
    gone = tuple(f"{backup.manifest.path}/" for backup in doomed)
    assert len(shelf.remembered()) == 6 and not any(key.startswith(gone) for key in shelf.remembered())
    assert shelf.look(protected=other)[1]["GetObject"] == 0, "one scope's listing forgets nothing of another's"
    assert [backup.id for backup in shelf.look(protected=other)[0].backups] == [theirs.id]
