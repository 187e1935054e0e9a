# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups are copied, which are due, and which is verified: the pure decisions between stores."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._catalog import ScopeListing, StoredBackup
from ansible_collections.runbook.ops.plugins.module_utils._policy import parse_policy
from ansible_collections.runbook.ops.plugins.module_utils._protect.backup import backup_due
from ansible_collections.runbook.ops.plugins.module_utils._protect.copy import wanted_copies
from ansible_collections.runbook.ops.plugins.module_utils._protect.verification import (
    choose_target,
    rto_met,
    verification_due,
)
from ansible_collections.runbook.ops.plugins.module_utils._records import Manifest, Scope, Verification

SCOPE = Scope("erni", "postgresql", "erni_agents")
NOW = datetime(2026, 3, 10, 3, tzinfo=timezone.utc)
POLICY = parse_policy({"daily": {"within": "3d"}}, keep_last_good=1, keep_labelled="30d", max_delete="50%")
DAILY = "0 2 * * *"


class Shelf:
    """A store's label is all these decisions look at."""

    def __init__(self, label: str) -> None:
        self.label = label


def stored(
    days_ago: int, *, passed: bool | None = None, label: str = "scheduled", storage_class: str | None = None
) -> StoredBackup:
    moment = NOW - timedelta(days=days_ago, hours=1)
    identity = f"{moment:%Y%m%dT%H%M%SZ}-00000000"
    manifest = Manifest(identity, SCOPE, label, moment, moment, moment, "15", "pg_dump 15", ())
    verification = (
        None if passed is None else Verification(identity, moment + timedelta(hours=1), passed, "restore", "x")
    )
    return StoredBackup(manifest, (), 1, storage_class, verification)


def listing(*backups: StoredBackup) -> ScopeListing:
    return ScopeListing(SCOPE, list(backups))


def ids(manifests: list[Manifest]) -> list[int]:
    return [(NOW - manifest.started_at).days for manifest in manifests]


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [
        ((), (), []),
        ((0, 1), (), [1, 0]),
        ((0, 1), (0, 1), []),
        ((0, 1, 2, 5, 9), (), [2, 1, 0]),  # the policy would delete 5 and 9 again at once
        ((1,), (0,), [1]),
    ],
)
def test_what_is_copied(source: tuple, destination: tuple, expected: list[int]) -> None:
    wanted = wanted_copies(listing(*map(stored, source)), listing(*map(stored, destination)), POLICY, None, NOW)
    assert ids(wanted) == expected


def test_a_failed_backup_is_not_copied() -> None:
    assert wanted_copies(listing(stored(0, passed=False)), listing(), POLICY, None, NOW) == []


def test_a_copy_waits_for_its_slot() -> None:
    source = listing(stored(0), stored(1))  # taken at 02:00
    assert ids(wanted_copies(source, listing(), POLICY, "0 4 * * *", NOW)) == [1]
    assert ids(wanted_copies(source, listing(), POLICY, "0 4 * * *", NOW + timedelta(hours=1))) == [1, 0]


def test_check_mode_predicts_the_copy_of_what_would_be_taken() -> None:
    would_be = replace(stored(0).manifest, id="20260310T030000Z-ffffffff", started_at=NOW, finished_at=NOW)
    wanted = wanted_copies(listing(stored(1)), listing(stored(1)), POLICY, None, NOW, [would_be])
    assert [manifest.id for manifest in wanted] == [would_be.id]
    assert wanted_copies(listing(stored(1)), listing(stored(1)), POLICY, None, NOW, [stored(1).manifest]) == []


@pytest.mark.parametrize(
    ("backups", "due"),
    [
        ((), "there is no good backup yet"),
        ((stored(0),), None),
        ((stored(1),), "the slot of 2026-03-10T02:00:00Z has no backup yet"),
        ((stored(0, passed=False), stored(1)), "the slot of 2026-03-10T02:00:00Z has no backup yet"),
        ((stored(0, label="pre_restore"), stored(1)), "the slot of 2026-03-10T02:00:00Z has no backup yet"),
        ((stored(0, label="manual"),), None),
        ((stored(-3), stored(1)), "the slot of 2026-03-10T02:00:00Z has no backup yet"),  # a clock was stepped back
    ],
)
def test_due_backups(backups: tuple, due: str | None) -> None:
    assert backup_due(listing(*backups), DAILY, NOW) == due


@pytest.mark.parametrize(
    ("backups", "due"),
    [
        ((stored(0),), "no backup was verified yet"),
        ((stored(0, passed=True),), None),
        ((stored(0), stored(5, passed=True)), None),
        ((stored(0), stored(12, passed=True)), "the slot of 2026-03-01T04:00:00Z has no passed verification yet"),
        ((stored(0, passed=False),), "no backup was verified yet"),
    ],
)
def test_due_verifications(backups: tuple, due: str | None) -> None:
    assert verification_due([listing(*backups)], "0 4 1 * *", NOW) == due


def target(wanted: str | None, *copies: tuple[str, ScopeListing]) -> Any:
    chosen = choose_target([(Shelf(label), found) for label, found in copies], wanted, NOW)  # type: ignore[misc]
    return chosen and ((NOW - chosen.manifest.started_at).days, [store.label for store in chosen.stores])


def test_the_newest_good_readable_backup_is_verified_from_the_first_store_that_has_it() -> None:
    local, remote = listing(stored(0, passed=False), stored(1)), listing(stored(1), stored(2))
    assert target(None, ("a", local), ("b", remote)) == (1, ["a", "b"])
    assert target(None, ("b", remote), ("a", local)) == (1, ["b", "a"])
    assert target(stored(0).id, ("a", local), ("b", remote)) == (0, ["a"])  # asked for by id, failed or not
    assert target("20200101T000000Z-00000000", ("a", local)) is None


def test_what_is_archived_cannot_be_verified() -> None:
    assert target(None, ("a", listing(stored(0, storage_class="GLACIER")))) is None
    assert target(None, ("a", listing(stored(0, storage_class="GLACIER"), stored(4)))) == (4, ["a"])


@pytest.mark.parametrize(
    ("restore_seconds", "rto", "met"),
    [
        (59.9, timedelta(minutes=1), True),
        (60.0, timedelta(minutes=1), True),
        (60.1, timedelta(minutes=1), False),
        (60.0, None, None),
        (None, timedelta(minutes=1), None),  # encrypted, and no key on this host: its digest was confirmed
        (None, None, None),
    ],
)
def test_the_recovery_time_objective(restore_seconds: float | None, rto: timedelta | None, met: bool | None) -> None:
    method = "checksum" if restore_seconds is None else "restore"
    assert rto_met(Verification("x", NOW, True, method, "local:/backups", restore_seconds), rto) is met
