# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private scratch directories that a killed run cannot leave behind for long.

A directory is alive while a process holds the lock on its ``lock`` file; the kernel drops that lock with the process,
so the next run tells the living from the dead without asking the clock.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ._errors import InputError, NoSpace

PREFIX = "runbook-"


def free_space(directory: str) -> int:
    """Bytes an unprivileged writer may still use where ``directory`` lies."""
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize


def require_space(directory: str, needed: int, purpose: str) -> None:
    """``NoSpace`` unless ``needed`` bytes are free."""
    free = free_space(directory)
    if free < needed:
        raise NoSpace(
            f"{directory} has {free >> 20} MiB free, {purpose} needs about {-(-needed >> 20)} MiB: "
            "free some space, or name another directory."
        )


def _dead(path: str) -> bool:
    try:
        fd = os.open(os.path.join(path, "lock"), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def sweep(parent: str, before_removal: Callable[[str], None] = lambda path: None) -> list[str]:
    """Remove the scratch directories in ``parent`` whose process is gone; returns their paths."""
    removed = []
    with os.scandir(parent) as entries:
        candidates = [
            entry.path for entry in entries if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False)
        ]
    for path in candidates:
        if _owned(path) and _dead(path):
            before_removal(path)
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path)
    return removed


def _owned(path: str) -> bool:
    with suppress(OSError):
        return os.geteuid() in (0, os.lstat(path).st_uid) and os.path.exists(os.path.join(path, "lock"))
    return False


@contextmanager
def scratch_directory(parent: str) -> Iterator[str]:
    """A new directory (0700) in ``parent``, gone when the context ends; dead siblings are swept first."""
    if not os.path.isdir(parent) or not os.access(parent, os.W_OK):
        raise InputError(
            f"work_dir is {parent!r}, which is no directory this account can write: create it or name another."
        )
    sweep(parent)
    path = tempfile.mkdtemp(prefix=PREFIX, dir=parent)
    lock = os.open(os.path.join(path, "lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)
