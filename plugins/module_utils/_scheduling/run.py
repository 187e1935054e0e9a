# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs one scheduled job of this host, and writes down how it went: what timers and cron start.

usage: python -m ...run [--if-due | --ended] SYSTEM JOB
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from contextlib import ExitStack, suppress
from dataclasses import replace

from .._errors import Busy, RunbookError
from .._records import utc_now
from .layout import Layout
from .records import INTERRUPTED, JOBS, Run, gauges, held, read_run, read_runs, write_run, write_whole
from .units import BUSY

PLAYBOOKS = {
    "backup": ("runbook.ops.backup", "backup_report_file"),
    "verify": ("runbook.ops.verify_backups", "backup_verify_report_file"),
    "prune": ("runbook.ops.prune_backups", "backup_prune_report_file"),
}
"""Each job's playbook, and its role's variable for the summary as JSON."""


def environment(layout: Layout) -> dict[str, str]:
    """The caller's, but for Ansible's settings: those are a file of ours, and none elsewhere changes them."""
    inherited = {
        name: value for name, value in os.environ.items() if name != "PYTHONPATH" and not name.startswith("ANSIBLE_")
    }
    home = os.path.expanduser("~")
    return {"HOME": home, "LANG": "C.UTF-8", **inherited, "ANSIBLE_CONFIG": layout.settings}


def argv_of(layout: Layout, job: str, summary: str) -> list[str]:
    """The job's playbook, by this Python's own Ansible."""
    playbook, report = PLAYBOOKS[job]
    told = json.dumps({report: summary})
    return [
        sys.executable, "-m", "ansible", "playbook", "--inventory", layout.inventory, playbook, "--extra-vars", told,
    ]  # fmt: skip


def run(layout: Layout, job: str, summary: str, log: str | None) -> int:
    """The playbook's exit code; what it says goes to the journal, or into ``log``, which holds the last run."""
    argv = argv_of(layout, job, summary)
    with ExitStack() as opened:
        output = opened.enter_context(open(log, "wb", opener=_private)) if log else None
        return subprocess.run(  # pylint: disable=ansible-bad-function  # a program, no module
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment(layout), cwd=layout.state,
            check=False,
        ).returncode  # fmt: skip


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


def reason_of(summary: str, exit_code: int, log: str | None) -> str:
    """Why the run failed, in the words of its own summary where it got that far."""
    return said_by(summary) or f"ansible-playbook ended with {exit_code}: see {log or 'the journal'}"


def said_by(summary: str) -> str:
    """What the run's own summary says has failed, if there is one."""
    with suppress(OSError, ValueError, KeyError, TypeError), open(summary, encoding="utf-8") as file:
        return " ".join(str(sentence) for sentence in json.load(file)["failed"])
    return ""


def scheduled(layout: Layout, system: str, job: str) -> tuple[Run, str]:
    """The job's record as it stands, and where metrics go."""
    with open(layout.schedule, encoding="utf-8") as file:
        schedule = json.load(file)
    found = read_run(layout, job) or Run(system, job, tuple(schedule["jobs"][job]), utc_now())
    return found, schedule["metrics_file"]


def write_down(layout: Layout, state: Run, metrics_file: str) -> None:
    write_run(layout, state)
    if metrics_file:
        with suppress(OSError):  # a gauge that cannot be written must not be why there is no backup
            write_whole(metrics_file, gauges(read_runs(state.system), utc_now()), 0o644)


def start(layout: Layout, system: str, job: str, *, if_due: bool) -> int:
    with held(layout, job):
        found, metrics_file = scheduled(layout, system, job)
        if if_due and not found.due(utc_now()):
            return 0
        summary = os.path.join(layout.runs, f"{job}.summary.json")
        log = None if "JOURNAL_STREAM" in os.environ else os.path.join(layout.runs, f"{job}.log")
        with suppress(FileNotFoundError):
            os.unlink(summary)
        state = replace(
            found,
            started_at=utc_now(),
            finished_at=None,
            exit_code=None,
            reason=None,
            summary=None,
            log=log,
            running=False,
        )
        write_down(layout, state, metrics_file)
        code = run(layout, job, summary, log)
        state = replace(
            state, finished_at=utc_now(), exit_code=code,
            reason=reason_of(summary, code, log) if code else None,
            summary=summary if os.path.exists(summary) else None,
        )  # fmt: skip
        write_down(layout, state, metrics_file)
        return code


def end(layout: Layout, system: str, job: str) -> int:
    """Write an end to a run that could not do so itself: it was killed."""
    with held(layout, job):
        state, metrics_file = scheduled(layout, system, job)
        if state.started_at and not state.finished_at:
            told = " ".join(
                os.environ[name] for name in ("SERVICE_RESULT", "EXIT_CODE", "EXIT_STATUS") if name in os.environ
            )
            reason = f"{INTERRUPTED} ({told})" if told else INTERRUPTED
            ended = replace(state, finished_at=utc_now(), exit_code=1, reason=reason, running=False)
            write_down(layout, ended, metrics_file)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="run", description=__doc__)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--if-due", action="store_true", help="only if a slot has passed that nothing ran for")
    how.add_argument("--ended", action="store_true", help="write down the end of a run that was killed")
    parser.add_argument("system")
    parser.add_argument("job", choices=JOBS)
    given = parser.parse_args()
    layout = Layout.of(given.system)
    os.umask(0o077)
    try:
        if given.ended:
            return end(layout, given.system, given.job)
        return start(layout, given.system, given.job, if_due=given.if_due)
    except Busy as busy:
        print(busy, file=sys.stderr)  # pylint: disable=ansible-bad-function
        return 0 if given.if_due or given.ended else BUSY
    except (RunbookError, OSError) as error:
        print(error, file=sys.stderr)  # pylint: disable=ansible-bad-function
        return 1


if __name__ == "__main__":
    sys.exit(main())  # pylint: disable=ansible-bad-function
