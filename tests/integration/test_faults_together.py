# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two copies, verifications and prunes at once: the second is told or does the same work, and nothing good is harmed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import Busy
from ansible_collections.runbook.ops.plugins.module_utils._protect.copy import CopyJob
from ansible_collections.runbook.ops.plugins.module_utils._protect.publication import publishing
from ansible_collections.runbook.ops.plugins.module_utils._protect.verification import Outcome
from ansible_collections.runbook.ops.plugins.module_utils._records import utc_now
from ansible_collections.runbook.ops.plugins.module_utils._store.base import Store
from ansible_collections.runbook.ops.plugins.module_utils._store.local import LocalStore
from support.fault_report import Fault
from support.procedures import Protected, failed, leftovers, policy, prune, sqlite, whole

T = TypeVar("T")


class Pausing(LocalStore):
    """Stops before its first call of one operation until it may go on."""

    def __init__(self, path: str, operation: str) -> None:
        super().__init__(path)
        self.reached, self.may_go_on = threading.Event(), threading.Event()
        setattr(self, operation, self._paused(getattr(self, operation)))

    def _paused(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        def paused(*arguments: Any, **named: Any) -> Any:
            self.reached.set()
            assert self.may_go_on.wait(60)
            return operation(*arguments, **named)

        return paused


@contextmanager
def standing(store: Pausing, procedure: Callable[[], T]) -> Iterator[Future[T]]:
    """A procedure that stands in the middle of its work, and goes on at the end."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(procedure)
        try:
            assert store.reached.wait(60)
            yield running
        finally:
            store.may_go_on.set()


@pytest.fixture
def protected(tmp_path: Path) -> Protected:
    return sqlite(tmp_path)


@pytest.fixture
def elsewhere(protected: Protected, tmp_path: Path) -> Protected:
    """The same database, protected from another host: the locks of one are not seen from the other."""
    (tmp_path / "elsewhere").mkdir()
    return replace(protected, work_dir=str(tmp_path / "elsewhere"))


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "store"))


@pytest.fixture
def away(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "away"))


def running_here(job: str, protected: Protected) -> str:
    """What the second is told, to the letter."""
    return (
        f"Another {job} of {protected.scope} is running on this host (process {os.getpid()}): "
        "let it finish, nothing was touched."
    )


def test_two_copies_at_once(
    protected: Protected, elsewhere: Protected, store: LocalStore, away: LocalStore, fault: Fault
) -> None:
    good = {protected.take(store).id}
    paused = Pausing(away.root, "upload")
    with standing(paused, lambda: protected.copy(store, paused)) as first:
        said = failed(Busy, lambda: protected.copy(store, away))
        assert said == running_here("copy", protected)
        assert whole(protected, away) == set()
        assert elsewhere.copy(store, away) == []  # the first has yet to show that it is there
        assert whole(protected, away) == good
    assert first.result() == []
    assert whole(protected, store) == whole(protected, away) == good
    assert leftovers(store) == leftovers(away) == []
    fault("two copies at once, one host", said, "one copy, whole; source untouched")
    fault("two copies at once, two hosts", "both write the same bytes", "one copy, whole; source untouched")


def verify(protected: Protected, *stores: Store) -> Outcome:
    job = protected.verification(*stores)
    target, _actions = job.plan(utc_now(), remember=False)
    assert target
    return job.run(target)


def test_two_verifications_at_once(protected: Protected, elsewhere: Protected, store: LocalStore, fault: Fault) -> None:
    good = {protected.take(store).id}
    paused = Pausing(store.root, "read")
    with standing(paused, lambda: verify(protected, paused)) as first:
        said = failed(Busy, lambda: verify(protected, store))
        assert said == running_here("verification", protected)
        assert protected.listing(store).backups[0].verification is None
        assert verify(elsewhere, store).recorded == {store.label: "passed"}
    assert first.result().recorded == {store.label: "passed"}
    (backup,) = protected.listing(store).backups
    assert backup.passed
    assert (whole(protected, store), leftovers(store)) == (good, [])
    for place in (protected, elsewhere):
        assert [name for name in os.listdir(place.work_dir) if not name.startswith(".")] == []
    fault("two verifications at once, one host", said, "backup whole, one verdict, no scratch left")
    fault("two verifications at once, two hosts", "both pass", "backup whole, one verdict, no scratch left")


@pytest.mark.parametrize("operation", ["put", "delete"])
def test_two_prunes_at_once(protected: Protected, store: LocalStore, operation: str, fault: Fault) -> None:
    """The second does all of the work while the first stands before it marks, or before it deletes, what must go."""
    kept, *_others = (protected.forged(store, timedelta(days=days)).id for days in range(6))
    paused = Pausing(store.root, operation)
    with standing(paused, lambda: prune(paused, count=1)) as first:
        (pruned,) = prune(store, count=1)
        assert (pruned.errors, whole(protected, store)) == ([], {kept})
    (late,) = first.result()
    assert late.errors == []
    assert (whole(protected, store), leftovers(store)) == ({kept}, [])
    (again,) = prune(store, count=1)
    assert again.actions() == []
    fault(
        f"two prunes at once (the first before its {operation})", "both end without an error", "what is kept is whole"
    )


def test_a_copy_that_was_planned_before_another_made_it(protected: Protected, tmp_path: Path, fault: Fault) -> None:
    source, destination = LocalStore(str(tmp_path / "near")), LocalStore(str(tmp_path / "far"))
    made = protected.take(source)
    late = CopyJob(
        protected.scope, [source, destination], [policy()] * 2, [None] * 2, None, [], protected.work_dir, protected.work_dir
    )  # fmt: skip
    plans = late.plan(utc_now(), remember=False)
    assert protected.copy(source, destination) == []
    assert late.apply(plans) == (0, []) and whole(protected, destination) == {made.id}
    fault("a copy planned before another run made it", "it is skipped", "the copy stays whole")


def test_withdrawing_leaves_a_backup_that_somebody_published(protected: Protected, tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path / "near"))
    made = protected.take(store)
    with pytest.raises(Busy), publishing(store, made.path):
        raise Busy("stop")
    assert whole(protected, store) == {made.id}
