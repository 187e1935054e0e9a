# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WHERE a command runs: the contract between an engine and a place that has processes, files and ports.

``runtime.resolve(service)`` finds the one healthy instance of a service; everything else is asked of
that instance. Binary, streaming, bounded memory, bounded stderr, no TTY, always time-limited. One suite,
``tests/contract/test_runtime.py``, holds every implementation to this text.
"""

from __future__ import annotations

import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from .._errors import InputError
from .releases import Event, Release
from .services import Service

Sink = Callable[[bytes], None]
"""Takes the next bytes of a stream; an exception it raises ends the stream and the program behind it."""

CHUNK = 1 << 20
"""Bytes handed on at a time: large enough that hashing releases the GIL, small enough to bound memory."""

STDERR_LIMIT = 16 * 1024
"""Bytes of stderr that are kept: the last ones, where programs say why they gave up."""


@dataclass(frozen=True)
class Completed:
    """A program that ended by itself, whatever its return code; stdout is bounded by ``limit``."""

    returncode: int
    stdout: bytes
    stderr: str


@dataclass(frozen=True)
class Streamed:
    """A stream that ended well: the program returned 0, and these are the bytes it wrote: read from its own pipe, or proved
    against what was counted and digested at the source. Who keeps them takes a sha256 of his own."""

    size: int


def failure(argv: Sequence[str], returncode: int, stderr: str) -> str:
    """The sentence for a program that failed by itself."""
    end = (
        f"was ended by {signal.Signals(-returncode).name}"
        if returncode < 0
        else f"failed with return code {returncode}"
    )
    said = stderr.splitlines()[-3:]
    return f"{os.path.basename(argv[0])} {end}{': ' + ' '.join(said) if said else ', and said nothing'}."


@dataclass(frozen=True)
class Limits:
    """What a throw-away place may take: bytes of memory, cores, and bytes of files."""

    memory: int
    cpus: float
    files: int = 0


class Instance(ABC):
    """One running instance of a service. argv is kept exactly; ``env`` may carry secrets and is never shown."""

    name: str
    on_this_host: bool = True
    """Whether the memory that its programs take is that of the module's own host."""

    @abstractmethod
    def run(
        self, argv: Sequence[str], *, timeout: float, stdin: bytes = b"", env: Mapping[str, str] | None = None,
        limit: int = 1 << 20,
    ) -> Completed:  # fmt: skip
        """Run a control command. ``TimedOut`` after ``timeout`` seconds, ``CommandFailed`` if it cannot start
        or writes more than ``limit`` bytes; a non-zero return code is the caller's to judge."""

    @abstractmethod
    def stream(
        self, argv: Sequence[str], sink: Sink, *, timeout: float, env: Mapping[str, str] | None = None
    ) -> Streamed:
        """Run a program and hand its stdout to ``sink``: for much of it, of which a little may wait for more. Success is the
        return code, and count and digest where anybody carried the bytes; anything else raises ``CommandFailed`` or ``TimedOut``
        with the end of stderr, and the program is gone."""

    @abstractmethod
    def feed(
        self, argv: Sequence[str], source: Iterable[bytes], *, timeout: float, env: Mapping[str, str] | None = None,
        limit: int = 1 << 20,
    ) -> Completed:  # fmt: skip
        """Run a program with ``source`` as its stdin, however long; as ``run`` otherwise."""

    @abstractmethod
    def fetch(self, path: str, sink: Sink, *, timeout: float) -> Streamed:
        """Copy a file out, as it was when it was opened."""

    @abstractmethod
    def place(self, path: str, source: Iterable[bytes], *, timeout: float, mode: int = 0o600) -> Streamed:
        """Copy a file in, atomically: ``path`` has the old content or the whole new one."""

    @abstractmethod
    def endpoint(self, host: str, port: int) -> tuple[str, int]:
        """Where the module's own process reaches a TCP port of this instance."""

    def twin(self, limits: Limits, user: str) -> AbstractContextManager[Instance] | None:
        """A throw-away place with the same programs and none of the data, whose programs run as ``user``; gone when the
        context ends or this process does. ``NoSpace`` where there is no room for its files. ``None`` where it is the host's
        programs that serve, as its child processes."""
        return None


class Runtime(ABC):
    """A platform."""

    type: str
    services: bool = True
    """Whether it tells services apart; where it does not, naming one is a mistake that ``resolve`` tells without looking."""
    release: str | None = None
    """The release that the description says must be there."""

    @abstractmethod
    def resolve(self, service: str, variable: str = "service") -> Instance:
        """The one healthy instance of ``service``; ``InputError`` names what there is when there is none, or several,
        and the ``variable`` that named it."""

    def inspect_services(self) -> list[Service]:
        """Every service of the system with all its replicas, running or not; empty where services are not told apart."""
        return []

    def inspect_releases(self) -> list[Release]:
        """The releases that the services came with; empty where the platform knows of none."""
        return []

    def recent_warnings(self) -> list[Event]:
        """What the platform warned of lately; empty where it keeps no such record."""
        return []

    def manifest(self, name: str, variable: str) -> bytes:
        """What an object of the platform, such as ``secret/jwt-keys``, is made again from; ``InputError`` where it has none."""
        raise InputError(f"{variable} has {name!r}, an object of a cluster, but the runtime is {self.type}: remove it.")

    def directories(self) -> list[str]:
        """Where on this host the platform itself keeps data."""
        return []
