# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which jobs a description schedules, and how they are shown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._errors import InputError
from .._records import format_time, utc_now
from .records import Run
from .slots import parse_slots


def jobs_of(description: Mapping[str, Any]) -> dict[str, list[str]]:
    """The distinct slots of each job. One run serves whatever is due, so a database's own slot is one of the backup's."""
    schedules, databases = description["schedules"], description["databases"]
    if not databases or not description["stores"]:
        raise InputError("databases or stores is empty: there would be nothing to run at any slot.")
    declared = {"schedules.backup": schedules.get("backup")}
    declared |= {f"databases[{number}].schedule": database.get("schedule") for number, database in enumerate(databases)}
    if all(database.get("schedule") for database in databases):
        del declared["schedules.backup"]
    elif not schedules.get("backup"):
        raise InputError(
            "schedules.backup is not set, and not every database has a schedule of its own: set it, in UTC."
        )
    declared["schedules.copy"] = schedules.get("copy")
    jobs = {"backup": declared, **{job: {f"schedules.{job}": schedules.get(job)} for job in ("verify", "prune")}}
    return {job: found for job, variables in jobs.items() if (found := _distinct(variables))}


def _distinct(declared: Mapping[str, Any]) -> list[str]:
    expressions = {variable: str(expression) for variable, expression in declared.items() if expression}
    by_meaning = {
        parse_slots(variable, text): " ".join(text.split()) for variable, text in reversed(expressions.items())
    }
    return sorted(by_meaning.values())


def listed(system: str, jobs: Mapping[str, Sequence[str]], runs: Iterable[Run]) -> list[dict[str, Any]]:
    """A row a job; one that is not installed yet has no past."""
    now, rows, by_job = utc_now(), [], {run.job: run for run in runs}
    for job, slots in jobs.items():
        verdict = by_job.get(job, Run(system, job, tuple(slots), now)).verdict(now)
        rows.append({
            "job": job, "slots": list(slots), "next": format_time(Run(system, job, tuple(slots), now).next(now)),
            "state": verdict.state, "reason": verdict.reason,
        })  # fmt: skip
    return rows
