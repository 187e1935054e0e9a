# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts that are installed on a host: files, links and an account's own crontab, each compared before it is written."""

from __future__ import annotations

import difflib
import getpass
import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from .._errors import CommandFailed
from .._result import Action
from .records import write_whole
from .units import PATH, in_crontab

_SHOWN = 6
"""Changed lines that a reason quotes."""


class Item(ABC):
    """Something with a text, where it should be; ``None`` is its absence."""

    path: str

    @abstractmethod
    def found(self) -> str | None: ...

    @abstractmethod
    def wanted(self) -> str | None: ...

    @abstractmethod
    def write(self) -> None: ...

    def shown(self, text: str) -> str:
        """What may be seen of a text."""
        return text

    def action(self) -> Action | None:
        """What is to be done to it, or ``None`` where it is as it should be."""
        found, wanted = self.found(), self.wanted()
        if found == wanted:
            return None
        if found is None:
            return Action("install", self.path, "it is not there")
        if wanted is None:
            return Action("remove", self.path, "it is no longer wanted")
        return Action("change", self.path, difference(self.shown(found), self.shown(wanted)))


def difference(found: str, wanted: str) -> str:
    lines = list(difflib.unified_diff(found.splitlines(), wanted.splitlines(), n=0, lineterm=""))
    changed = [f"{line[0]} {line[1:].strip()}" for line in lines[2:] if not line.startswith("@@")]
    more = f"; and {len(changed) - _SHOWN} lines more" if len(changed) > _SHOWN else ""
    return "; ".join(changed[:_SHOWN]) + more if changed else "a credential, which is not shown"


@dataclass(frozen=True)
class File(Item):
    """``show`` takes out of a text what must not be seen."""

    path: str
    text: str | None
    mode: int = 0o644
    show: Callable[[str], str] = str

    def found(self) -> str | None:
        try:
            with open(self.path, encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def wanted(self) -> str | None:
        return self.text

    def shown(self, text: str) -> str:
        return self.show(text)

    def action(self) -> Action | None:
        action = super().action()
        if action or self.text is None or (mode := os.stat(self.path).st_mode & 0o777) == self.mode:
            return action
        return Action("change", self.path, f"its mode is {mode:04o}, not {self.mode:04o}")

    def write(self) -> None:
        if self.text is not None:
            os.makedirs(os.path.dirname(self.path), mode=0o755, exist_ok=True)
            write_whole(self.path, self.text, self.mode)
        else:
            with suppress(FileNotFoundError):
                os.unlink(self.path)


@dataclass(frozen=True)
class Link(Item):
    path: str
    target: str | None

    def found(self) -> str | None:
        try:
            return os.readlink(self.path)
        except OSError:
            return None

    def wanted(self) -> str | None:
        return self.target

    def write(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self.path)
        if self.target is not None:
            os.makedirs(os.path.dirname(self.path), mode=0o755, exist_ok=True)
            os.symlink(self.target, self.path)


class Crontab(Item):
    """One system's block in this account's crontab; what else is there stays."""

    def __init__(self, system: str, lines: str | None) -> None:
        self.path = f"the crontab of {getpass.getuser()}"
        self._system = system
        self._lines = lines or ""

    def found(self) -> str | None:
        listed = _crontab("-l")
        return listed.stdout if listed.returncode == 0 and listed.stdout else None

    def wanted(self) -> str | None:
        return in_crontab(self.found() or "", self._system, self._lines) or None

    def write(self) -> None:
        wanted = self.wanted()
        ended = _crontab("-", wanted) if wanted else _crontab("-r")
        if ended.returncode:
            raise CommandFailed(f"crontab refused {self.path}: {ended.stderr.strip()}")


def _crontab(option: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # pylint: disable=ansible-bad-function  # an argv list, no shell
        [shutil.which("crontab") or "crontab", option], input=text, capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": os.environ.get("PATH", PATH), "LC_ALL": "C"},
    )  # fmt: skip
