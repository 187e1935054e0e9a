# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs one scheduled job of a system in a pod of its cluster: what a CronJob's image starts.

usage: runbook-job JOB
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from types import FrameType

from ._kubernetes import places
from .records import JOBS
from .run import argv_of, environment, reason_of, said_by

SAID = 4000
"""Bytes of last words that Kubernetes keeps, and a little less."""

_ERROR = b"[ERROR]: "
_LEADING = ("Task failed: ", "Module failed: ", "Action failed: ")


def run(job: str, summary: str) -> tuple[int, list[str]]:
    """The playbook's exit code, and the errors that it wrote beside its output. Kubernetes ends a pod by SIGTERM to this
    process, which hands it on and waits."""
    layout = places.layout()
    passing = {**environment(layout), "ANSIBLE_PYTHON_INTERPRETER": sys.executable}
    running: list[subprocess.Popen[bytes]] = []

    def end(number: int, _frame: FrameType | None) -> None:
        if not running:
            raise SystemExit(128 + number)
        running[0].send_signal(number)

    signal.signal(signal.SIGTERM, end)  # before there is anything to hand it to: no signal of that kind is passed over
    with subprocess.Popen(  # pylint: disable=ansible-bad-function  # a program, no module
        argv_of(layout, job, summary), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=passing, cwd=layout.state
    ) as playbook:
        running.append(playbook)
        told = errors(passed_on(playbook.stderr or ()))
        return playbook.wait(), told


def passed_on(lines: Iterable[bytes]) -> Iterable[bytes]:
    for line in lines:
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
        yield line


def errors(lines: Iterable[bytes]) -> list[str]:
    """The last sentences that Ansible marks as errors, without what it puts before those of a module."""
    found: deque[str] = deque(maxlen=3)
    for line in lines:
        if line.startswith(_ERROR):
            text = line.removeprefix(_ERROR).decode(errors="replace").strip()
            for words in _LEADING:
                text = text.removeprefix(words)
            found.append(text)
    return list(dict.fromkeys(found))


def last_words(text: str) -> None:
    """Where whoever asks the cluster finds them."""
    with open(places.TERMINATION, "wb") as file:
        file.write(text.encode()[:SAID])


def main() -> int:
    parser = argparse.ArgumentParser(prog=places.PROGRAM, description=__doc__)
    parser.add_argument("job", choices=JOBS)
    job = parser.parse_args().job
    os.umask(0o077)
    summary = os.path.join(places.WORK, f"{job}.summary.json")
    code, told = run(job, summary)
    if code:
        last_words(said_by(summary) or " ".join(told) or reason_of(summary, code, "the pod's log"))
    return code % 256


if __name__ == "__main__":
    sys.exit(main())  # pylint: disable=ansible-bad-function
