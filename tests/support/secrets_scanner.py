# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks for secrets where none may be: in texts and files, and, while something runs, in every process' arguments.

with Watch(secrets, [temporary]) as watch:
    ...
assert watch.leaks == set() and "pg_dump" in watch.programs
"""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote

_SMALL = 1 << 20
"""Ansible's module files, arguments and all, are smaller."""


@dataclass(frozen=True, order=True)
class Leak:
    """A secret's name, never its value, and where it was seen."""

    secret: str
    where: str


def disguises(value: str) -> set[bytes]:
    """A secret as it may be written: plain, percent-encoded, in hex, or in base64 at whatever place in a longer text."""
    plain = value.encode()
    found = {plain, quote(value, safe="").encode(), plain.hex().encode()}
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + plain)
        found.add(encoded[(0, 2, 3)[before] : -4])  # without the characters that the neighbours have a part in
    return found


class Secrets:
    """What to look for, by name."""

    def __init__(self, values: Mapping[str, str]) -> None:
        assert all(len(value) >= 12 for value in values.values()), "a short secret would be found by chance"
        self._disguises = [(name, disguise) for name, value in values.items() for disguise in disguises(value)]

    def in_bytes(self, data: bytes, where: str) -> set[Leak]:
        return {Leak(name, where) for name, disguise in self._disguises if disguise in data}

    def in_text(self, text: str, where: str) -> set[Leak]:
        return self.in_bytes(text.encode(errors="surrogateescape"), where)

    def in_files(self, places: Iterable[Path], *, except_for: Sequence[str] = ()) -> set[Leak]:
        """In every file of the places, but for those whose names match."""
        return {
            leak
            for place in places
            for path in files(place)
            if not any(path.match(pattern) for pattern in except_for)
            for leak in self.in_bytes(path.read_bytes(), str(path))
        }


def files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    for directory, _directories, names in os.walk(place):
        yield from (Path(directory, name) for name in names)


class Watch:
    """Looks at the arguments of every process, and at the small files of ``places``, over and over until the end."""

    def __init__(self, secrets: Secrets, places: Sequence[Path] = ()) -> None:
        self.leaks: set[Leak] = set()
        self.programs: set[str] = set()
        self.rounds = 0
        self._secrets = secrets
        self._places = places
        self._seen: dict[str, object] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.01):
            self._processes()
            for place in self._places:
                self._under(place)
            self.rounds += 1

    def _processes(self) -> None:
        for number in filter(str.isdigit, os.listdir("/proc")):
            line = _content(f"/proc/{number}/cmdline")
            if line and self._seen.get(number) != line:
                self._seen[number] = line
                program = os.path.basename(line.split(b"\0", 1)[0].decode(errors="replace"))
                self.programs.add(program.split(":")[0])
                self.leaks |= self._secrets.in_bytes(line, f"arguments of {program}")

    def _under(self, place: Path) -> None:
        for path in files(place):
            try:
                status = path.lstat()
            except OSError:
                continue
            state = (status.st_ino, status.st_size, status.st_mtime_ns)
            if status.st_size <= _SMALL and self._seen.get(str(path)) != state:
                self._seen[str(path)] = state
                self.leaks |= self._secrets.in_bytes(_content(str(path)), str(path))


def _content(path: str) -> bytes:
    """What is there, nothing when it has gone."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
