# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store written by hand after ``docs/backup_format.md``, with none of our code, is listed and pruned properly."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import zstandard
from command_line import HERE, ROOT, ended

NOW = datetime.now(timezone.utc).replace(microsecond=0)
HOUR = timedelta(hours=1)


def rfc3339(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def id_of(days: float) -> str:
    """The id of a backup begun so many days ago."""
    return f"{NOW - timedelta(days=days):%Y%m%dT%H%M%SZ}-{int(days * 16):08x}"


class Store:
    """A directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, content: Any) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())

    def backup(self, scope: str, days: float, *, beside: dict[str, Any] | None = None, **also: Any) -> str:
        system, engine, database = scope.split("/")
        backup_id, started_at = id_of(days), NOW - timedelta(days=days)
        raw = b"-- a dump\n" * 1000
        stored = zstandard.compress(raw)
        self.write(f"{scope}/{backup_id}/data.pgc.zst", stored)
        self.write(f"{scope}/{backup_id}/manifest.json", {
            "format": 1, "id": backup_id, "system": system, "engine": engine, "database": database, "label": "scheduled",
            "started_at": rfc3339(started_at), "finished_at": rfc3339(started_at + timedelta(seconds=41)),
            "consistent_at": rfc3339(started_at), "server_version": "15.18", "tool": "pg_dump 15.18",
            "artefacts": [{
                "name": "data.pgc.zst", "format": "pg_custom", "compression": "zstd", "encryption": None,
                "size": len(stored), "raw_size": len(raw), "sha256": hashlib.sha256(stored).hexdigest(),
                "raw_sha256": hashlib.sha256(raw).hexdigest(), "of_a_later_release": True,
            }],
            "observed": [], "source": {"runtime": "compose"}, "producer": {"collection": "by.hand", "version": "0"},
            **also,
        })  # fmt: skip
        for name, record in (beside or {}).items():
            self.write(f"{scope}/{backup_id}/{name}", record)
        return backup_id

    def tree(self) -> dict[str, str]:
        """Every path with what is in it and when it changed."""
        return {
            str(path.relative_to(self.root)): f"{path.stat().st_mtime_ns} "
            + (hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "")
            for path in sorted(self.root.rglob("*"))
        }

    def files(self) -> set[str]:
        return {path for path in self.tree() if (self.root / path).is_file()}


def verification(days: float, result: str) -> dict[str, Any]:
    return {
        "format": 1, "id": id_of(days), "verified_at": rfc3339(NOW), "result": result, "method": "restore",
        "restored_from": "local:/elsewhere", "restore_seconds": 8.9, "server_version": "15.18", "checks": [],
        "of_a_later_release": {"a": 1},
    }  # fmt: skip


def lease(expires_at: datetime, purpose: str = "write") -> dict[str, str]:
    return {"owner": "elsewhere:1", "purpose": purpose, "expires_at": rfc3339(expires_at)}


SCOPE = "lab/postgresql/shop"
STRANGERS = (
    "README", "lab/notes.txt", f"{SCOPE}/notes.txt", f"{SCOPE}/latest/manifest.json", f"{SCOPE}/{id_of(40)}/data.pgc.zst",
    f"{SCOPE}/20269999T000000Z-00000000/manifest.json", f"{SCOPE}/{id_of(41)}/old/manifest.json", "manifest.json",
    f"{SCOPE}/{id_of(42)}.bak/manifest.json",
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "by hand")
    for path in STRANGERS:
        made.write(path, b"not a backup's")
    made.backup(SCOPE, 0.5)
    made.backup(SCOPE, 1, label="manual", colour="green")
    made.backup(SCOPE, 2, beside={"hold.json": {"reason": "audit", "until": None, "by": "ann"}})
    made.backup(SCOPE, 3, beside={"verification.json": verification(3, "passed")})
    made.backup(SCOPE, 4, beside={"lease.json": lease(NOW - HOUR, "delete")})
    made.backup(SCOPE, 5, beside={"verification.json": verification(5, "failed")})
    made.backup(SCOPE, 6, beside={"hold.json": {"reason": "over", "until": rfc3339(NOW - HOUR), "by": "ann"}})
    made.backup(SCOPE, 50, label="pre_deploy")
    for days, expires_at in ((7, NOW - HOUR), (0.25, NOW + HOUR)):
        made.write(f"{SCOPE}/{id_of(days)}/lease.json", lease(expires_at))
        made.write(f"{SCOPE}/{id_of(days)}/data.pgc.zst", b"half of it")
    for scope in ("lab/postgresql/shop2", "lab/sqlite/shop", "laboratory/postgresql/shop"):
        made.backup(scope, 9)
    return made


KEPT, DELETED = {0.5, 1, 2, 3}, {4, 5, 6, 50}


def module(name: str, store: Store, *flags: str, fails: bool = False, **arguments: Any) -> dict[str, Any]:
    """What a module of ours returned, run by Ansible."""
    given = {"system": "lab", "stores": [{"type": "local", "path": str(store.root)}], **arguments}
    rules = {"policy": {"last": {"count": 2}}, "cache_dir": str(store.root.parent / "cache")}
    if name == "backup_retention":
        rules["max_delete"] = "100%"
    argv = ["ansible", *HERE, "localhost", "-m", f"runbook.ops.{name}", "-a", json.dumps({**rules, **given}), *flags]
    result = ended(*argv, cwd=ROOT, ANSIBLE_CALLBACK_RESULT_FORMAT="json")
    assert result.returncode == (2 if fails else 0), result.stdout
    returned: dict[str, Any] = json.loads(result.stdout[result.stdout.index("=> {") + 3 :])
    return returned


def test_it_is_listed(store: Store) -> None:
    before = store.tree()
    databases = [{"engine": "postgresql", "name": name} for name in ("shop", "shop2")]
    listed = module("backup_info", store, databases=databases, schedules={"backup": "0 2 * * *", "verify": "0 3 1 * *"})
    rows = {row["id"]: row for row in listed["backups"] if row["database"] == "shop"}
    assert list(rows) == [id_of(days) for days in sorted(KEPT | DELETED)]
    assert [row["id"] for row in listed["backups"] if row["database"] == "shop2"] == [id_of(9)]
    facts = {
        days: (rows[id_of(days)]["verified"], rows[id_of(days)]["held"], rows[id_of(days)]["label"])
        for days in KEPT | DELETED
    }
    assert facts == {
        0.5: (None, None, "scheduled"), 1: (None, None, "manual"), 2: (None, "audit", "scheduled"),
        3: ("passed", None, "scheduled"), 4: (None, None, "scheduled"), 5: ("failed", None, "scheduled"),
        6: (None, "over", "scheduled"), 50: (None, None, "pre_deploy"),
    }  # fmt: skip
    assert {days for days in KEPT | DELETED if rows[id_of(days)]["kept_by"]} == KEPT
    (shelf,) = listed["databases"][0]["stores"]
    assert (shelf["backups"], shelf["stale"], shelf["unreadable"], shelf["future"]) == (8, [id_of(7)], [], [])
    assert [found["id"] for found in shelf["in_progress"]] == [id_of(0.25)]
    assert listed["databases"][0]["newest"]["id"] == id_of(0.5)
    assert listed["changed"] is False
    assert store.tree() == before


def test_it_is_pruned(store: Store) -> None:
    before, files = store.tree(), store.files()
    predicted = module("backup_retention", store, "--check")
    assert store.tree() == before, "check mode writes nothing"
    pruned = module("backup_retention", store)
    assert (pruned["plan"], pruned["actions"], pruned["freed_bytes"] > 0) == (
        predicted["plan"],
        predicted["actions"],
        True,
    )

    plans = {f"{plan['system']}/{plan['engine']}/{plan['database']}": plan for plan in pruned["plan"]}
    assert sorted(plans) == [SCOPE, "lab/postgresql/shop2", "lab/sqlite/shop"]
    plan = plans[SCOPE]
    assert [kept["id"] for kept in plan["keep"]] == [id_of(days) for days in sorted(KEPT)]
    assert [gone["id"] for gone in plan["delete"]] == [id_of(days) for days in sorted(DELETED)]
    assert all(verdict["reasons"] for verdict in plan["keep"] + plan["delete"])
    assert plan["swept"] == [id_of(7)]
    assert all(plans[scope]["delete"] == [] for scope in plans if scope != SCOPE)

    doomed = tuple(f"{SCOPE}/{id_of(days)}/" for days in DELETED | {7})
    assert store.files() == {path for path in files if not path.startswith(doomed)}
    assert store.files() > set(STRANGERS)
    assert {path: state for path, state in store.tree().items() if path in store.files()}.items() <= before.items()

    again = module("backup_retention", store)
    assert (again["changed"], again["actions"], again["freed_bytes"]) == (False, [], 0)


def test_more_than_max_delete_is_planned_and_refused(store: Store) -> None:
    before = store.tree()
    predicted = module("backup_retention", store, "--check", fails=True, max_delete="3")
    assert store.tree() == before
    (said,) = predicted["errors"]
    assert predicted["msg"] == said
    assert "4 of 8 backups would be deleted, max_delete allows 3: read the plan" in said
    plan = next(plan for plan in predicted["plan"] if plan["refused"])
    assert [gone["id"] for gone in plan["delete"]] == [id_of(days) for days in sorted(DELETED)]
    assert [kept["id"] for kept in plan["keep"]] == [id_of(days) for days in sorted(KEPT)]
    assert (predicted["changed"], predicted["actions"], predicted["freed_bytes"]) == (False, [], 0)
    refused = module("backup_retention", store, fails=True, max_delete="3")
    assert (refused["plan"], refused["msg"], store.tree()) == (predicted["plan"], said, before)
