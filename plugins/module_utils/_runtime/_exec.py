# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One program that runs elsewhere with a witness beside it: started, fed, listened to and ended, whatever carries its streams."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from .._errors import CommandFailed, RunbookError
from ._witness import DATA, HELD, Checksum, Testimony, Witness

ENDING_SECONDS = 5.0
"""A killed program's witness speaks at once, unless something that the program left behind holds the stream open."""


class Exec(ABC):
    """One program: its stdout is read by the caller, its stdin is written by a thread.

    A subclass carries the streams: what it needs for that it sets before this constructor, which calls ``_connect``."""

    arrived: Checksum | None
    """Takes what arrives of what is carried; ``None`` where nothing is."""

    def __init__(
        self, argv: Sequence[str], env: Mapping[str, str] | None, source: Iterable[bytes] | None, timeout: float,
        *, way: str | None = None,
    ) -> None:  # fmt: skip
        if any("\0" in part for part in argv):
            raise CommandFailed(f"{argv[0]} could not be started (embedded null byte): see whether its path is right.")
        self.witness = Witness(way or (HELD if source is None else DATA))
        self.arrived = Checksum()
        self._error: BaseException | None = None
        self._ending = threading.Lock()
        self._doomed = self._ended = False
        self.timed_out = False
        self._connect(self.witness.argv(argv))
        self._late = _timer(ENDING_SECONDS, self._abort)
        self._deadline = _timer(timeout, self._out_of_time)
        self._deadline.start()
        self._feeder = threading.Thread(target=self._feed, args=(source,), daemon=True)
        self._written(self.witness.environment(env or {}))
        if source is not None:
            self._feeder.start()

    @abstractmethod
    def _connect(self, argv: Sequence[str]) -> None:
        """Start ``argv`` there."""

    @abstractmethod
    def stdout(self) -> Iterator[bytes]:
        """stdout to its end, in pieces of a MiB at most; stderr goes to ``_hear`` on the way."""

    def _counted(self, carried: Iterator[bytes]) -> Iterator[bytes]:
        for data in carried:
            if self.arrived is not None:
                self.arrived.update(data)
            yield data

    @abstractmethod
    def _write(self, data: bytes) -> None:
        """All of ``data`` to stdin. ``OSError`` when nobody takes it."""

    @abstractmethod
    def _end_of_input(self) -> None:
        """stdin ends; stdout goes on."""

    @abstractmethod
    def _abort(self) -> None:
        """End the streams now: whoever reads or writes, in whatever thread, is woken."""

    @abstractmethod
    def _kill(self, pid: int) -> None:
        """End program ``pid`` of that place, and its group."""

    @abstractmethod
    def _silence(self) -> RunbookError:
        """Why nobody told how the program ended."""

    def _hear(self, said: bytes) -> None:
        self.witness.hear(said)
        if self.witness.testimony is not None:
            self._told()
        if self._doomed:  # perhaps before its number was known
            self._end_program()

    def _told(self) -> None:  # noqa: B027 - not every way must be closed by hand
        """The program has ended, and how is known: it takes no more of what its witness still swallows."""

    def finish(self) -> Testimony:
        """What the witness tells; raises what ended the program from our side."""
        self._deadline.cancel()
        if self._error is not None:
            raise self._error
        testimony = self.witness.testimony
        if testimony is None or self.timed_out:
            raise self._silence()
        return testimony

    def kill(self) -> None:
        """End the program and what it started; its witness lives to tell, for a moment."""
        with self._ending:
            if self._doomed:
                return
            self._doomed = True
            self._late.start()
        self._end_program()

    def _end_program(self) -> None:
        with self._ending, suppress(RunbookError, OSError):
            if self.witness.pid is not None and not self._ended:
                self._ended = True
                self._kill(self.witness.pid)

    def drain(self) -> None:
        """Read to the end what nobody wants any more."""
        with suppress(RunbookError, OSError):
            for _data in self.stdout():
                pass

    def close(self) -> None:
        self._deadline.cancel()
        self._late.cancel()
        self._abort()
        if self._feeder.ident is not None:
            self._feeder.join(ENDING_SECONDS)

    def _out_of_time(self) -> None:
        self.timed_out = True
        self.kill()

    def _feed(self, source: Iterable[bytes]) -> None:
        try:
            for data in source:
                if not self._written(data):
                    return
        except BaseException as error:  # raised in the caller's thread; the program must not take this for the end
            self._error = error
            self.kill()
            return
        with suppress(OSError):
            self._end_of_input()

    def _written(self, data: bytes) -> bool:
        try:
            self._write(data)
        except OSError:  # the program stopped reading, or the stream broke: the witness says which
            return False
        return True


def _timer(seconds: float, then: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), then)
    timer.daemon = True
    return timer
