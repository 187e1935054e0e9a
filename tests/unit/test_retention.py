# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The retention plan against the vectors of docs/backup_format.md, tables of edges, and properties."""

from __future__ import annotations

import random
import time
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._policy import Policy, parse_policy
from ansible_collections.runbook.ops.plugins.module_utils._records import Hold
from ansible_collections.runbook.ops.plugins.module_utils._retention import Backup, Plan, plan
from hypothesis import given, settings
from hypothesis import strategies as st

UTC = timezone.utc
WINDOWS = {"daily": {"within": "30d"}, "weekly": {"within": "90d"}, "monthly": {"within": "365d"}}
COUNTS = {"daily": {"count": 30}, "weekly": {"count": 13}, "monthly": {"count": 12}}
ARCHIVING = {
    "daily": {"within": "30d"},
    "weekly": {"within": "90d", "storage_class": "GLACIER"},
    "monthly": {"within": "365d", "select": "oldest", "storage_class": "DEEP_ARCHIVE"},
}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def policy(rules: dict, keep_last_good: int = 1, keep_labelled: str = "30d", max_delete: str = "100%") -> Policy:
    return parse_policy(rules, keep_last_good=keep_last_good, keep_labelled=keep_labelled, max_delete=max_delete)


def backup(text: str | datetime, **values: object) -> Backup:
    moment = at(text) if isinstance(text, str) else text
    return Backup(f"{moment:%Y%m%dT%H%M%SZ}-{values.pop('suffix', '00000000')}", moment, **values)


def daily(first: str, last: str, **values: object) -> list[Backup]:
    start, end = at(first), at(last)
    return [backup(start + timedelta(days=day), **values) for day in range((end - start).days + 1)]


def kept(result: Plan) -> list[str]:
    return [f"{verdict.backup.started_at:%Y-%m-%d}" for verdict in result.keep]


YEAR = daily("2025-01-01T02:00", "2026-03-01T02:00")
NOW = at("2026-03-01T03:00")


def test_vector_windows() -> None:
    days = kept(plan(YEAR, policy(WINDOWS), NOW))
    assert len(YEAR) == 425 and len(days) == 48
    assert days[0] == "2026-03-01" and days[29] == "2026-01-31"
    sundays = [f"{at('2026-01-25T00:00') - timedelta(weeks=week):%Y-%m-%d}" for week in range(8)]
    month_ends = [
        "2025-12-31", "2025-11-30", "2025-10-31", "2025-09-30", "2025-08-31",
        "2025-07-31", "2025-06-30", "2025-05-31", "2025-04-30", "2025-03-31",
    ]  # fmt: skip
    assert days[30:] == sorted(sundays + month_ends, reverse=True)


def test_vector_counts() -> None:
    assert len(kept(plan(YEAR, policy(COUNTS), NOW))) == 47


def test_vector_stalled_job() -> None:
    assert len(kept(plan(daily("2024-01-01T02:00", "2024-02-01T02:00"), policy(WINDOWS), NOW))) == 30


def test_reasons_in_the_order_of_the_rules() -> None:
    newest = plan(YEAR, policy(WINDOWS), NOW).keep[0]
    assert newest.reasons == ["daily 2026-03-01", "weekly 2026-W09", "monthly 2026-03", "newest", "last good"]


@pytest.mark.parametrize(
    ("moment", "rule", "reason"),
    [
        ("2024-12-30T02:00", "weekly", "weekly 2025-W01"),
        ("2021-01-03T02:00", "weekly", "weekly 2020-W53"),
        ("2024-02-29T23:59", "monthly", "monthly 2024-02"),
        ("2024-02-29T23:59", "daily", "daily 2024-02-29"),
        ("2026-10-25T01:30", "hourly", "hourly 2026-10-25T01"),  # the hour Europe repeats: UTC has it once
        ("2026-03-29T01:30", "hourly", "hourly 2026-03-29T01"),  # the hour Europe skips
        ("2026-01-01T00:00", "yearly", "yearly 2026"),
    ],
)
def test_buckets_are_utc_and_iso(moment: str, rule: str, reason: str) -> None:
    verdict = plan([backup(moment)], policy({rule: {"count": 1}}), at(moment)).keep[0]
    assert verdict.reasons[0] == reason


def test_a_month_is_the_calendars_clamped_to_its_end() -> None:
    backups = [backup("2026-03-31T02:00"), backup("2026-02-28T02:00"), backup("2026-02-28T02:01")]
    result = plan(backups, policy({"last": {"within": "1m"}}), NOW + timedelta(days=60))
    assert kept(result) == ["2026-03-31", "2026-02-28"] and result.keep[1].backup.started_at.minute == 1


def test_within_is_strict() -> None:
    backups = [backup("2026-03-31T02:00"), backup("2026-03-30T02:00")]
    assert kept(plan(backups, policy({"last": {"within": "24h"}}), NOW + timedelta(days=60))) == ["2026-03-31"]


def test_oldest_is_chosen_before_the_window_is_applied() -> None:
    rules = {"daily": {"within": "1d"}, "monthly": {"within": "40d", "select": "oldest"}}
    days = kept(plan(daily("2026-01-01T02:00", "2026-02-20T02:00"), policy(rules), NOW))
    assert days == ["2026-02-20", "2026-02-01"]  # January's first is outside the window; no other January steps in


def test_counts_skip_empty_periods() -> None:
    backups = [backup("2026-02-01T02:00"), backup("2025-06-01T02:00"), backup("2024-01-01T02:00")]
    assert len(plan(backups, policy({"daily": {"count": 2}}), NOW).keep) == 2


def test_a_verified_backup_represents_its_bucket() -> None:
    backups = [backup("2026-02-01T08:00", passed=True), backup("2026-02-01T12:00"), backup("2026-02-02T02:00")]
    result = plan(backups, policy({"daily": {"within": "30d"}}), NOW)
    assert [v.backup.started_at.hour for v in result.keep] == [2, 8]


def test_a_failed_backup_is_the_first_to_go_and_no_anchor() -> None:
    backups = [backup("2026-02-10T02:00", passed=False), backup("2026-02-01T02:00", passed=True)]
    result = plan(backups, policy({"daily": {"within": "30d"}}), NOW)
    assert kept(result) == ["2026-02-01"]
    assert result.delete[0].reasons == ["verification failed", "no rule keeps it"]


def test_even_failed_backups_do_not_empty_a_store() -> None:
    backups = [backup("2026-02-10T02:00", passed=False), backup("2026-02-01T02:00", passed=False)]
    result = plan(backups, policy({"daily": {"within": "30d"}}), NOW)
    assert [v.reasons for v in result.keep] == [["nothing better is left"]]


def test_the_last_good_is_the_newest_that_passed() -> None:
    backups = [*daily("2026-01-01T02:00", "2026-02-28T02:00"), backup("2025-06-01T02:00", passed=True)]
    result = plan(backups, policy({"daily": {"within": "3d"}}), NOW)
    assert kept(result)[-1] == "2025-06-01" and result.keep[-1].reasons == ["last good"]


def test_labelled_backups_are_kept_for_a_while_and_fill_no_bucket() -> None:
    backups = [
        backup("2026-02-28T12:00", label="pre_restore"),
        backup("2026-02-28T02:00"),
        backup("2026-01-01T12:00", label="pre_deploy"),
    ]
    result = plan(backups, policy({"daily": {"count": 5}}), NOW)
    assert [v.reasons for v in result.keep] == [["newest", "labelled pre_restore", "last good"], ["daily 2026-02-28"]]
    assert result.delete[0].backup.label == "pre_deploy"


@pytest.mark.parametrize(("until", "held"), [(None, True), ("2026-04-01T00:00", True), ("2026-02-01T00:00", False)])
def test_holds(until: str | None, held: bool) -> None:
    hold = Hold("legal", at(until) if until else None, "ops")
    result = plan([backup("2020-01-01T02:00", hold=hold), *YEAR], policy(WINDOWS), NOW)
    assert ("2020-01-01" in kept(result)) is held


def test_a_future_backup_stops_all_deletion_in_its_scope() -> None:
    result = plan([*YEAR, backup("2030-01-01T02:00")], policy(WINDOWS), NOW)
    assert result.refused is not None and "future" in result.refused
    assert kept(result)[0] == "2026-03-01"  # and it is no anchor either


def test_a_clock_five_minutes_ahead_is_no_future() -> None:
    assert plan([backup(NOW + timedelta(minutes=5))], policy(WINDOWS), NOW).refused is None
    assert plan([backup(NOW + timedelta(minutes=5, seconds=1))], policy(WINDOWS), NOW).refused is not None


def test_an_unreadable_record_stops_all_deletion_in_its_scope() -> None:
    assert "unreadable" in str(plan(YEAR, policy(WINDOWS), NOW, ["x is not JSON."]).refused)


@pytest.mark.parametrize(("limit", "refused"), [("88%", True), ("89%", False), ("376", True), ("377", False)])
def test_max_delete(limit: str, refused: bool) -> None:
    result = plan(YEAR, policy(WINDOWS, max_delete=limit), NOW)  # 377 of 425 = 88.7 %
    assert len(result.delete) == 377 and (result.refused is not None) is refused


class TestStorageClasses:
    def moves(self, backups: list[Backup], rules: dict = ARCHIVING) -> dict[str, tuple[str, str, int]]:
        result = plan(backups, policy(rules), NOW)
        return {
            f"{move.backup.started_at:%Y-%m-%d}": (move.source, move.target, move.early_deletion_days)
            for move in result.transition
        }

    def test_warm_while_a_warm_rule_holds_it_then_once_to_the_longest(self) -> None:
        moves = self.moves(daily("2025-01-01T02:00", "2026-03-01T02:00", storage_class="STANDARD_IA"))
        assert "2026-02-01" not in moves  # monthly, but daily still holds it
        assert moves["2026-01-01"][:2] == ("STANDARD_IA", "DEEP_ARCHIVE")  # weekly no, monthly yes
        assert moves["2026-01-25"][:2] == ("STANDARD_IA", "GLACIER")

    def test_a_stay_shorter_than_the_minimum_says_so(self) -> None:
        moves = self.moves(daily("2025-12-01T02:00", "2026-03-01T02:00", storage_class="STANDARD"))
        assert moves["2026-01-25"][2] == 36  # held until 2026-04-25T02:00, 54.96 days; GLACIER bills 90

    def test_never_out_of_an_archive(self) -> None:
        assert self.moves(daily("2025-01-01T02:00", "2026-03-01T02:00", storage_class="GLACIER")) == {}

    def test_a_store_without_classes_has_no_moves(self) -> None:
        assert self.moves(YEAR) == {}

    def test_a_warm_rules_class_is_taken(self) -> None:
        rules = {"daily": {"within": "30d", "storage_class": "STANDARD_IA"}}
        assert self.moves([backup("2026-03-01T02:00", storage_class="STANDARD")], rules) == {
            "2026-03-01": ("STANDARD", "STANDARD_IA", 1)
        }


def test_a_hundred_thousand_backups_are_planned_in_linear_time() -> None:
    many = [backup(NOW - timedelta(minutes=7 * number), suffix=f"{number:08x}") for number in range(20_000)]
    random.Random(1).shuffle(many)
    started = time.perf_counter()
    plan(many, policy(WINDOWS), NOW)
    assert time.perf_counter() - started < 30  # an accident of complexity; speed itself is measured in benchmarks/


# ---- properties --------------------------------------------------------------------------------------------------

LABELS = st.sampled_from(["scheduled", "scheduled", "manual", "pre_deploy", "pre_restore"])
OFFSETS = st.integers(min_value=0, max_value=60 * 24 * 800)
RULES = st.dictionaries(
    st.sampled_from(["last", "hourly", "daily", "weekly", "monthly", "yearly"]),
    st.fixed_dictionaries(
        {}, optional={"count": st.integers(1, 20), "within": st.sampled_from(["1h", "3d", "2w", "1m", "6m", "1y"])}
    ).filter(bool),
    min_size=1,
    max_size=4,
)


@st.composite
def histories(draw: st.DrawFn) -> list[Backup]:
    offsets = draw(st.lists(OFFSETS, min_size=1, max_size=60, unique=True))
    return [
        Backup(
            f"id-{offset:08}",
            NOW - timedelta(minutes=offset),
            draw(LABELS),
            draw(st.sampled_from([None, None, True, False])),
        )
        for offset in offsets
    ]


@given(histories(), RULES, st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_keep_and_delete_are_all_and_nothing_is_in_both(backups: list[Backup], rules: dict, good: int) -> None:
    result = plan(backups, policy(rules, keep_last_good=good), NOW)
    identities = [verdict.backup.id for verdict in result.keep + result.delete]
    assert sorted(identities) == sorted(b.id for b in backups)


@given(histories(), RULES)
@settings(max_examples=150, deadline=None)
def test_pruning_twice_is_pruning_once(backups: list[Backup], rules: dict) -> None:
    first = plan(backups, policy(rules), NOW)
    again = plan([verdict.backup for verdict in first.keep], policy(rules), NOW + timedelta(hours=1))
    assert again.delete == []


@given(histories(), RULES, st.integers(0, 3650))
@settings(max_examples=150, deadline=None)
def test_time_alone_deletes_nothing(backups: list[Backup], rules: dict, days: int) -> None:
    now = plan(backups, policy(rules), NOW)
    later = plan(backups, policy(rules), NOW + timedelta(days=days))
    assert {v.backup.id for v in now.keep} == {v.backup.id for v in later.keep}  # a stalled job never empties a store


@given(histories(), RULES, st.integers(1, 500))
@settings(max_examples=150, deadline=None)
def test_a_failing_job_never_empties_a_store(backups: list[Backup], rules: dict, failures: int) -> None:
    good = [b for b in backups if b.passed is not False]
    bad = [Backup(f"bad-{n}", NOW + timedelta(seconds=n), passed=False) for n in range(min(failures, 30))]
    with_bad = {v.backup.id for v in plan(backups + bad, policy(rules), NOW + timedelta(hours=1)).keep}
    assert with_bad
    if good:
        without = {v.backup.id for v in plan(good, policy(rules), NOW + timedelta(hours=1)).keep}
        assert without <= with_bad


@given(histories(), RULES)
@settings(max_examples=150, deadline=None)
def test_adding_a_backup_never_deletes_a_newer_verified_one(backups: list[Backup], rules: dict) -> None:
    before = {v.backup.id for v in plan(backups, policy(rules), NOW).keep}
    oldest = min(b.started_at for b in backups)
    for moment in (oldest - timedelta(days=1), oldest + (NOW - oldest) / 2):
        added = Backup("added", moment)
        after = {v.backup.id for v in plan([*backups, added], policy(rules), NOW).keep}
        lost = [b for b in backups if b.id in before - after and b.passed and b.started_at > moment]
        assert lost == []


@given(histories(), RULES, st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_the_last_good_ones_stay(backups: list[Backup], rules: dict, number: int) -> None:
    passed = sorted((b for b in backups if b.passed), key=lambda b: b.started_at, reverse=True)[:number]
    keep = {v.backup.id for v in plan(backups, policy(rules, keep_last_good=number), NOW).keep}
    assert {b.id for b in passed} <= keep


def test_pruning_every_day_converges_to_the_policy() -> None:
    """A rolling simulation: one backup and one prune a day for two years."""
    store: list[Backup] = []
    for day in range(730):
        now = at("2024-01-01T03:00") + timedelta(days=day)
        store.append(backup(now - timedelta(hours=1)))
        store = [verdict.backup for verdict in plan(store, policy(WINDOWS), now).keep]
    assert 46 <= len(store) <= 50
