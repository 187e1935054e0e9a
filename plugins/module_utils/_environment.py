# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Python environment that modules run in on a system's host: made of a lock, named after what is in it.

``environments/<digest>`` holds one, ``venv`` is a link to the one in use, ``owners`` has a file for each who asked for it.
A new one is whole before the link moves, and the one before it stays until the next change, for what still runs in it.
"""

from __future__ import annotations

import getpass
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ._errors import CommandFailed, InputError, MissingLibrary
from ._result import Action

OLDEST = (3, 11)
SECONDS = 900.0
_STAMP = "requirements.lock"
_PINNED = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", re.MULTILINE)
_SAID = 600
_PIP = ["--quiet", "--no-input", "--require-hashes", "--no-deps", "--no-compile"]
"""The lock is whole, so there is nothing to resolve; compiling takes pip half of its time, and most is never imported."""


@dataclass(frozen=True)
class Environment:
    """``directory`` is where all of it lies; ``wheels`` a directory to install from where there is no network."""

    directory: str
    lock: str
    owner: str
    wheels: str | None

    @property
    def digest(self) -> str:
        made_of = f"{sys.version_info[:2]} {os.path.realpath(sys.executable)}\n{self.lock}"
        return hashlib.sha256(made_of.encode()).hexdigest()[:16]

    @property
    def link(self) -> str:
        return os.path.join(self.directory, "venv")

    @property
    def python(self) -> str:
        return os.path.join(self.link, "bin", "python")

    def _place(self, name: str) -> str:
        return os.path.join(self.directory, "environments", name)

    @property
    def _claim(self) -> str:
        return os.path.join(self.directory, "owners", self.owner)

    def preflight(self) -> None:
        """What is missing on this host, before anything is touched."""
        if sys.version_info < OLDEST:
            raise MissingLibrary(
                f"{sys.executable} is Python {sys.version_info[0]}.{sys.version_info[1]}, this collection needs "
                f"{OLDEST[0]}.{OLDEST[1]} or newer: install one, and name it in host_python."
            )
        if not _uv() and not (importlib.util.find_spec("ensurepip") and importlib.util.find_spec("venv")):
            raise MissingLibrary(
                f"{sys.executable} cannot make virtual environments (its module ensurepip is missing): "
                "install it, on Debian with apt install python3-venv."
            )
        if self.wheels and not os.path.isdir(self.wheels):
            raise InputError(
                f"wheels is {self.wheels!r}, where this host has no directory: name one with the wheels in it."
            )
        above = self.directory
        while not os.path.exists(above):
            above = os.path.dirname(above)
        if not os.access(above, os.W_OK | os.X_OK):
            raise InputError(
                f"directory is {self.directory!r}, which {getpass.getuser()} cannot write: set become to true, or name another."
            )

    def plan(self) -> list[Action]:
        actions = []
        if not os.path.exists(os.path.join(self._place(self.digest), _STAMP)):
            actions.append(Action("install", self._place(self.digest), self._reason()))
        if self._linked() != self.digest:
            actions.append(Action("link", self.link, f"to environments/{self.digest}"))
        if not os.path.exists(self._claim):
            actions.append(Action("claim", self.link, f"for {self.owner}, so that it stays while that is installed"))
        return actions

    def plan_removal(self) -> list[Action]:
        """Nothing while somebody else uses it."""
        if not os.path.exists(self._claim):
            return []
        others = sorted(set(os.listdir(os.path.dirname(self._claim))) - {self.owner})
        if others:
            return [Action("release", self.link, f"for {self.owner}; {', '.join(others)} go on using it")]
        return [Action("remove", self.directory, f"{self.owner} was the last to use it")]

    def apply(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if action.action == "install":
                self._clear({self.digest, self._linked()})
                self._install(action.object)
            elif action.action == "link":
                with suppress(FileNotFoundError):
                    os.unlink(f"{self.link}.partial")
                os.symlink(f"environments/{self.digest}", f"{self.link}.partial")
                os.replace(f"{self.link}.partial", self.link)
            elif action.action == "claim":
                os.makedirs(os.path.dirname(self._claim), mode=0o755, exist_ok=True)
                with open(self._claim, "w", encoding="utf-8"):
                    pass
            else:
                os.unlink(self._claim)
                if action.action == "remove":
                    self._remove()

    def _install(self, target: str) -> None:
        shutil.rmtree(target, ignore_errors=True)  # what a killed run began
        os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
        lock = f"{target}.lock"
        with open(lock, "w", encoding="utf-8") as file:
            file.write(self.lock)
        uv, python = _uv(), os.path.join(target, "bin", "python")
        offline = ["--no-index", "--find-links", self.wheels] if self.wheels else []
        if uv:
            self._run([uv, "venv", "--quiet", "--no-config", "--python", sys.executable, target])
            self._run(
                [
                    uv,
                    "pip",
                    "install",
                    "--quiet",
                    "--no-config",
                    "--python",
                    python,
                    "--require-hashes",
                    *offline,
                    "-r",
                    lock,
                ]
            )
        else:
            self._run([sys.executable, "-m", "venv", target])
            self._run([python, "-m", "pip", "install", *_PIP, *offline, "-r", lock])
        os.replace(lock, os.path.join(target, _STAMP))  # from now on it is whole

    def _run(self, argv: list[str]) -> None:
        try:
            ended = subprocess.run(  # pylint: disable=ansible-bad-function  # an argv list, no shell
                argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CommandFailed(f"The environment could not be made: {error}") from None
        if ended.returncode:
            said = (ended.stderr.strip() or ended.stdout.strip())[-_SAID:]
            remedy = "" if self.wheels else " On a host without network, give it a directory of wheels in host_wheels."
            raise CommandFailed(f"The environment could not be made ({os.path.basename(argv[0])}): {said}.{remedy}")

    def _linked(self) -> str | None:
        try:
            return os.path.basename(os.readlink(self.link))
        except OSError:
            return None

    def _reason(self) -> str:
        """What the new environment has that the one in use has not."""
        linked = self._linked()
        try:
            with open(os.path.join(self._place(linked or ""), _STAMP), encoding="utf-8") as file:
                found = dict(_PINNED.findall(file.read()))
        except OSError:
            return "there is none yet"
        wanted = dict(_PINNED.findall(self.lock))
        changes = [f"{name} {found.get(name, '-')} -> {wanted.get(name, '-')}" for name in sorted({*found, *wanted})
                   if found.get(name) != wanted.get(name)]  # fmt: skip
        return ", ".join(changes) or "another Python, or other files of the same versions"

    def _clear(self, keep: set[str | None]) -> None:
        for name in self._made():
            if name.removesuffix(".lock") not in keep:
                shutil.rmtree(self._place(name), ignore_errors=True)
                with suppress(OSError):
                    os.unlink(self._place(name))

    def _made(self) -> Iterator[str]:
        with suppress(FileNotFoundError):
            yield from os.listdir(os.path.dirname(self._place("_")))

    def _remove(self) -> None:
        self._clear(set())
        with suppress(FileNotFoundError):
            os.unlink(self.link)
        for directory in (os.path.dirname(self._claim), os.path.dirname(self._place("_")), self.directory):
            with suppress(OSError):  # something else of ours is there
                os.rmdir(directory)


def _uv() -> str | None:
    """uv, where the host has it: it installs ten times faster than pip."""
    return shutil.which("uv")
