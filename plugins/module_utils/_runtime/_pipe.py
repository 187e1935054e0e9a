# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a program's pipe in pieces that are worth it, and writing all that is to be written.

Programs write a few KiB at a time (``pg_dump`` about ten). A reader woken for each costs itself, the writer and the
compressor behind it more than the work does: on two cores an eighth of a backup's time.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress

from .base import CHUNK

_WORTH_WAKING = CHUNK // 4
"""Or a quarter of the pipe, where the system keeps it smaller."""

_NAP_SECONDS = 0.001


def widen(pipe: int) -> None:
    """Let it hold ``CHUNK``; the system's limit may forbid it."""
    with suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, CHUNK)


def read(pipe: int) -> bytes:
    """At most ``CHUNK``; empty at the end. After little, the pipe is left alone for a moment, to fill."""
    data = os.read(pipe, CHUNK)
    if 0 < len(data) < min(_WORTH_WAKING, fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) // 4):
        time.sleep(_NAP_SECONDS)
    return data


def write(fd: int, data: bytes) -> None:
    """All of ``data``: a raw ``write`` may take only part of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
