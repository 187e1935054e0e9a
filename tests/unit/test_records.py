# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records of backup format 1: what is written is read back, what is wrong is refused."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone

import pytest
from ansible_collections.runbook.ops.plugins.module_utils import _records as records
from ansible_collections.runbook.ops.plugins.module_utils._errors import Unreadable

PATH = "erni/postgresql/erni_agents/20260301T020000Z-5f3a9c1e"
BY_HAND = {
    "format": 1, "id": "20260301T020000Z-5f3a9c1e", "system": "erni", "engine": "postgresql", "database": "erni_agents",
    "label": "scheduled", "started_at": "2026-03-01T02:00:00Z", "finished_at": "2026-03-01T02:00:41Z",
    "consistent_at": "2026-03-01T02:00:00Z", "server_version": "15.18", "tool": "pg_dump 15.18",
    "artefacts": [
        {"name": "data.pgc.zst", "format": "pg_custom", "compression": "zstd", "encryption": None,
         "size": 168400123, "raw_size": 702341120, "sha256": "aa", "raw_sha256": "bb"},
    ],
    "observed": [{"name": "table_rows:conversations", "value": 1284}],
    "source": {"runtime": "compose", "service": "postgres", "host": "erni-prod"},
    "producer": {"collection": "runbook.ops", "version": "1.0.0"},
}  # fmt: skip


def read(record: object) -> records.Manifest:
    return records.parse_manifest(json.dumps(record).encode(), PATH)


def test_the_documented_manifest_comes_back_as_it_was() -> None:
    assert read(BY_HAND).to_dict() == BY_HAND


def test_unknown_keys_are_ignored() -> None:
    assert read({**BY_HAND, "later": {"x": 1}}).id == BY_HAND["id"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 2}, "format 2; this release reads format 1 only"),
        ({"format": "1"}, "format '1'"),
        ({"id": "20260301T020000Z-00000000"}, "path and content disagree"),
        ({"database": "erni_agents_test"}, "path and content disagree"),
        ({"started_at": "yesterday"}, "not a manifest"),
        ({"started_at": "2026-03-01T02:00:00"}, "no time zone"),
        ({"artefacts": [{"name": "../../etc/passwd"}]}, "not a manifest"),
        ({"artefacts": [{**BY_HAND["artefacts"][0], "name": "a/b"}]}, "not a manifest"),
        ({"artefacts": [{**BY_HAND["artefacts"][0], "size": -1}]}, "size is -1"),
        ({"artefacts": None}, "not a manifest"),
        ({"observed": [1]}, "not a manifest"),
    ],
)
def test_what_is_wrong_is_unreadable(change: dict, says: str) -> None:
    with pytest.raises(Unreadable, match=re.escape(says)):
        read({**BY_HAND, **change})


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b"null", b"[" * 100_000])
def test_garbage_is_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable):
        records.parse_manifest(data, PATH)


def test_ids_sort_by_time_and_differ() -> None:
    moment = datetime(2026, 3, 1, 2, tzinfo=timezone.utc)
    first, second = records.new_id(moment), records.new_id(moment)
    assert first != second and first.startswith("20260301T020000Z-") and records.is_id(first)


@pytest.mark.parametrize(
    "name",
    ["", "20260301T020000Z", "20260301T020000Z-5F3A9C1E", "20260301T020000Z-5f3a9c1e\n", "20261301T020000Z-5f3a9c1e"],
)
def test_other_directories_are_not_ids(name: str) -> None:
    assert not records.is_id(name)


def test_verification_hold_and_lease_round_trip() -> None:
    now = datetime(2026, 3, 1, 3, 10, tzinfo=timezone.utc)
    identity = PATH.rpartition("/")[2]
    check = records.CheckResult("table_rows:users", ">=1", 1284, True)
    verification = records.Verification(identity, now, True, "restore", "local:/backups", 8.9, "15.18", (check,))
    assert records.parse_verification(records.encode(verification.to_dict()), PATH) == verification
    with pytest.raises(Unreadable):
        records.parse_verification(records.encode({**verification.to_dict(), "id": "other"}), PATH)
    with pytest.raises(Unreadable):
        records.parse_verification(records.encode({**verification.to_dict(), "result": "fine"}), PATH)
    lease = records.Lease("host:1", "write", now)
    assert records.parse_lease(records.encode(lease.to_dict()), PATH) == lease and not lease.live(now)
    assert records.parse_hold(b'{"reason": "legal", "until": null, "by": "ops"}', PATH).active(now)
    with pytest.raises(Unreadable):
        records.parse_hold(b'{"until": "soon"}', PATH)
