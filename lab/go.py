# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs out of the public Go modules that a ``go.mod`` demands: built once, kept for every clone of it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ansible_collections.runbook.ops.plugins.module_utils._errors import CommandFailed, InputError, RunbookError

from .command import run

BUILD_SECONDS = 3600.0
"""On a busy machine; on two idle cores the longest takes some six minutes."""
OLDEST = (1, 24)
_ENVIRONMENT = {
    "CGO_ENABLED": "0",  # programs that need no library can be the only file of an image
    "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
}  # fmt: skip


_NO_DEBUGGING = "-gcflags=all=-dwarf=false"
"""The linker drops the debugging tables, so the compiler need not make them: an eighth of its time."""


class Unavailable(RunbookError):
    """What the laboratory builds for itself is not there, and cannot be had here."""


@dataclass(frozen=True)
class Programs:
    """What one ``go build`` makes of ``packages``, so that what they share is compiled once."""

    title: str
    """What sentences call it; its directory has the same name in small letters."""
    sources: Path
    packages: tuple[str, ...]
    values: tuple[tuple[str, str], ...] = ()
    """What the linker sets, such as the version that a program says it is of."""
    also: tuple[str, ...] = ()
    """Names that the sources' own program goes by, too: it is what it is called."""
    otherwise: str = ""
    """What helps where there is no Go."""

    def ready(self) -> bool:
        """Whether they are there."""
        return os.path.isdir(self.directory())

    def directory(self) -> str:
        """Where they are: a digest of all that they are made from names it."""
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        return os.path.join(cache, "runbook-lab", f"{self._name}-{self._digest}")

    def program(self, name: str) -> str:
        return os.path.join(self.directory(), name)

    def possible(self) -> None:
        """Say in one sentence why nothing can be built here."""
        found = run(["go", "env", "GOVERSION"], timeout=60, env=_ENVIRONMENT).strip() if shutil.which("go") else ""
        version = re.match(r"go(\d+)\.(\d+)", found)
        if not version or (int(version[1]), int(version[2])) < OLDEST:
            raise Unavailable(
                f"{self.title} is built from its sources, and {f'this Go is {found}' if found else 'there is no Go here'}: "
                f"install Go {OLDEST[0]}.{OLDEST[1]} or newer{self.otherwise}."
            )

    def ensure(self) -> bool:
        """Build them where they are missing; whether that was needed. Who comes meanwhile waits; a killed build leaves nothing."""
        if self.ready():
            return False
        self.possible()
        target = self.directory()
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        with _alone(f"{target}.lock"):
            if self.ready():
                return False
            partial = f"{target}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            os.makedirs(partial)
            self._build(partial)
            for name in self.also:
                os.symlink(self._name, os.path.join(partial, name))
            os.rename(partial, target)
        return True

    def version(self, module: str) -> str:
        return demanded(self.sources, module)

    @property
    def _name(self) -> str:
        return self.title.lower()

    @property
    def _flags(self) -> str:
        """The linker's: no debugging tables, and the values."""
        return " ".join(["-s", "-w", *(f"-X={name}={value}" for name, value in self.values)])

    def _build(self, target: str) -> None:
        argv = ["go", "build", "-p", str(_compilers()), _NO_DEBUGGING, "-ldflags", self._flags, "-o", f"{target}/"]
        try:
            run([*argv, *self.packages], timeout=BUILD_SECONDS, cwd=str(self.sources), env=_ENVIRONMENT)
        except CommandFailed as error:
            raise Unavailable(f"{self.title} could not be built: {error}") from None

    @cached_property
    def _digest(self) -> str:
        """Of the sources, and of how they are built."""
        digest = hashlib.sha256(repr((_ENVIRONMENT, _NO_DEBUGGING, self.packages, self.also, self._flags)).encode())
        for path in sorted(path for path in self.sources.rglob("*") if path.is_file()):
            digest.update(f"{path.relative_to(self.sources)}\n".encode() + path.read_bytes())
        return digest.hexdigest()[:12]


def demanded(sources: Path, module: str) -> str:
    """The version of a module that ``go.mod`` demands, without its ``v``."""
    found = re.search(rf"^\s*{re.escape(module)} v(\S+)", (sources / "go.mod").read_text(), re.MULTILINE)
    if not found:
        raise InputError(f"{sources}/go.mod demands no version of {module}: name one there.")
    return found[1]


def _compilers() -> int:
    """As many at a time as there are cores, and a gigabyte and a half for each: the largest packages need that."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(os.cpu_count() or 1, memory // (3 << 29)))


@contextmanager
def _alone(path: str) -> Iterator[None]:
    with open(path, "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
