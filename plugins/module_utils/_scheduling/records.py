# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a scheduled job's last run: one small file a job, and what it means at a moment."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from .._errors import Busy, Unreadable
from .._records import format_time, parse_time
from .layout import Layout
from .slots import parse_slots

JOBS = ("backup", "verify", "prune")
"""What can be scheduled, and the order it is shown in; copies are the backup's."""

FORMAT = 1
GRACE = timedelta(hours=1)
"""After a slot, until nothing having run is a fault: more than a quarter of an hour and every delay of ours."""

INTERRUPTED = "the run was cut off: the host went down, or somebody killed it"


@dataclass(frozen=True)
class Verdict:
    """``state`` is ``ok``, ``failed``, ``missed``, ``running``, ``interrupted``, ``suspended`` or ``waiting``."""

    state: str
    reason: str

    @property
    def good(self) -> bool:
        return self.state in ("ok", "running", "waiting")


@dataclass(frozen=True)
class Run:
    """The last run of a job; without ``started_at`` there was none ``since`` it was installed."""

    system: str
    job: str
    slots: tuple[str, ...]
    since: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    reason: str | None = None
    summary: str | None = None
    log: str | None = None
    running: bool = False
    """Whether somebody holds the job's lock now; not in the file."""
    suspended: bool = False
    """Whether somebody has told the cluster not to run it; not in the file."""

    @property
    def served(self) -> datetime:
        """Slots up to here are not waited for."""
        return max(self.since, self.started_at or self.since)

    def newest(self, now: datetime) -> datetime:
        return max(parse_slots("slots", slot).newest(now) for slot in self.slots)

    def next(self, now: datetime) -> datetime:
        return min(parse_slots("slots", slot).next(now) for slot in self.slots)

    def due(self, now: datetime) -> bool:
        """Whether a slot has passed that nothing ran for."""
        return self.newest(now) > self.served

    def verdict(self, now: datetime) -> Verdict:
        if self.running:
            return Verdict("running", f"since {format_time(self.started_at)}" if self.started_at else "just started")
        if self.suspended:
            return Verdict("suspended", "somebody suspended its CronJob, so no slot runs it: resume it")
        waited = self.newest(now - GRACE)
        if waited > self.served:
            return Verdict("missed", f"nothing ran for the slot {format_time(waited)}")
        return self._went(now)

    def _went(self, now: datetime) -> Verdict:
        """The last run, which served its slot."""
        if self.started_at is None:
            return Verdict("waiting", f"not run yet, the first slot is {format_time(self.next(now))}")
        if self.finished_at is None:
            return Verdict("interrupted", INTERRUPTED)
        if self.exit_code:
            return Verdict(
                "failed", self.reason or f"the run of {format_time(self.started_at)} ended with {self.exit_code}"
            )
        return Verdict("ok", f"ran {format_time(self.started_at)}")

    def to_dict(self) -> dict[str, Any]:
        values = asdict(self)
        del values["running"], values["suspended"]
        moments = {
            name: value and format_time(value)
            for name, value in values.items()
            if name.endswith("_at") or name == "since"
        }
        return {"format": FORMAT, **values, **moments}


def lock_of(layout: Layout, job: str) -> str:
    return os.path.join(layout.runs, f".{job}.lock")


@contextmanager
def held(layout: Layout, job: str) -> Iterator[None]:
    """The job's lock, which the kernel drops with the process; ``Busy`` where another run has it."""
    fd = os.open(lock_of(layout, job), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"Another run of {job} is under way: let it finish.") from None
        yield
    finally:
        os.close(fd)


def _running(layout: Layout, job: str) -> bool:
    with suppress(OSError), open(lock_of(layout, job), "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def path_of(layout: Layout, job: str) -> str:
    return os.path.join(layout.runs, f"{job}.json")


def read_run(layout: Layout, job: str) -> Run | None:
    """``None`` where the job is not scheduled."""
    path = path_of(layout, job)
    try:
        with open(path, encoding="utf-8") as file:
            read = json.load(file)
        if read.pop("format") != FORMAT:
            raise ValueError("another format")
        moments = {name: read[name] and parse_time(read[name]) for name in ("since", "started_at", "finished_at")}
        return Run(**{**read, **moments, "slots": tuple(read["slots"]), "running": _running(layout, job)})
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise Unreadable(f"{path} is no record of a run ({error}): delete it, the next run writes it anew.") from None


def read_runs(system: str, root: str = "/") -> list[Run]:
    """The last run of each scheduled job, in the order of ``JOBS``; none where no schedule is installed."""
    layout = Layout.of(system, root)
    return [run for job in JOBS if (run := read_run(layout, job))]


def write_run(layout: Layout, run: Run) -> None:
    """Whoever reads has the old record or the new one."""
    write_whole(path_of(layout, run.job), json.dumps(run.to_dict(), indent=1) + "\n", 0o644)


def write_whole(path: str, text: str, mode: int) -> None:
    """Atomically, and with its mode from the first byte on."""
    partial = f"{path}.partial"
    with open(partial, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def gauges(runs: Sequence[Run], now: datetime) -> str:
    """Prometheus' text of all of a system's jobs."""
    lines = []
    for name, text, value in _GAUGES:
        lines += [f"# HELP runbook_schedule_{name} {text}", f"# TYPE runbook_schedule_{name} gauge"]
        for run in runs:
            if (found := value(run, now)) is not None:
                number = found if isinstance(found, int) else int(found.timestamp())
                lines.append(f'runbook_schedule_{name}{{system="{run.system}",job="{run.job}"}} {number}')
    return "\n".join(lines) + "\n"


_GAUGES: tuple[tuple[str, str, Callable[[Run, datetime], datetime | int | None]], ...] = (
    ("last_run_timestamp_seconds", "When the job's last run was started.", lambda run, now: run.started_at),
    ("last_exit_code", "How the job's last run ended; 0 is success.", lambda run, now: run.exit_code),
    ("next_run_timestamp_seconds", "When the job's next slot is.", lambda run, now: run.next(now)),
)
