# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Retention: which backups of one scope in one store stay, and why. Pure: no clock, no store, no Ansible.

The rules are grandfather-father-son (GFS) with restic's window semantics: windows count back from the newest good
backup, not from now, so a stalled job never empties a store (``docs/backup_format.md``, "Retention").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ._durations import before
from ._policy import Policy, Rule
from ._records import Hold, format_time
from ._store.base import ARCHIVE_CLASSES, MINIMUM_DAYS

FUTURE_TOLERANCE = timedelta(minutes=5)
"""How far ahead of our clock another host's may honestly be."""

_BUCKETS: dict[str, Callable[[datetime], str]] = {
    "hourly": lambda at: f"{at:%Y-%m-%dT%H}",
    "daily": lambda at: at.date().isoformat(),
    "weekly": lambda at: "{}-W{:02}".format(*at.isocalendar()),
    "monthly": lambda at: f"{at.year:04}-{at.month:02}",
    "yearly": lambda at: f"{at.year:04}",
}


@dataclass(frozen=True)
class Backup:
    """What planning knows of one backup in one store. ``passed``: its newest verification, ``None`` = unverified."""

    id: str
    started_at: datetime
    label: str = "scheduled"
    passed: bool | None = None
    hold: Hold | None = None
    storage_class: str | None = None
    size: int = 0

    @property
    def fills_buckets(self) -> bool:
        return not self.label.startswith("pre_")


@dataclass
class Verdict:
    """One backup's fate: kept for ``reasons`` until about ``until`` (``None`` = open-ended), or deleted for them."""

    backup: Backup
    reasons: list[str] = field(default_factory=list)
    until: datetime | None = None


@dataclass(frozen=True)
class Transition:
    """A move to another storage class; ``early_deletion_days`` are billed although the backup will be gone."""

    backup: Backup
    source: str
    target: str
    early_deletion_days: int = 0

    @property
    def reason(self) -> str:
        early = f", billed {self.early_deletion_days} days longer than it stays" if self.early_deletion_days else ""
        return f"{self.source} to {self.target}{early}"

    def to_dict(self) -> dict[str, Any]:
        record: dict[str, Any] = {"id": self.backup.id, "from": self.source, "to": self.target}
        if self.early_deletion_days:
            record["early_deletion_days"] = self.early_deletion_days
        return record


@dataclass
class Plan:
    """The plan for one scope in one store, newest first. ``refused`` says why nothing may be deleted here."""

    keep: list[Verdict]
    delete: list[Verdict]
    transition: list[Transition]
    refused: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "keep": [
                {
                    "id": verdict.backup.id,
                    "reasons": verdict.reasons,
                    "storage_class": verdict.backup.storage_class,
                    "until": verdict.until and format_time(verdict.until),
                }
                for verdict in self.keep
            ],
            "delete": [{"id": verdict.backup.id, "reasons": verdict.reasons} for verdict in self.delete],
            "transition": [transition.to_dict() for transition in self.transition],
        }


def _newest_first(backups: Iterable[Backup]) -> list[Backup]:
    return sorted(backups, key=lambda backup: (backup.started_at, backup.id), reverse=True)


def _representatives(rule: Rule, backups: Sequence[Backup]) -> list[tuple[Backup, str]]:
    """Each bucket's representative with its reason, newest bucket first. ``backups`` are newest first."""
    if rule.name == "last":
        return [(backup, "last") for backup in backups]
    bucket_of = _BUCKETS[rule.name]
    chosen: dict[str, Backup] = {}
    for backup in backups:
        bucket = bucket_of(backup.started_at)
        present = chosen.get(bucket)
        better = present is None or (backup.passed is True and present.passed is not True)
        as_good = present is not None and (backup.passed is True) == (present.passed is True)
        if better or (rule.oldest and as_good):
            chosen[bucket] = backup
    return [(backup, f"{rule.name} {bucket}") for bucket, backup in chosen.items()]


def _kept_by(rule: Rule, backups: Sequence[Backup], anchor: datetime) -> list[tuple[Backup, str]]:
    threshold = rule.threshold(anchor)
    return [
        (backup, reason)
        for number, (backup, reason) in enumerate(_representatives(rule, backups))
        if (threshold is not None and backup.started_at > threshold) or (rule.count is not None and number < rule.count)
    ]


def _last_good(backups: Sequence[Backup], number: int) -> list[Backup]:
    """The newest N that passed; where there are fewer, the newest unverified, then the newest failed make up for them."""
    return sorted(backups, key=lambda backup: {True: 0, None: 1, False: 2}[backup.passed])[: max(number, 1)]


class _Planner:
    def __init__(self, backups: Sequence[Backup], policy: Policy, now: datetime) -> None:
        self.backups = _newest_first(backups)
        self.policy = policy
        self.now = now
        self.verdicts = {backup.id: Verdict(backup) for backup in self.backups}
        self.rules: dict[str, list[Rule]] = {backup.id: [] for backup in self.backups}
        self.guarded: set[str] = set()
        self.present = [backup for backup in self.backups if backup.started_at <= now + FUTURE_TOLERANCE]
        self.good = [backup for backup in self.present if backup.passed is not False]
        self.anchor = self.good[0] if self.good else None

    def apply_rules(self) -> None:
        if self.anchor is None:
            return
        fillers = [backup for backup in self.good if backup.fills_buckets]
        for rule in self.policy.rules:
            for backup, reason in _kept_by(rule, fillers, self.anchor.started_at):
                verdict = self.verdicts[backup.id]
                verdict.reasons.append(reason)
                self.rules[backup.id].append(rule)
                until = rule.until(backup.started_at)
                if until is not None:
                    verdict.until = until if verdict.until is None else max(verdict.until, until)

    def apply_guards(self) -> None:
        if self.anchor is not None:
            self._guard(self.anchor, "newest")
            labelled = before(self.anchor.started_at, self.policy.keep_labelled)
            for backup in self.good:
                if not backup.fills_buckets and backup.started_at > labelled:
                    self.verdicts[backup.id].reasons.append(f"labelled {backup.label}")
        for backup in _last_good(self.present, self.policy.keep_last_good):
            self._guard(backup, "last good" if backup.passed is not False else "nothing better is left")
        for backup in self.backups:
            if backup.hold is not None and backup.hold.active(self.now):
                self.verdicts[backup.id].reasons.append(f"held: {backup.hold.reason}")
                self.verdicts[backup.id].until = backup.hold.until and max(
                    backup.hold.until, self.verdicts[backup.id].until or backup.hold.until
                )

    def _guard(self, backup: Backup, reason: str) -> None:
        self.verdicts[backup.id].reasons.append(reason)
        self.guarded.add(backup.id)

    def transition(self, backup: Backup) -> Transition | None:
        """The move that is due, if any: warm while a warm rule or a guard holds it, then once to the archive."""
        rules, present = self.rules[backup.id], backup.storage_class
        if present is None or present in ARCHIVE_CLASSES or not rules:
            return None
        warm = [rule for rule in rules if not rule.archives]
        if warm:
            target = next((rule.storage_class for rule in warm if rule.storage_class), present)
            leaves = max((end for rule in warm if (end := rule.until(backup.started_at))), default=None)
        elif backup.id in self.guarded:
            return None
        else:
            longest = max(rules, key=lambda rule: rule.until(backup.started_at) or backup.started_at)
            target, leaves = longest.storage_class or present, longest.until(backup.started_at)
        return None if target == present else Transition(backup, present, target, self._early_days(target, leaves))

    def _early_days(self, storage_class: str, leaves: datetime | None) -> int:
        if leaves is None:
            return 0
        stay = (leaves - self.now) / timedelta(days=1)
        return max(0, math.ceil(MINIMUM_DAYS.get(storage_class, 0) - max(stay, 0)))


def _refusal(
    backups: Sequence[Backup], deletions: int, policy: Policy, now: datetime, unreadable: Sequence[str]
) -> str | None:
    future = [backup.id for backup in backups if backup.started_at > now + FUTURE_TOLERANCE]
    if unreadable:
        return f"nothing is deleted here while a record is unreadable: {unreadable[0]}"
    if future:
        return f"nothing is deleted here while {future[0]} is dated in the future: a clock is or was wrong"
    if not policy.max_delete.allows(deletions, len(backups)):
        return (
            f"{deletions} of {len(backups)} backups would be deleted, max_delete allows {policy.max_delete}: "
            "read the plan, and raise max_delete for this one run if it is right"
        )
    return None


def plan(backups: Sequence[Backup], policy: Policy, now: datetime, unreadable: Sequence[str] = ()) -> Plan:
    """The plan for one scope in one store.

    ``unreadable`` holds a sentence for each record there that could not be read. O(n log n) in the number of backups.
    """
    planner = _Planner(backups, policy, now)
    planner.apply_rules()
    planner.apply_guards()
    keep = [verdict for verdict in planner.verdicts.values() if verdict.reasons]
    delete = [verdict for verdict in planner.verdicts.values() if not verdict.reasons]
    for verdict in delete:
        verdict.reasons = ["verification failed"] if verdict.backup.passed is False else []
        verdict.reasons.append("no rule keeps it")
    moves = [move for verdict in keep if (move := planner.transition(verdict.backup))]
    return Plan(keep, delete, moves, _refusal(planner.backups, len(delete), policy, now, unreadable))
