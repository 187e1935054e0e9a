# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server of the laboratory's as a process: in a session of its own, found again by its number, stopped by it."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ansible_collections.runbook.ops.plugins.module_utils import _server
from ansible_collections.runbook.ops.plugins.module_utils._errors import CommandFailed, TimedOut

READY_SECONDS = 120.0
STOP_SECONDS = 30.0
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Component:
    """``argv`` names files below ``directory``, by which its process is told from others; ``ready`` asks how it is."""

    name: str
    directory: str
    argv: Sequence[str]
    ready: Callable[[], bool]
    configuration: bytes = b""
    """What it has read at its start: other content makes it start anew."""
    patience: float = STOP_SECONDS
    """How long it may take to end by itself, in seconds."""

    @property
    def log(self) -> str:
        return os.path.join(self.directory, "logs", f"{self.name}.log")

    def running(self) -> int | None:
        """Its process: a number that another program has by now is not taken for it."""
        with suppress(OSError, ValueError, IndexError):
            pid = int(self._noted()[0])
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                arguments = file.read().split(b"\0")
            named = os.path.basename(arguments[0]) == os.path.basename(self.argv[0]).encode()
            if named and any(self.directory.encode() in argument for argument in arguments):
                return pid
        return None

    def good(self) -> bool:
        return self.running() is not None and self.ready()

    def start(self) -> bool:
        """Start it unless it runs as it should; whether that was needed."""
        if self.running():
            if self._noted()[1:] == [self._version()]:
                return False
            self.stop()
        os.makedirs(os.path.dirname(self.log), mode=0o700, exist_ok=True)

        def prepare() -> None:
            with open(self._pid_file(), "w", encoding="ascii") as file:
                file.write(f"{os.getpid()} {self._version()}\n")

        with open(self.log, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as output:
            try:
                subprocess.Popen(
                    list(self.argv), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.directory,
                    start_new_session=True, env={"PATH": _PATH, "LC_ALL": "C", "TZ": "UTC", "HOME": self.directory},
                    preexec_fn=prepare,  # noqa: PLW1509 - the number is written down before there is anything to lose
                )  # fmt: skip
            except (OSError, subprocess.SubprocessError) as error:
                raise CommandFailed(f"{self.name} could not be started: {error}.") from None
        return True

    def wait(self) -> None:
        """Return once it is ready."""
        deadline = time.monotonic() + READY_SECONDS
        while not self.ready():
            if not self._alive():
                raise CommandFailed(f"{self.name} ended: {_server.log_end(self.log)}.")
            if time.monotonic() > deadline:
                raise TimedOut(f"{self.name} was not ready within {READY_SECONDS:.0f} s: {_server.log_end(self.log)}.")
            time.sleep(0.1)

    def stop(self, number: int = signal.SIGTERM) -> bool:
        """End it, by force where it does not end by itself; whether it ran."""
        pid = self.running()
        if pid is None:
            return False
        for attempt in (number, signal.SIGKILL):
            deadline = time.monotonic() + (self.patience if attempt == number else STOP_SECONDS)
            with suppress(ProcessLookupError):
                os.kill(pid, attempt)
            while self._alive():
                if time.monotonic() > deadline:
                    break
                time.sleep(0.02)
            else:
                return True
        raise TimedOut(f"The laboratory's {self.name} (process {pid}) does not end: end it by hand.")

    def _alive(self) -> bool:
        """Not ended; one that we started ourselves is also buried."""
        pid = int(self._noted()[0])
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        return self.running() is not None

    def _pid_file(self) -> str:
        return os.path.join(self.directory, "run", f"{self.name}.pid")

    def _noted(self) -> list[str]:
        with suppress(FileNotFoundError), open(self._pid_file(), encoding="ascii") as file:
            return file.read().split()
        return []

    def _version(self) -> str:
        return hashlib.sha256("\0".join(self.argv).encode() + self.configuration).hexdigest()[:12]
