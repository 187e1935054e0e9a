# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A status as a screen that is read in five seconds: verdict, reasons, every object in a line, what to do. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._durations import human_duration
from .._protect.report import human_size

Row = Mapping[str, Any]

WIDTH = 90
"""Columns; Ansible indents by another eight."""

_MARKS = {"green": "ok", "amber": "AMBER", "red": "RED"}
_IMAGE, _DIGEST = 28, 12


def headline(status: Row) -> str:
    """The light, and the first reason."""
    verdict = status["verdict"]
    reasons = verdict["reasons"]
    rest = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    said = f"{reasons[0]}{rest}" if reasons else "all is well"
    return f"{verdict['light']} {status['system']} is {verdict['level']}: {said}"


def screen(status: Row) -> str:
    """All of it. Nothing is told by colour alone."""
    verdict = status["verdict"]
    lines = [f"{status['system']} is {verdict['level'].upper()}, {_moment(status['now'])}"]
    for reason in verdict["reasons"]:
        lines += _wrapped(reason)
    for title, rows in (
        ("RELEASES", _plain(status["releases"], _release)),
        ("SERVICES", _services(status["services"])),
        ("ENDPOINTS", _plain(status["endpoints"], _endpoint)),
        ("EVENTS", _plain(status["events"], _event)),
        ("DISKS", _plain(status["disks"], _disk)),
        ("BACKUPS", _plain(status["backups"], _backup)),
        ("STORES", _plain(status["stores"], _store)),
        ("SCHEDULES (UTC)", _plain(status["schedules"], _schedule)),
    ):
        if rows:
            lines += ["", title, *_aligned(rows)]
    lines += ["", "NEXT"]
    for remedy in verdict["next"] or ["nothing"]:
        lines += _wrapped(remedy)
    return "\n".join(lines)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  - ", subsequent_indent="    ", break_long_words=False)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they must be; what is too long for the screen ends in an ellipsis."""
    columns = max(len(row) for row in rows)
    widths = [max((len(row[n]) for row in rows if n < len(row) - 1), default=0) for n in range(columns)]
    lines = [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows
    ]
    return [line if len(line) <= WIDTH else line[: WIDTH - 1] + "\N{HORIZONTAL ELLIPSIS}" for line in lines]


def _plain(findings: Iterable[Row], tell: Any) -> list[list[str]]:
    return [[_MARKS[found["level"]], found["object"], *tell(found)] for found in findings]


def _services(findings: Iterable[Row]) -> list[list[str]]:
    rows = []
    for found in findings:
        replicas = found.get("replicas", [])
        mark = _MARKS[found["level"]] if found.get("expected", True) else "-"
        if not replicas:
            rows.append([mark, found["object"], found["reason"] or ""])
        for replica in replicas:
            name = found["object"] if len(replicas) == 1 else replica["name"]
            rows.append([mark, name, *_replica(replica)])
    return rows


def _replica(replica: Row) -> list[str]:
    shown = (
        replica["health"] if replica["state"] == "running" and replica["health"] != "unchecked" else replica["state"]
    )
    age = human_duration(replica["age_seconds"]).split(" ")[0] if replica["age_seconds"] is not None else "-"
    restarts = f"{replica['restarts']} restart{'' if replica['restarts'] == 1 else 's'}"
    digest = (replica["digest"] or "").removeprefix("sha256:")[:_DIGEST]
    image = replica["image"].rpartition("/")[2]
    if len(image) > _IMAGE:
        image = "\N{HORIZONTAL ELLIPSIS}" + image[1 - _IMAGE :]
    return [shown, age, restarts, image, digest]


def _release(found: Row) -> list[str]:
    if "revision" not in found:
        return [found["reason"] or ""]
    age = human_duration(found["age_seconds"]).split(" ")[0] if found["age_seconds"] is not None else "-"
    return [found["status"], age, f"revision {found['revision']}"]


def _event(found: Row) -> list[str]:
    if "event" not in found:
        return [found["reason"] or ""]
    return [
        f"{human_duration(found['age_seconds']).split(' ')[0]} ago",
        f"{found['event']} x{found['count']}",
        found["message"],
    ]


def _endpoint(found: Row) -> list[str]:
    if found.get("milliseconds") is None:
        return ["-", "-", found.get("url") or ""]
    return [str(found["status"] or "open"), f"{found['milliseconds']} ms", found["url"]]


def _disk(found: Row) -> list[str]:
    if "used_percent" not in found:
        return [found["reason"] or ""]
    return [f"{found['used_percent']:.0f} % used", f"{human_size(found['available_bytes'])} free"]


def _backup(found: Row) -> list[str]:
    running = ["one is being taken now"] if found["running"] else []
    if found["newest"] is None:
        return ["; ".join(["no good backup", *running])]
    passed = _moment(found["verified"]) if found["verified"] else ""
    proof = f"{'' if found['proved'] else 'an older one '}verified {passed}" if passed else "never verified"
    if found["verification"] == "failed":
        proof = f"FAILED; passed {passed}" if passed else "FAILED"
    return [f"{human_duration(found['age_seconds'])} old", human_size(found["size"]), "; ".join([proof, *running])]


def _store(found: Row) -> list[str]:
    return (
        [f"{found['backups']} backups", human_size(found["bytes"])] if found["level"] == "green" else [found["reason"]]
    )


def _schedule(found: Row) -> list[str]:
    if "next" not in found:
        return [found["reason"]]
    last = found["last_run"] or found["last_success"]
    return [
        f"next {_moment(found['next'])}" if found["next"] else "no schedule",
        f"last {'run' if found['last_run'] else 'success'} {_moment(last)}" if last else "",
        found["state"] or "not installed",
        f"{len(found['due'])} due" if found["due"] else "",
    ]


def _moment(text: str) -> str:
    return text[:16].replace("T", " ") + "Z"
