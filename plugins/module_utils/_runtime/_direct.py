# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A containered program's stdout, read by root on the same kernel from the pipe itself.

The Engine hands every byte through its shim, its daemon and its socket in pieces of 32 KiB. Root on the Docker host can open
the pipe that the program writes into (``/proc/PID/fd/1``, proc(5)): what is read is what was written, as from a child of
our own, so there is nothing between the two to distrust or to digest.
"""

from __future__ import annotations

import os
import re
import select
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from . import _pipe

_LOOK_MS = 500
"""How long a pipe that gives nothing is waited for before it is asked whether anybody is left to write."""


def may() -> bool:
    """Whether this process could open another account's pipe at all."""
    return os.geteuid() == 0


def open_stdout(nonce: str, number: int) -> int | None:
    """The pipe that process ``number`` of a container writes into, which has ``nonce`` among its arguments. ``None`` where
    this host has no such process: an Engine on another kernel, a ``/proc`` that hides it."""
    for process in filter(str.isdigit, os.listdir("/proc")):  # not ``children``: it skips some while others end
        with suppress(OSError):
            if not _is(process, nonce.encode(), number):
                continue
            return _opened(f"/proc/{process}/fd/1")
    return None


def _opened(path: str) -> int | None:
    """Looked at before it is opened: whoever rules the container may have put a device there, which opening alone would touch."""
    pinned = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISFIFO(os.fstat(pinned).st_mode):
            return None
        pipe = os.open(f"/proc/self/fd/{pinned}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(pinned)
    _pipe.widen(pipe)
    return pipe


def _is(process: str, nonce: bytes, number: int) -> bool:
    """``number`` is its own in the innermost namespace that it is in."""
    if nonce not in Path(f"/proc/{process}/cmdline").read_bytes():
        return False
    found = re.search(rb"^NSpid:.*?(\d+)$", Path(f"/proc/{process}/status").read_bytes(), re.MULTILINE)
    return found is not None and int(found[1]) == number


def read(pipe: int, abandoned: Callable[[], bool]) -> Iterator[bytes]:
    """All that comes, to the end; or until nothing comes and it is ``abandoned``, its writers cut off from us."""
    waiting = select.poll()
    waiting.register(pipe, select.POLLIN)
    while True:
        if not waiting.poll(_LOOK_MS):
            if abandoned():
                return
            continue
        try:
            data = _pipe.read(pipe)
        except BlockingIOError:  # somebody else has taken it
            continue
        if not data:
            return
        yield data
