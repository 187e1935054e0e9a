# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the catalogue says about a system's protection, as findings: made from ``backup_info``'s summaries. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from .._durations import human_duration
from .._records import format_time
from .._schedule import next_slot
from .._scheduling.records import Run
from .finding import Finding, Level

Summary = Mapping[str, Any]


def judge_database(database: Summary) -> Finding:
    """One database: is there a good backup, is it young enough, was it proved."""
    newest, verification, rpo = database["newest"], database["verification"], database["rpo_seconds"]
    facts = {
        "newest": newest and newest["id"],
        "age_seconds": database["age_seconds"],
        "size": newest and newest["size"],
        "verified": database["last_verified_at"],
        "proved": bool(newest and newest["verified"] == "passed"),
        "verification": verification and verification["result"],
        "rpo_met": database["rpo_met"],
        "running": _running(database),
    }
    level, reason, remedy = Level.GREEN, "", ""
    if newest is None and any(store["away"] for store in database["stores"]):
        level, reason = Level.RED, "no good backup in any store that can be reached"
        remedy = "bring the store back; list_backups.yml shows what it has"
    elif newest is None:
        level, reason, remedy = Level.RED, "there is no good backup", "backup.yml takes one"
    elif verification and verification["result"] == "failed":
        level, reason = Level.RED, f"the last verification failed: {verification.get('reason') or 'see its record'}"
        remedy = (
            "backup.yml -e backup_label=manual takes another, verify_backups.yml -e backup_verify_now=true proves it"
        )
    elif database["rpo_met"] is False:
        age = human_duration(database["age_seconds"])
        level, reason = Level.RED, f"the newest good backup is {age} old, over its RPO of {human_duration(rpo)}"
        remedy = "backup.yml takes what is due; then find out why no schedule did (schedule.yml)"
    elif database["rto_met"] is False:
        level, reason = Level.AMBER, "the last restore took longer than its RTO"
        remedy = "verify_backups.yml -e backup_verify_now=true measures again; else a faster host, or another RTO"
    if level == Level.RED and facts["running"]:
        level, remedy = Level.AMBER, "one is being taken now: look again when it has ended"
    return Finding(f"{database['engine']}/{database['database']}", level, reason, remedy, facts)


def judge_stores(databases: Sequence[Summary]) -> list[Finding]:
    """Each store once: whether it can be reached, and what lies in it that cannot be right."""
    found: dict[str, Finding] = {}
    for store in (store for database in databases for store in database["stores"]):
        label, facts = store["store"], {"backups": store["backups"], "bytes": store["bytes"]}
        odd = [*store["unreadable"], *(f"{identity} is dated in the future" for identity in store["future"])]
        before = found.get(label, Finding(label, facts={"backups": 0, "bytes": 0}))
        total = {key: before.facts[key] + value for key, value in facts.items()}
        if store["away"]:
            reason = store["away"].removeprefix(f"{label}: ").rstrip(".")
            remedy = "bring it back; backup.yml copies what it lacks then"
            found[label] = Finding(label, Level.AMBER, f"cannot be reached: {reason}", remedy, total)
        elif odd and before.level == Level.GREEN:
            found[label] = Finding(
                label, Level.AMBER, odd[0].rstrip("."), "list_backups.yml shows it: look, then remove it", total
            )
        else:
            found[label] = Finding(label, before.level, before.reason, before.remedy, total)
    return list(found.values())


def judge_schedules(
    databases: Sequence[Summary], schedules: Mapping[str, str | None], runs: Sequence[Run], now: datetime
) -> list[Finding]:
    """Each job that has a schedule or something to do: its next slot, its last run, and what it should have done and did not."""
    by_job = {run.job: run for run in runs}
    found = (_job(job, databases, schedules.get(job), by_job.get(job), now) for job in _DUE_AS)
    return [finding for finding in found if finding]


_DUE_AS = {"backup": "backup", "copy": "copy", "verify": "verification", "prune": None}
_PLAYBOOKS = {
    "backup": "backup.yml",
    "copy": "backup.yml",
    "verify": "verify_backups.yml",
    "prune": "prune_backups.yml",
}


def _job(
    job: str, databases: Sequence[Summary], schedule: str | None, run: Run | None, now: datetime
) -> Finding | None:
    due_as = _DUE_AS[job]
    due = {f"{d['engine']}/{d['database']}": d["due"][due_as] for d in databases if due_as and d["due"][due_as]}
    following = _next(job, databases, schedule, now)
    if not (following or due or run):
        return None
    verdict = run.verdict(now) if run else None
    facts = {
        "next": following,
        "last_success": _last_success(job, databases),
        "last_run": run.started_at and format_time(run.started_at) if run else None,
        "state": verdict.state if verdict else None,
        "due": due,
    }
    if verdict and not verdict.good:
        remedy = f"{_PLAYBOOKS[job]} does what is due; schedule.yml shows the job and its log"
        return Finding(job, Level.AMBER, f"{verdict.state}: {verdict.reason.rstrip('.')}", remedy, facts)
    if due and not (verdict and verdict.state == "running") and not any(_running(database) for database in databases):
        name, reason = next(iter(due.items()))
        others = f" and {len(due) - 1} more" if len(due) > 1 else ""
        remedy = f"{_PLAYBOOKS[job]} does it now" + ("" if run else "; schedule.yml installs what does it by itself")
        return Finding(job, Level.AMBER, f"is due for {name}{others}: {reason}", remedy, facts)
    remedy = "" if run else "schedule.yml installs what runs them by itself, where nothing else does"
    return Finding(job, remedy=remedy, facts=facts)


def _next(job: str, databases: Sequence[Summary], schedule: str | None, now: datetime) -> str | None:
    if job == "backup":  # a database may have a schedule of its own
        return min((d["next_backup"] for d in databases if d["next_backup"]), default=None)
    return format_time(next_slot(schedule, now)) if schedule else None


def _last_success(job: str, databases: Sequence[Summary]) -> str | None:
    """Since when every database has what the job leaves behind; none while one of them has nothing."""
    left = {
        "backup": [d["newest"] and d["newest"]["started_at"] for d in databases],
        "verify": [d["last_verified_at"] for d in databases],
    }.get(job, [])
    return min(left) if left and all(left) else None


def _running(database: Summary) -> bool:
    return any(store["in_progress"] for store in database["stores"])
