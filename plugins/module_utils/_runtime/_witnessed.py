# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs and files of a place that is reached by an exec alone, with a witness beside each program."""

from __future__ import annotations

import os
import secrets
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress

from .._errors import CommandFailed, RunbookError, TimedOut
from ._exec import Exec
from ._witness import Checksum, Testimony
from .base import Completed, Instance, Sink, Streamed, failure

_CONTROL_SECONDS = 60.0
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class WitnessedInstance(Instance):
    """A container or pod; a subclass starts the programs."""

    @abstractmethod
    def _started(
        self, argv: Sequence[str], env: Mapping[str, str] | None, source: Iterable[bytes] | None, timeout: float
    ) -> Exec:
        """``argv`` begun, with ``source`` as its stdin, if any. ``CommandFailed`` where nothing can be begun."""

    def run(
        self, argv: Sequence[str], *, timeout: float, stdin: bytes = b"", env: Mapping[str, str] | None = None,
        limit: int = 1 << 20,
    ) -> Completed:  # fmt: skip
        return self._collect(argv, [stdin] if stdin else None, env, timeout, limit)

    def feed(
        self, argv: Sequence[str], source: Iterable[bytes], *, timeout: float, env: Mapping[str, str] | None = None,
        limit: int = 1 << 20,
    ) -> Completed:  # fmt: skip
        return self._collect(argv, source, env, timeout, limit)

    def stream(
        self, argv: Sequence[str], sink: Sink, *, timeout: float, env: Mapping[str, str] | None = None
    ) -> Streamed:
        return self._judged(argv, self._started(argv, env, None, timeout), timeout, sink)

    def _judged(self, argv: Sequence[str], running: Exec, timeout: float, sink: Sink) -> Streamed:
        streamed, testimony, said = self._passed(argv, running, timeout, sink)
        if testimony.returncode != 0:
            raise CommandFailed(failure(argv, testimony.returncode, said))
        return streamed

    def _collect(
        self, argv: Sequence[str], source: Iterable[bytes] | None, env: Mapping[str, str] | None, timeout: float,
        limit: int,
    ) -> Completed:  # fmt: skip
        kept = bytearray()

        def keep(data: bytes) -> None:
            kept.extend(data)
            if len(kept) > limit:
                raise CommandFailed(f"{os.path.basename(argv[0])} wrote more than {limit} bytes; it was ended.")

        _streamed, testimony, said = self._passed(argv, self._started(argv, env, source, timeout), timeout, keep)
        return Completed(testimony.returncode, bytes(kept), said)

    def _passed(
        self, argv: Sequence[str], running: Exec, timeout: float, sink: Sink
    ) -> tuple[Streamed, Testimony, str]:
        """All of a program's stdout to ``sink``, proved to be what the program wrote."""
        with closing(running):
            size = 0
            try:
                for data in running.stdout():
                    if not running.timed_out:
                        size += len(data)
                        sink(data)
            except BaseException:
                running.kill()
                running.drain()
                raise
            program = os.path.basename(argv[0])
            if running.timed_out:
                raise TimedOut(f"{program} did not finish within {timeout:g} s and was ended.")
            testimony = running.finish()
            if reason := running.witness.could_not_start:
                raise CommandFailed(
                    f"{argv[0]} could not be started ({reason}) in {self.name}: install it in its image, or see whether its "
                    "path is right."
                )
            if testimony.failed:
                said = running.witness.said
                raise CommandFailed(
                    f"{testimony.failed.capitalize()} what {program} wrote failed in {self.name}{f' ({said})' if said else ''}, so not "
                    "all of it came: see whether its memory or processes are limited too tightly, and try again."
                )
            if running.arrived is not None:
                self._compare(program, running.arrived, testimony, "packed " if running.witness.packed else "")
            return Streamed(size), testimony, running.witness.said

    def _compare(self, program: str, arrived: Checksum, testimony: Testimony, packed: str) -> None:
        if testimony.digest is None:
            raise CommandFailed(
                f"The image of {self.name} has no cksum, with which a stream out of it is proved whole: use an image that has it."
            )
        wrote = testimony.digest[1]
        if testimony.digest != (arrived.value, arrived.size):
            raise CommandFailed(
                f"{program} wrote {wrote} {packed}bytes in {self.name}, of which {arrived.size} arrived"
                f"{' changed' if arrived.size == wrote else ''}: the stream cannot be trusted, try again."
            )

    # Files: what ``cat``, ``dd``, ``stat`` and their like do, in every image.

    def fetch(self, path: str, sink: Sink, *, timeout: float) -> Streamed:
        self._judge(path, "read", self._kind(path), ("regular file", "regular empty file"))
        try:
            return self.stream(["cat", path], sink, timeout=timeout)
        except TimedOut:
            raise TimedOut(f"Reading {path} did not finish within {timeout:g} s and was ended.") from None

    def place(self, path: str, source: Iterable[bytes], *, timeout: float, mode: int = 0o600) -> Streamed:
        end = time.monotonic() + timeout
        partial = f"{path}.{secrets.token_hex(4)}.partial"
        sent = Checksum()

        def counted() -> Iterator[bytes]:
            for data in source:
                sent.update(data)
                yield data

        if self._kind(path) == "directory":
            self._judge(path, "written", "directory", ())
        try:
            self._control(path, ["install", "-m", "600", "/dev/null", partial])  # private before it holds anything
            written = self.feed(["dd", f"of={partial}", "bs=64k", "conv=fsync"], counted(), timeout=timeout)
            self._judge(path, "written", _complaint(written), (None,))
            told = self._control(path, ["cksum", partial]).split()
            if [int(part) for part in told[:2]] != [sent.value, sent.size]:
                raise CommandFailed(f"{path} in {self.name} did not take all bytes as they were sent: try again.")
            self._control(path, ["chmod", f"{mode:o}", partial])
            if time.monotonic() > end:
                raise TimedOut(f"Writing {path} did not finish within {timeout:g} s and was ended.")
            self._control(path, ["mv", "-f", partial, path])
            return Streamed(sent.size)
        except TimedOut:
            raise TimedOut(f"Writing {path} did not finish within {timeout:g} s and was ended.") from None
        finally:
            with suppress(RunbookError):
                self.run(["rm", "-f", partial], timeout=_CONTROL_SECONDS)

    def _kind(self, path: str) -> str:
        """``stat``'s word for it, or why there is none."""
        ended = self.run(["stat", "-L", "-c", "%F", path], timeout=_CONTROL_SECONDS)
        return _complaint(ended) or ended.stdout.decode().strip()

    def _control(self, path: str, argv: Sequence[str]) -> str:
        ended = self.run(argv, timeout=_CONTROL_SECONDS)
        self._judge(path, "written", _complaint(ended), (None,))
        return ended.stdout.decode()

    def _judge(self, path: str, verb: str, found: str | None, good: Sequence[str | None]) -> None:
        if found not in good:
            raise CommandFailed(
                f"{path} could not be {verb} ({found}): see whether the path is right in {self.name} and its account may."
            )


def _complaint(ended: Completed) -> str | None:
    """The system's words at the end of ``cat: /x: No such file or directory``."""
    if ended.returncode == 0:
        return None
    return ended.stderr.splitlines()[-1].rpartition(": ")[2] if ended.stderr else f"return code {ended.returncode}"
