# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that tests start, wait for and kill."""

from __future__ import annotations

import os
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path


def until(condition: Callable[[], object], seconds: float = 180.0) -> None:
    """Wait for an event; the limit is for what never comes, on a machine however busy."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the event did not come"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether a process has ended, seen off by its parent or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def children(pid: int) -> dict[int, str]:
    """The processes that ``pid`` started, with the name of the program each runs."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _parenthesis, tail = status.read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(tail.split()[1]) == pid:
            found[int(status.parent.name)] = head.partition("(")[2]
    return found


def held() -> tuple[int, int, int]:
    """How many processes, threads and file descriptors this process has."""
    return len(children(os.getpid())), threading.active_count(), len(os.listdir("/proc/self/fd"))


def start(action: Callable[[], object]) -> int:
    """Run ``action`` in a process of its own, which begins with all that this one has loaded; its number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads here wait, and hold no lock that it needs
        pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        action()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def end(pid: int) -> int:
    """Wait for a process that ``start`` began: its return code, or less than 0 for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def in_child(action: Callable[[], object]) -> int:
    return end(start(action))
