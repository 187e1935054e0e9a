# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private scratch directories that a killed run cannot leave behind for long.

A directory is alive while a process holds the lock on its ``lock`` file; the kernel drops that lock with the process,
so the next run tells the living from the dead without asking the clock. The file says whose it
is, from when its lock is held: a directory that merely looks like one of ours is never removed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from ._errors import InputError, NoSpace, RunbookError

PREFIX = "runbook-"

_NAME = re.compile(rf"{PREFIX}[a-z0-9_]{{8}}")
_MARKER = b"A runbook.ops scratch directory: removed once no process holds a lock on this file.\n"


def unusable(directory: str, error: OSError, variable: str | None = None) -> RunbookError:
    """The sentence for a ``directory`` that cannot be written in, or looked into."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"{directory} is full ({error.strerror}): free some space, or name another directory.")
    named = f"{variable} is {directory!r}, which" if variable else directory
    return InputError(
        f"{named} is no directory this account can read and write ({error.strerror}): create it or name another."
    )


def free_space(directory: str) -> int:
    """Bytes an unprivileged writer may still use where ``directory`` lies."""
    try:
        status = os.statvfs(directory)
    except OSError as error:
        raise unusable(directory, error) from None
    return status.f_bavail * status.f_frsize


def require_space(directory: str, needed: int, purpose: str) -> None:
    """``NoSpace`` unless ``needed`` bytes are free."""
    free = free_space(directory)
    if free < needed:
        raise NoSpace(
            f"{directory} has {free >> 20} MiB free, {purpose} needs about {-(-needed >> 20)} MiB: "
            "free some space, or name another directory."
        )


def sweep(parent: str) -> list[str]:
    """Remove the scratch directories in ``parent`` whose process is gone; returns their paths."""
    with os.scandir(parent) as entries:
        dead = [entry.path for entry in entries if _NAME.fullmatch(entry.name) and _dead(entry.path)]
    for path in dead:
        shutil.rmtree(path, ignore_errors=True)
    return dead


def _dead(path: str) -> bool:
    """Whether ``path`` is a scratch directory, ours to remove, that nobody holds any more."""
    try:
        owner = os.lstat(path).st_uid
        # Neither followed nor waited for: the file is not known to be ours yet.
        fd = os.open(os.path.join(path, "lock"), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != owner or os.geteuid() not in (0, owner):
            return False
        if os.read(fd, len(_MARKER) + 1) != _MARKER:
            return False
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


@contextmanager
def scratch_directory(parent: str, variable: str = "work_dir") -> Iterator[str]:
    """A new directory (0700) in ``parent``, gone when the context ends; dead siblings are swept first.

    ``variable`` is where the operator named ``parent``.
    """
    try:
        sweep(parent)
        path = tempfile.mkdtemp(prefix=PREFIX, dir=parent)
    except OSError as error:
        raise unusable(parent, error, variable) from None
    lock = None
    try:
        try:
            lock = _locked(path)
        except OSError as error:
            raise unusable(parent, error, variable) from None
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _locked(path: str) -> int:
    """The lock of the scratch directory ``path``; marked once it is held, so that no sweep ever finds it free."""
    fd = os.open(os.path.join(path, "lock"), os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.write(fd, _MARKER)
    except BaseException:
        os.close(fd)
        raise
    return fd
