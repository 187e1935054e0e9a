# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the laboratory keeps what it made: one directory, ours alone while something there is being changed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ansible_collections.runbook.ops.plugins.module_utils._errors import InputError

from .embedded.unprivileged import make_passable

LABEL = "runbook.ops.lab"
"""On every image, container, network and volume of the laboratory."""


def home(*parts: str) -> str:
    """``RUNBOOK_LAB_DIR``, or a directory of the user's own in /var/tmp; or a path in it."""
    user = os.path.basename(os.path.expanduser("~"))
    directory = os.environ.get("RUNBOOK_LAB_DIR") or f"/var/tmp/runbook-lab-{user}"  # noqa: S108 - checked to be ours
    return os.path.join(os.path.abspath(directory), *parts)


@contextmanager
def held(name: str) -> Iterator[str]:
    """The directory of one part of the laboratory, made where it is missing; others wait until we are done with it."""
    for directory in (home(), home(name)):
        make_passable(directory)
        if os.lstat(directory).st_uid != os.geteuid() or os.path.islink(directory):
            raise InputError(f"{directory} is not a directory of this account: name another in RUNBOOK_LAB_DIR.")
    fd = os.open(home(name), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield home(name)
    finally:
        os.close(fd)
