# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What operators and Prometheus read: lines, a table and gauges, made from what ``backup_info`` returns. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from .._durations import human_duration
from .._records import parse_time

Row = Mapping[str, Any]

_LEGEND = "# restored  = bytes confirmed, not restored  o unverified  x failed  . none"
_HEADINGS = ("BACKUP", "AGE", "SIZE", "VERIFIED", "IN", "KEPT BY", "UNTIL")


def human_size(size: int) -> str:
    """Bytes in the largest binary unit that leaves a number of at least one."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def _short(moment: str | None) -> str:
    return moment[:16].replace("T", " ") + "Z" if moment else "-"


def database_line(database: Row) -> str:
    """One database in a line: how old its newest good backup is, whether it was proved, what is next."""
    newest, name = database["newest"], _name(database)
    problems = [_problem(s) for s in database["stores"] if s["unreadable"] or s["future"] or s["away"]]
    problems += [f"{job.upper()} DUE ({reason})" for job, reason in database["due"].items() if reason]
    running = [_running(lease, store["store"]) for store in database["stores"] for lease in store["in_progress"]]
    if newest is None:
        none = "NO STORE CAN BE REACHED" if all(s["away"] for s in database["stores"]) else "NO GOOD BACKUP"
        return "; ".join([f"{name}: {none}", *running, *problems, _next(database)])
    parts = [f"newest good backup is {human_duration(database['age_seconds'])} old ({human_size(newest['size'])})"]
    if database["rpo_met"] is False:
        parts.append("OLDER THAN ITS RPO")
    parts.append(_proof(database))
    return f"{name}: " + ", ".join([*parts, _next(database), *running, *problems])


def _next(database: Row) -> str:
    slot = database["next_backup"]
    return f"next slot {_short(slot)}" if slot else "no schedule, so only what is asked for is taken"


def _proof(database: Row) -> str:
    verification = database["verification"]
    if verification is None:
        return "never verified"
    if verification["result"] == "failed":
        return f"LAST VERIFICATION FAILED ({verification.get('reason') or 'see its record'})"
    proof = _passed(verification, database)
    return (
        proof
        if verification["id"] == database["newest"]["id"]
        else f"itself not verified yet ({verification['id']}: {proof})"
    )


def _passed(verification: Row, database: Row) -> str:
    if verification["method"] != "restore":
        return f"bytes confirmed {_short(verification['verified_at'])}, NOT RESTORED (this host has no key)"
    slow = ", SLOWER THAN ITS RTO" if database["rto_met"] is False else ""
    took = verification["restore_seconds"]
    return f"verified {_short(verification['verified_at'])}" + (
        f" (restored in {human_duration(took)}{slow})" if took else ""
    )


def concern(databases: Iterable[Row]) -> str:
    """What a person is to do, in a sentence, where nothing is due and all the same not everything is well; else empty."""
    said = list(_concerns(list(databases)))
    more = f" Not the only concern ({len(said)} in all): list_backups.yml tells the others." if len(said) > 1 else ""
    return f"{said[0]}{more}" if said else ""


def _concerns(databases: Sequence[Row]) -> Iterator[str]:
    """The gravest first."""
    yield from filter(None, map(_disproved, databases))
    for database in databases:
        for store in database["stores"]:
            if store["unreadable"] or store["future"]:
                yield (
                    f"mend or remove by hand what is unreadable, or dated in the future, of {_name(database)} in {store['store']}: "
                    "it counts for nothing, and nothing is pruned beside it."
                )
    if any(database["due"]["verification"] for database in databases):
        yield "verify_backups.yml, for a verification is due."


def _disproved(database: Row) -> str:
    """What a failed verification asks for; ids sort by time."""
    newest, verdict = database["newest"], database["verification"]
    if verdict is None or verdict["result"] == "passed":
        return ""
    what = f"{_name(database)} {verdict['id']}"
    if newest is not None and newest["id"] > verdict["id"]:
        if newest["verified"] == "passed":
            return ""
        return f"verify_backups.yml -e backup_verify_now=true, for {what} failed and what was taken since is still to be proved."
    good = newest is not None and newest["id"] == verdict["id"]  # elsewhere
    how = f" in {verdict['restored_from']}" if good else " and counts for nothing"
    return (
        f"{what} failed its verification{how}: backup.yml -e backup_label=manual takes a new one, "
        "verify_backups.yml -e backup_verify_now=true proves it."
    )


def _name(database: Row) -> str:
    return f"{database['engine']}/{database['database']}"


def _running(lease: Row, store: str) -> str:
    return f"{lease['purpose']} of {lease['id']} to {store} is running on {lease['owner']} ({human_size(lease['done_bytes'])} so far)"


def _problem(store: Row) -> str:
    if store["away"]:
        return f"{store['store']} UNREACHABLE"
    return f"{store['store']} UNREADABLE: {'; '.join([*store['unreadable'], *(f'{i} dated in the future' for i in store['future'])])}"


def backup_table(databases: Sequence[Row], backups: Sequence[Row]) -> str:
    """Every backup as a row, its copies side by side, under a line for its database."""
    blocks = []
    for database in databases:
        rows = [row for row in backups if _of(row) == _of(database)]
        labels = [store["store"] for store in database["stores"]]
        blocks.append("\n".join([database_line(database), *calendar(rows), *_aligned(_cells(rows, labels))]))
    return "\n\n".join([*blocks, *([_LEGEND] if backups else [])])


def _of(record: Row) -> tuple[Any, Any]:
    return record["engine"], record["database"]


def _cells(rows: Iterable[Row], labels: Sequence[str]) -> list[tuple[str, ...]]:
    copies: dict[str, list[Row]] = {}
    for row in rows:
        copies.setdefault(row["id"], []).append(row)
    cells: list[tuple[str, ...]] = [_HEADINGS]
    for identity in sorted(copies, reverse=True):
        group = copies[identity]
        first = group[0]
        proofs = {_proved(row) for row in group}
        cells.append(
            (
                identity if first["label"] == "scheduled" else f"{identity} {first['label']}",
                human_duration(first["age_seconds"]),
                human_size(first["size"]),
                next((proof for proof in ("FAILED", "restored", "bytes only") if proof in proofs), "-"),
                " ".join(_place(row, labels) for row in group),
                ", ".join(first["kept_by"]) or "nothing: pruning may delete it",
                _short(first["kept_until"])[:10],
            )
        )
    return cells


def _proved(row: Row) -> str | None:
    """By what: digests prove the bytes of a backup, and only a restore that it is one."""
    if row["verified"] == "passed":
        return "restored" if row["verified_by"] == "restore" else "bytes only"
    return row["verified"] and "FAILED"


def _place(row: Row, labels: Sequence[str]) -> str:
    kind = row["store"].split(":", 1)[0]
    if sum(label.startswith(kind + ":") for label in labels) > 1:
        kind = row["store"]
    return f"{kind}({row['storage_class']})" if row["storage_class"] else kind


def calendar(rows: Iterable[Row]) -> list[str]:
    """A picture of what is kept: a line a month, a mark a day."""
    marks: dict[str, str] = {}
    for row in rows:
        day, mark = (
            row["started_at"][:10],
            {"restored": "#", "bytes only": "=", "FAILED": "x"}.get(_proved(row) or "", "o"),
        )
        marks[day] = min(marks.get(day, "~"), mark)  # '#' sorts before '=' before 'o' before 'x': the best of the day
    months = sorted({day[:7] for day in marks}, reverse=True)
    days = range(1, 32)
    return [f"  {month} " + "".join(marks.get(f"{month}-{day:02}", ".") for day in days) for month in months]


def _aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    if len(cells) < 2:
        return []
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    ]


_GAUGES = (
    ("last_success_timestamp_seconds", "When the newest good backup was finished."),
    ("last_verification_timestamp_seconds", "When a backup last passed its restore verification."),
    ("size_bytes", "Stored bytes of the newest good backup."),
    ("duration_seconds", "How long the newest good backup took."),
    ("restore_seconds", "How long the newest verification took to restore."),
    ("verified", "Whether the newest verification passed (1) or failed (0)."),
    ("rpo_seconds", "The recovery point objective."),
)


def _values(database: Row) -> dict[str, float | None]:
    newest, verification = database["newest"], database["verification"]
    verified_at = database["last_verified_at"]
    finished = parse_time(newest["started_at"]).timestamp() + newest["seconds"] if newest else None
    return {
        "last_success_timestamp_seconds": finished,
        "last_verification_timestamp_seconds": parse_time(verified_at).timestamp() if verified_at else None,
        "size_bytes": newest and newest["size"],
        "duration_seconds": newest and newest["seconds"],
        "restore_seconds": verification and verification["restore_seconds"],
        "verified": verification and float(verification["result"] == "passed"),
        "rpo_seconds": database["rpo_seconds"],
    }


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def metrics(databases: Sequence[Row], system: str) -> str:
    """Prometheus' text format: timestamps, never ages, which would freeze when nothing runs any more."""
    lines = []
    for name, text in _GAUGES:
        samples = []
        for database in databases:
            value = _values(database)[name]
            if value is not None:
                labels = {"system": system, "engine": database["engine"], "database": database["database"]}
                written = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels.items())
                samples.append(f"runbook_backup_{name}{{{written}}} {value:.15g}")
        if samples:
            lines += [f"# HELP runbook_backup_{name} {text}", f"# TYPE runbook_backup_{name} gauge", *samples]
    return "\n".join(lines) + "\n"
