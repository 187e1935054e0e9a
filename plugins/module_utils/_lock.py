# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One job at a time for each scope on this host, by a lock that the kernel drops with the process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ._errors import Busy, InputError
from ._records import Scope


@contextmanager
def scope_lock(work_dir: str, job: str, scope: Scope) -> Iterator[None]:
    """Hold the lock of ``job`` (``backup``, ``verify``, ...) on ``scope``; ``Busy`` names the process that has it.

    The file stays: removing it would let two processes lock two different files of one name.
    """
    path = os.path.join(work_dir, f".runbook-{os.geteuid()}-{job}-{str(scope).replace('/', '-')}.lock")
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise InputError(
            f"work_dir is {work_dir!r}, where the lock {os.path.basename(path)} cannot be made ({error.strerror}): "
            "name a directory this account can write."
        ) from None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(fd, 64).decode(errors="replace").strip() or "unknown"
            raise Busy(
                f"Another {job} of {scope} is running on this host (process {holder}): let it finish, nothing was touched."
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(fd)
