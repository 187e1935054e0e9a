# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL at every change that a procedure makes to a store: whole backups or none, and the next run heals."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import Busy, Damaged
from ansible_collections.runbook.ops.plugins.module_utils._protect import publication as _publication
from ansible_collections.runbook.ops.plugins.module_utils._records import utc_now
from ansible_collections.runbook.ops.plugins.module_utils._store import _s3_upload
from ansible_collections.runbook.ops.plugins.module_utils._store.base import Store
from ansible_collections.runbook.ops.plugins.module_utils._store.declared import store_of
from ansible_collections.runbook.ops.plugins.module_utils._store.s3 import S3Store
from support.fault_report import Fault
from support.killing import Killing
from support.procedures import Protected, damage, leftovers, new_bucket, postgresql, prune, sqlite, tomorrow, whole
from support.processes import in_child, until

from lab.embedded.servers import PostgresServer

MANY = 200
"""More changes than any procedure here makes."""

EXPIRED = b'{"owner": "x", "purpose": "write", "expires_at": "2020-01-01T01:00:00Z"}'


class Place:
    """A store, once for this process and once for those that are killed: no connection is shared."""

    def __init__(self, declared: dict[str, Any]) -> None:
        self.store, self._other = store_of("store", declared), store_of("store", declared)
        if isinstance(self._other, S3Store):
            _ = self._other.bucket.client  # made once; it connects when it is used

    def killed_at(self, change: int, procedure: Callable[[Store], object]) -> bool:
        """Whether the procedure, in a process of its own, came to that change, and died of it."""

        def run() -> None:
            _publication.LEASE_TIME = timedelta(0)  # the hour that others must wait has passed
            procedure(Killing(self._other, change))

        code = in_child(run)
        assert code in (0, -signal.SIGKILL)
        return code != 0

    def keep(self, protected: Protected, ids: set[str]) -> None:
        """Take away every backup but these."""
        keys = (entry.key for entry in self.store.entries(f"{protected.scope.path}/"))
        self.store.delete([key for key in keys if not any(f"/{kept}/" in key for kept in ids)])

    def empty(self) -> None:
        self.store.delete([entry.key for entry in self.store.entries("")])


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "local":
        return Place({"type": "local", "path": str(tmp_path / "store")})
    return Place(new_bucket(request.getfixturevalue("s3")))


def kill_backups(protected: Protected, place: Place, fault: Fault) -> None:
    good = {protected.take(place.store).id}
    for change in range(1, MANY):
        if not place.killed_at(change, protected.take):
            break
        found = whole(protected, place.store)
        assert found >= good
        assert len(found) <= len(good) + 1
        tomorrow(place.store)
        until(lambda: not busy(protected, place.store))
        good = whole(protected, place.store)
        assert good > found
        assert leftovers(place.store) == []
        good = {max(good)}  # the others have been proved, too often with every change
        place.keep(protected, good)
    else:
        pytest.fail("the backup never ended")
    fault(
        f"SIGKILL at each of {change - 1} store changes of a backup ({protected.scope.engine} -> {place.store.type})",
        "the catalogue shows the whole new backup or none",
        "earlier backups whole; the next run works and leaves only backups",
    )


def busy(protected: Protected, store: Store) -> bool:
    """Take a backup, unless PostgreSQL has yet to notice that the client with its lock was killed."""
    try:
        protected.take(store)
    except Busy:
        return True
    return False


def test_a_backup(place: Place, tmp_path: Path, fault: Fault) -> None:
    kill_backups(sqlite(tmp_path), place, fault)


def test_a_backup_from_a_server(postgres: PostgresServer, tmp_path: Path, fault: Fault) -> None:
    with postgresql(postgres, tmp_path, "CREATE TABLE orders (id int)") as protected:
        kill_backups(protected, Place({"type": "local", "path": str(tmp_path / "store")}), fault)


def test_a_copy(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    monkeypatch.setattr(_s3_upload, "SMALLEST_PART", 5 << 20)  # two parts
    large = sqlite(tmp_path, megabytes=6)
    source = store_of("store", {"type": "local", "path": str(tmp_path / "source")})
    good = {large.take(source).id, large.forged(source, timedelta(days=1)).id}
    for change in range(1, MANY):
        if not place.killed_at(change, lambda killing: large.copy(source, killing)):
            break
        assert whole(large, place.store) <= good
        tomorrow(place.store)
        assert large.copy(source, place.store) == []
        assert (whole(large, place.store), whole(large, source)) == (good, good)
        assert prune(place.store, count=MANY)[0].errors == []
        assert leftovers(place.store) == []
        place.empty()
    else:
        pytest.fail("the copy never ended")
    fault(
        f"SIGKILL at each of {change - 1} store changes of two copies (local -> {place.store.type})",
        "each copy is whole or not there",
        "source untouched; the next run completes both and leaves only backups",
    )


def test_a_prune(place: Place, tmp_path: Path, fault: Fault) -> None:
    protected = sqlite(tmp_path)
    for change in range(1, MANY):
        kept, *doomed = (protected.forged(place.store, timedelta(days=days)).id for days in (1, 2, 3))
        left = f"{protected.scope.path}/20200101T000000Z-00000000"
        place.store.put(f"{left}/lease.json", EXPIRED)
        place.store.put(f"{left}/data.sqlite.zst", b"half")
        if not place.killed_at(change, lambda killing: prune(killing, count=1)):
            break
        assert {kept} <= whole(protected, place.store) <= {kept, *doomed}
        tomorrow(place.store)
        (pruned,) = prune(place.store, count=1)
        assert pruned.errors == []
        assert whole(protected, place.store) == {kept}
        assert leftovers(place.store) == []
        place.empty()
    else:
        pytest.fail("the prune never ended")
    fault(
        f"SIGKILL at each of {change - 1} store changes of a prune ({place.store.type})",
        "what is to go is whole or gone",
        "what is kept is whole; the next prune ends the work",
    )


def test_a_verification(place: Place, tmp_path: Path, fault: Fault) -> None:
    protected = sqlite(tmp_path)
    good = protected.take(place.store).id
    for change in range(1, MANY):
        if not place.killed_at(change, verify := lambda store: verified(protected, store)):
            break
        assert whole(protected, place.store) == {good}
        tomorrow(place.store)
        assert verify(place.store)
        assert whole(protected, place.store) == {good}
        prune(place.store)
        assert leftovers(place.store) == []
        assert not [name for name in os.listdir(protected.work_dir) if name.startswith("runbook-")]
        place.store.delete([f"{protected.scope.path}/{good}/verification.json"])
    else:
        pytest.fail("the verification never ended")
    fault(
        f"SIGKILL at each of {change - 1} store changes of a verification ({place.store.type})",
        "the record is whole or not there",
        "the backup is whole; the next verification records; scratch swept",
    )


def verified(protected: Protected, store: Store) -> bool:
    job = protected.verification(store)
    target, _actions = job.plan(utc_now(), remember=False)
    assert target
    return job.run(target).verification.passed


def test_the_checks_see_what_they_look_for(tmp_path: Path) -> None:
    """Each leftover that a wrong order of changes would cause, made by hand."""
    protected, place = sqlite(tmp_path), Place({"type": "local", "path": str(tmp_path / "store")})
    manifest = protected.take(place.store)
    data = f"{manifest.path}/{manifest.artefacts[0].name}"
    for stray in ("lease-only/lease.json", f"{manifest.id}/x.0123abcd.partial", "nothing/data.sqlite.zst"):
        path = tmp_path / "store" / protected.scope.path / stray
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(EXPIRED)
        assert [found.rpartition("/")[2] for found in leftovers(place.store)] == [path.name]
        path.unlink()
        if path.parent.name != manifest.id:
            path.parent.rmdir()
    damage(place.store, data, "truncated")
    with pytest.raises(Damaged):
        whole(protected, place.store)
    place.store.delete([data])
    with pytest.raises(Damaged):
        whole(protected, place.store)
