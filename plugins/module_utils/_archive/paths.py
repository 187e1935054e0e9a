# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys as paths below a directory that others write to: no component is followed that is a symbolic link."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .._errors import Refused

PARTIAL = ".runbook-partial"
"""How the names of files end that are being written."""

OURS = re.compile(rf"\.[0-9a-f]{{16}}{re.escape(PARTIAL)}")
"""Their whole name; an application's own files may end as they please."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def components(label: str, key: str) -> list[str]:
    """The names that a key consists of; ``Refused`` where it could lead out of the directory, or cannot be a file."""
    names = key.split("/")
    if "" in names or "." in names or ".." in names or "\0" in key or OURS.fullmatch(names[-1]):
        raise Refused(f"{label}: {key!r} cannot be a file below the directory: correct its row in the index.")
    return names


@contextmanager
def parent_of(label: str, root: str, key: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
    """A descriptor of the directory that a key's file lies in, and the file's name. Directories that are made get the
    owner and the mode of the one they are in."""
    *directories, name = components(label, key)
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for directory in directories:
            inner = _enter(fd, directory, make)
            os.close(fd)
            fd = inner
        yield fd, name
    finally:
        os.close(fd)


def _enter(fd: int, directory: str, make: bool) -> int:
    try:
        return os.open(directory, _DIRECTORY, dir_fd=fd)
    except FileNotFoundError:
        if not make:
            raise
    with suppress(FileExistsError):
        os.mkdir(directory, 0o700, dir_fd=fd)
        inner, outer = os.open(directory, _DIRECTORY, dir_fd=fd), os.fstat(fd)
        os.fchown(inner, outer.st_uid, outer.st_gid)
        os.fchmod(inner, outer.st_mode & 0o7777)
        return inner
    return os.open(directory, _DIRECTORY, dir_fd=fd)
