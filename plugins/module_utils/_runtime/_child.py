# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program of our own that leads a process group, and what ends it."""

from __future__ import annotations

import os
import select
import signal
import subprocess  # nosec B404: running programs is what a runtime is for; argv lists only
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO


def start(argv: Sequence[str], env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """``argv``, with ``env`` beside our environment, with pipes for stdin, stdout and stderr, and no terminal."""
    return subprocess.Popen(  # pylint: disable=ansible-bad-function  # an argv list, no shell
        list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})}, start_new_session=True, bufsize=0,
    )  # fmt: skip


def pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    """stdin, stdout and stderr of what ``start`` started."""
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise ValueError("started otherwise")
    return process.stdin, process.stdout, process.stderr


def kill(process: subprocess.Popen[bytes]) -> None:
    """End the program and all it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def close(process: subprocess.Popen[bytes]) -> None:
    """See it ended, and close what led to it."""
    if process.poll() is None:
        kill(process)
        process.wait()
    for pipe in pipes(process):
        with suppress(OSError):
            pipe.close()


def first_line(process: subprocess.Popen[bytes], seconds: float) -> bytes | None:
    """The first line of its stdout, or what there is of it at its end; ``None`` if neither came in time."""
    stdout = pipes(process)[1].fileno()
    said, end_at = b"", time.monotonic() + seconds
    waiting = select.poll()
    waiting.register(stdout, select.POLLIN)
    while not said.endswith(b"\n"):
        if not waiting.poll(max(end_at - time.monotonic(), 0) * 1000):
            return None
        if not (data := os.read(stdout, 1)):
            break
        said += data
    return said
