# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL at every change that a procedure makes to a store: whole backups or none, and the next run heals."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils import _publication
from ansible_collections.runbook.ops.plugins.module_utils._store import _s3_upload
from ansible_collections.runbook.ops.plugins.module_utils._store.base import Store
from ansible_collections.runbook.ops.plugins.module_utils._store.declared import store_of
from contract.subjects.postgresql import postgresql_subject
from support.fault_report import Fault
from support.killing import Killing
from support.procedures import Protected, leftovers, new_bucket, prune, sqlite, tomorrow, whole
from support.processes import in_child

MANY = 200
"""More changes than any procedure here makes."""


@pytest.fixture(params=["local", "s3"])
def declared(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    if request.param == "local":
        return {"type": "local", "path": str(tmp_path / "store")}
    return new_bucket(request.getfixturevalue("s3"))


@pytest.fixture(params=["sqlite", "postgresql"])
def protected(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Protected]:
    if request.param == "sqlite":
        yield sqlite(tmp_path)
        return
    server = request.getfixturevalue("postgres")
    with postgresql_subject(server, f"shop_{secrets.token_hex(4)}", "CREATE TABLE orders (id int)") as made:
        (tmp_path / "work").mkdir()
        yield Protected(made.declaration(), str(tmp_path / "work"))


def killed_at(change: int, procedure: Callable[[Killing], object], declared: dict[str, Any]) -> bool:
    """Whether the procedure, in a process of its own, came to that change, and died of it."""

    def run() -> None:
        _publication.LEASE_TIME = timedelta(0)  # the hour that others must wait has passed
        procedure(Killing(store_of("store", declared), change))

    code = in_child(run)
    assert code in (0, -signal.SIGKILL)
    return code != 0


def test_a_backup(protected: Protected, declared: dict[str, Any], fault: Fault) -> None:
    store = store_of("store", declared)
    good = {protected.take(store).id}
    for change in range(1, MANY):
        if not killed_at(change, protected.take, declared):
            break
        found = whole(protected, store)
        assert found >= good
        assert len(found) <= len(good) + 1
        tomorrow(store)
        good = found | {protected.take(store).id}
        assert whole(protected, store) == good
        assert leftovers(store) == []
    else:
        pytest.fail("the backup never ended")
    fault(
        f"SIGKILL at each of {change - 1} store changes of a backup ({protected.scope.engine} -> {store.type})",
        "catalogue shows the whole backup or none",
        "all earlier backups whole; next run clean",
    )


def test_a_copy(declared: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    monkeypatch.setattr(_s3_upload, "SMALLEST_PART", 5 << 20)  # three parts
    protected = sqlite(tmp_path, megabytes=11)
    source = store_of("store", {"type": "local", "path": str(tmp_path / "source")})
    good = {protected.take(source).id, protected.take(source).id}
    for change in range(1, MANY):
        destination = store_of(
            "store", {**declared, "prefix" if declared["type"] == "s3" else "path": f"{tmp_path}/{change}"}
        )
        place = {
            **declared,
            **({"prefix": f"{change}"} if declared["type"] == "s3" else {"path": f"{tmp_path}/{change}"}),
        }
        destination = store_of("store", place)
        if not killed_at(change, lambda killing: protected.copy(source, killing), place):
            break
        assert whole(protected, destination) <= good
        tomorrow(destination)
        assert protected.copy(source, destination) == []
        assert (whole(protected, destination), whole(protected, source)) == (good, good)
        assert leftovers(destination) == []
    else:
        pytest.fail("the copy never ended")
    fault(
        f"SIGKILL at each of {change - 1} store changes of two copies (local -> {destination.type})",
        "each copy is whole or not there",
        "source untouched; next run completes both",
    )


def test_a_prune(declared: dict[str, Any], tmp_path: Path, fault: Fault) -> None:
    protected = sqlite(tmp_path)
    for change in range(1, MANY):
        place = {
            **declared,
            **({"prefix": f"{change}"} if declared["type"] == "s3" else {"path": f"{tmp_path}/{change}"}),
        }
        store = store_of("store", place)
        kept = {protected.forged(store, timedelta(days=days)).id for days in (1, 2)}
        doomed = {protected.forged(store, timedelta(days=days)).id for days in (3, 4)}
        left = f"{protected.scope.path}/20200101T000000Z-00000000"
        store.put(f"{left}/lease.json", b'{"owner": "x", "purpose": "write", "expires_at": "2020-01-01T01:00:00Z"}')
        store.put(f"{left}/data.sqlite.zst", b"half")
        if not killed_at(change, prune, place):
            break
        found = whole(protected, store)
        assert kept <= found <= kept | doomed
        tomorrow(store)
        (pruned,) = prune(store)
        assert pruned.errors == []
        assert whole(protected, store) == kept
        assert leftovers(store) == []
    else:
        pytest.fail("the prune never ended")
    fault(
        f"SIGKILL at each of {change - 1} store changes of a prune ({store.type})",
        "what is to go is whole or gone",
        "what is kept is whole; next prune ends the work",
    )
