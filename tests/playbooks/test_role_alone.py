# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each role in a stranger's play: its own inputs alone describe the system, and no ``runbook_*`` variable is there."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.runbook.ops.plugins.module_utils._catalog import Catalogue
from ansible_collections.runbook.ops.plugins.module_utils._records import Scope, utc_now
from ansible_collections.runbook.ops.plugins.module_utils._store.local import LocalStore
from support.playbook import Run, play, tree, write_inventory
from support.slots import DAILY

from lab.embedded import history

APPLES, PEARS = Scope("orchard", "sqlite", "apples"), Scope("orchard", "sqlite", "pears")
DAYS = 6


@dataclass(frozen=True)
class Stranger:
    """Two small databases in a directory, an inventory without a variable, and plays that use one role each."""

    place: Path

    @property
    def shelf(self) -> Path:
        return self.place / "the cellar"

    @property
    def store(self) -> LocalStore:
        return LocalStore(str(self.shelf))

    def inputs(self, role: str) -> dict[str, Any]:
        """What a role needs to know, under its own names."""
        given: dict[str, Any] = {
            "system": APPLES.system,
            "databases": [
                {"engine": "sqlite", "name": scope.database, "path": str(self.place / f"{scope.database}.db"),
                 "checks": [{"table": "harvest", "rows": "source"}]}
                for scope in (APPLES, PEARS)
            ],
            "stores": [{"type": "local", "path": str(self.shelf)}],
            "policy": {"last": {"count": 2}},
            "cache_dir": str(self.place / "cache"),
        }  # fmt: skip
        if role in ("backup", "backup_verify"):
            given |= {"schedules": {"backup": DAILY, "verify": DAILY}, "work_dir": str(self.place / "work")}
        if role == "backup_prune":
            given |= {"max_delete": "100%"}
        return {f"{role}_{name}": value for name, value in given.items()}

    def play(self, role: str, *arguments: str, **inputs: Any) -> Run:
        roles = [{"role": f"runbook.ops.{role}", "vars": {**self.inputs(role), **inputs}}]
        playbook = self.place / f"{role}.yml"
        playbook.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "roles": roles}]))
        assert "runbook_" not in playbook.read_text()
        run = play(playbook, *arguments, inventory=write_inventory(self.place / "inventory", {"barn": {}}))
        assert run.returncode == 0, run.failures()
        return run

    def ids(self, scope: Scope) -> set[str]:
        return {backup.id for backup in Catalogue(self.store).scope(scope).backups}

    def objects(self, run: Run) -> list[str]:
        """What a run changed, or would."""
        return [action["object"] for _task, result in run.results() for action in result.get("actions", [])]


def orchard(place: Path) -> Stranger:
    (place / "work").mkdir()
    for scope in (APPLES, PEARS):
        with closing(sqlite3.connect(place / f"{scope.database}.db")) as connection, connection:
            connection.execute("CREATE TABLE harvest (year INTEGER, crates INTEGER)")
            connection.execute("INSERT INTO harvest VALUES (2024, 40), (2025, 55)")
    return Stranger(place)


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stranger, Run]:
    """A stranger whose first run of the role ``backup`` has ended."""
    stranger = orchard(tmp_path_factory.mktemp("orchard"))
    return stranger, stranger.play("backup")


@pytest.fixture
def stranger(backed_up: tuple[Stranger, Run], tmp_path: Path) -> Stranger:
    """The same with a past, in a place of this test's own."""
    made = orchard(tmp_path)
    source = backed_up[0].store
    for scope in (APPLES, PEARS):
        template = history.Template.read(source, Catalogue(source).scope(scope).backups[0].manifest)
        history.build(made.store, scope, template, now=utc_now(), days=DAYS)
    return made


def test_backup(backed_up: tuple[Stranger, Run]) -> None:
    stranger, first = backed_up
    assert first.counts()["changed"] > 0 and first.kinds() == {"backup"} and len(first.actions()) == 2
    assert [len(stranger.ids(scope)) for scope in (APPLES, PEARS)] == [1, 1]
    before = tree(stranger.shelf)
    second = stranger.play("backup")
    assert (second.counts()["changed"], second.actions(), tree(stranger.shelf)) == (0, [], before)


def test_backup_list(stranger: Stranger) -> None:
    before = tree(stranger.shelf)
    run = stranger.play("backup_list")
    assert [line.partition(":")[0] for line in run.summary().splitlines() if line[:1].isalpha()] == [
        "sqlite/apples", "sqlite/pears",
    ]  # fmt: skip
    assert all(found in run.summary() for scope in (APPLES, PEARS) for found in stranger.ids(scope))
    assert (run.counts()["changed"], tree(stranger.shelf)) == (0, before)


def test_status(stranger: Stranger) -> None:
    before = tree(stranger.shelf)
    run = stranger.play("status")
    (screen,) = run.named("| screen")
    assert screen["msg"].startswith("orchard is GREEN") and "sqlite/pears" in screen["msg"]
    assert (run.counts()["changed"], tree(stranger.shelf)) == (0, before)


def test_backup_verify(stranger: Stranger) -> None:
    run = stranger.play("backup_verify")
    verified = [result["verification"] for result in run.named("newest backup into a scratch place")]
    assert [(verdict["result"], verdict["method"]) for verdict in verified] == [("passed", "restore")] * 2
    assert [check["observed"] for verdict in verified for check in verdict["checks"]] == [2, 2]
    assert [verdict["id"] for verdict in verified] == [max(stranger.ids(scope)) for scope in (APPLES, PEARS)]
    assert list((stranger.place / "work").glob("runbook-*/")) == []
    assert run.counts()["changed"] > 0 and stranger.play("backup_verify").counts()["changed"] == 0


def test_backup_prune(stranger: Stranger) -> None:
    before = [stranger.ids(scope) for scope in (APPLES, PEARS)]
    run = stranger.play("backup_prune")
    assert run.kinds() == {"delete"} and len(run.actions()) == 2 * (DAYS - 2)
    assert [stranger.ids(scope) for scope in (APPLES, PEARS)] == [set(sorted(ids)[-2:]) for ids in before]
    assert stranger.play("backup_prune").counts()["changed"] == 0


def test_a_database_that_is_skipped_is_left_alone(stranger: Stranger) -> None:
    before, theirs = stranger.ids(APPLES), tree(stranger.shelf / PEARS.path)
    predicted = stranger.play("backup_prune", "--check", backup_prune_skip=["sqlite/pears"])
    run = stranger.play("backup_prune", backup_prune_skip=["sqlite/pears"])
    assert predicted.actions() == run.actions()
    assert len(stranger.objects(run)) == DAYS - 2
    assert all(found.startswith(f"{APPLES.path}/") for found in stranger.objects(run))
    assert "sqlite/pears: left alone, as asked" in run.summary()
    assert tree(stranger.shelf / PEARS.path) == theirs
    assert stranger.ids(APPLES) == set(sorted(before)[-2:])
