# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tar artefact read back: walked member by member, and unpacked where nothing in it can reach out.

Links are remembered, never made, so no member can be written through one.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import time
from collections.abc import Iterator
from typing import IO, cast

from .._errors import Damaged, TimedOut
from .._runtime.base import CHUNK
from .base import ArtefactReader, Place

_MOST_LINKS = 40
"""Links followed one after another before they count as a circle, as in the kernel."""


class FilesPlace(Place):
    """A private directory that a tar was unpacked into, and the links it had."""

    def __init__(self, directory: str, server_version: str) -> None:
        self.directory = directory
        self.server_version = server_version
        self.links: dict[str, str] = {}

    def readable(self, path: str) -> bool:
        """Whether what has this name was restored, and can be read to its end; links are followed inside."""
        name = os.path.normpath(path).lstrip("/")
        for _followed in range(_MOST_LINKS):
            if (onward := self._follow(name)) is None:
                break
            name = onward
        try:
            with open(os.path.join(self.directory, name), "rb") as file:
                while file.read(CHUNK):
                    pass
        except IsADirectoryError:
            return True
        except OSError:
            return False
        return True

    def _follow(self, name: str) -> str | None:
        """The name behind the first link in ``name``, ``None`` when there is none."""
        parts = name.split("/")
        for end in range(1, len(parts) + 1):
            target = self.links.get("/".join(parts[:end]))
            if target is not None:
                path = os.path.join("/", *parts[: end - 1], target, *parts[end:])
                return os.path.normpath(path).lstrip("/")
        return None

    def close(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)


class _Chunks:
    """``read(n)`` over pieces of any size."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int) -> bytes:
        data = self._rest or next(self._pieces, b"")
        self._rest = data[size:]
        return data[:size]


def members(reader: ArtefactReader) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    """Each member with its content; ``Damaged`` when the archive is broken, or when its bytes are not its manifest's."""
    name = reader.names()[0]
    pieces = reader.read(name)
    try:
        with tarfile.open(
            fileobj=cast("IO[bytes]", _Chunks(pieces)), mode="r|", bufsize=CHUNK,
            encoding="utf-8", errors="surrogateescape",
        ) as tar:  # fmt: skip
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined] # it would remember every member
                yield member, tar.extractfile(member) if member.isreg() else None
    except (tarfile.TarError, EOFError) as error:
        fault: tarfile.TarError | EOFError | None = error
    else:
        fault = None
    for _rest in pieces:  # the reader's own proof comes at the end of its bytes, and says more than tar can
        pass
    if fault is not None:
        raise Damaged(f"{name} is no sound tar archive ({fault}).")


def unpack(reader: ArtefactReader, place: FilesPlace, end: float) -> int:
    """Unpack every file below the place's directory; returns how many there are."""
    count = 0
    os.makedirs(place.directory, mode=0o700)
    for member, content in members(reader):
        path = os.path.join(place.directory, _inside(member.name))
        if member.isdir():
            os.makedirs(path, mode=0o700, exist_ok=True)
        elif member.issym() or member.islnk():
            target = member.linkname if member.issym() else "/" + member.linkname
            place.links[os.path.normpath(member.name)] = target
        elif content is not None:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            _write(path, content, end)
            count += 1
    return count


def _inside(name: str) -> str:
    if name.startswith("/") or ".." in name.split("/") or "\0" in name:
        raise Damaged(f"The archive names {name!r}, which lies outside the place it is restored to.")
    return name


def _write(path: str, content: IO[bytes], end: float) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
        while data := content.read(CHUNK):
            if time.monotonic() > end:
                raise TimedOut("The restore of the files did not finish within its timeout and was ended.")
            file.write(data)
