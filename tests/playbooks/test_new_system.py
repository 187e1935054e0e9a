# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A system is data: another one is an inventory directory, backed up, listed, pruned and verified without a line of code.

Its two databases are named so that one's name begins the other's, and its paths have spaces in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._catalog import Catalogue
from ansible_collections.runbook.ops.plugins.module_utils._records import Scope, utc_now
from ansible_collections.runbook.ops.plugins.module_utils._store.base import Store
from ansible_collections.runbook.ops.plugins.module_utils._store.declared import store_of
from support.playbook import Demo, Run, play, tree, write_inventory
from support.slots import DAILY

from lab.embedded import history

SHOP, ARCHIVE = Scope("acme", "postgresql", "shop"), Scope("acme", "postgresql", "shop_archive")
DAYS = 12


@dataclass(frozen=True)
class System:
    """The new system."""

    inventory: Path
    stores: list[Store]
    shelf: Path
    metrics: Path

    def play(self, playbook: str, *arguments: str) -> Run:
        run = play(playbook, *arguments, inventory=self.inventory)
        assert run.returncode == 0, run.failures()
        return run

    def ids(self, scope: Scope) -> list[set[str]]:
        """What each store holds of a database."""
        return [{backup.id for backup in Catalogue(store).scope(scope).backups} for store in self.stores]

    def give_a_past(self, scope: Scope) -> None:
        newest = Catalogue(self.stores[0]).scope(scope).backups[0]
        template = history.Template.read(self.stores[0], newest.manifest)
        for store in self.stores:
            history.build(store, scope, template, now=utc_now(), days=DAYS)


@pytest.fixture(scope="module")
def acme(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Two databases, a directory, two stores; described, and nothing else."""
    for name in (SHOP.database, ARCHIVE.database):
        demo.make_database(name)
    place = tmp_path_factory.mktemp("acme") / "a system with spaces"
    settings, work = place / "srv" / "shop settings", place / "a work directory"
    for directory in (settings, work):
        directory.mkdir(parents=True)
    for directory in (place.parent, place, work):
        directory.chmod(0o711)  # as root, throw-away servers run under another account
    (settings / "my settings.ini").write_text("[shop]\ncolour = blue\n")
    checks = [{"table": "projects", "rows": "source"}, {"role": "erni_user"}]
    local = {"type": "local", "path": str(place / "the backups")}
    s3 = {**demo.store("s3"), "prefix": "of acme/backups"}
    described: dict[str, Any] = {
        "runbook_system": "acme",
        "runbook_databases": [
            demo.postgresql(SHOP.database, checks=checks, rpo="24h", rto="1h", policy={"daily": {"within": "3d"}}),
            demo.postgresql(ARCHIVE.database, checks=checks),
            {"engine": "files", "name": "settings", "paths": [str(settings)], "plaintext": True},
        ],
        "runbook_stores": [local, s3],
        "runbook_schedules": {"backup": DAILY, "verify": DAILY},
        "runbook_policy": {"daily": {"within": "400d"}},
        "runbook_max_delete": "90%",
        "runbook_work_dir": str(work),
        "runbook_cache_dir": str(place / "cache"),
        "runbook_metrics_file": str(place / "acme metrics.prom"),
    }
    inventory = write_inventory(place / "an inventory", {"acme-host": described})
    stores = [store_of("stores", entry) for entry in (local, s3)]
    yield System(inventory, stores, place / "the backups", place / "acme metrics.prom")


def test_it_is_backed_up_listed_pruned_and_verified(acme: System) -> None:
    taken = acme.play("backup.yml")
    assert taken.kinds() == {"backup", "copy"} and len(taken.actions()) == 6
    told = acme.metrics.read_text()
    acme.metrics.write_text("what another host's run left behind\n")
    warnings = [text for _task, result in taken.results() for text in result.get("warnings", [])]
    assert any("the backups does not exist yet: the first backup creates it" in text for text in warnings)
    again = acme.play("backup.yml")
    assert again.counts()["changed"] == 0 and acme.metrics.read_text() == told
    assert "does not exist yet" not in str(list(again.results()))
    (left_alone,) = acme.play("backup.yml").named("Keep the metrics current")
    assert "skip_reason" in left_alone

    for scope in (SHOP, ARCHIVE):
        acme.give_a_past(scope)
    table = acme.play("list_backups.yml").summary()
    assert [line.partition(":")[0] for line in table.splitlines() if line[:1].isalpha()] == [
        "postgresql/shop", "postgresql/shop_archive", "files/settings",
    ]  # fmt: skip

    before, archived = acme.ids(SHOP), (acme.ids(ARCHIVE), tree(acme.shelf / ARCHIVE.path))
    pruned = acme.play("prune_backups.yml")
    objects = [action["object"] for _task, result in pruned.results() for action in result.get("actions", [])]
    assert objects and all(found.startswith(f"{SHOP.path}/") for found in objects)
    assert [len(ids) for ids in before] == [DAYS + 1] * 2 and all(2 <= len(ids) <= 4 for ids in acme.ids(SHOP))
    assert (acme.ids(ARCHIVE), tree(acme.shelf / ARCHIVE.path)) == archived
    assert acme.play("prune_backups.yml").counts()["changed"] == 0

    verified = acme.play("verify_backups.yml").named("newest backup into a scratch place")
    assert [result["verification"]["result"] for result in verified] == ["passed"] * 3
    assert [len(result["verification"]["checks"]) for result in verified] == [2, 2, 0]
    metrics = acme.metrics.read_text()
    assert all(f'runbook_backup_verified{{system="acme",engine="postgresql",database="{name}"}} 1' in metrics
               for name in (SHOP.database, ARCHIVE.database))  # fmt: skip
