# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenPGP programs as filters: plaintext in at one end, ciphertext out at the other, or the reverse.

One thread feeds and drains the program by turns, so neither end can wait for the other, and what the caller's sink
raises is raised to the caller. Memory is a few pipe-fuls, whatever the size.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import subprocess  # nosec B404: argv lists only
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from types import TracebackType
from typing import IO

from .._errors import CommandFailed, MissingLibrary, TimedOut
from .._runtime.base import CHUNK, STDERR_LIMIT, Sink
from .base import Decryptor, Encryptor

STALL = 300.0
"""Seconds that a program may neither take nor give a byte before it is ended."""


class Filter(AbstractContextManager["Filter"]):
    """A running program between a stream and its transformation; ended when the context is left."""

    def __init__(self, argv: Sequence[str], stall: float = STALL) -> None:
        self.name = os.path.basename(argv[0])
        self.deaf = False
        """Whether the program stopped reading before its input ended."""
        self.returncode = 0
        self._stall = stall
        self._said = b""
        try:
            self._process = subprocess.Popen(  # pylint: disable=ansible-bad-function  # an argv list, no shell
                list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                bufsize=0, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise MissingLibrary(f"{argv[0]} could not be started: {error.strerror}.") from None
        self._stdin, self._stdout, self._stderr = map(_pipe, self._pipes())
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stdout, selectors.EVENT_READ)
        self._selector.register(self._stderr, selectors.EVENT_READ)

    def _pipes(self) -> list[IO[bytes]]:
        process = self._process
        return [pipe for pipe in (process.stdin, process.stdout, process.stderr) if pipe is not None]

    @property
    def stderr(self) -> str:
        """The end of what the program said."""
        return self._said.decode(errors="replace").strip()

    @property
    def last_words(self) -> str:
        """The same in one line, for a message."""
        return " ".join(self.stderr.split())[-300:]

    def through(self, data: bytes) -> Iterator[bytes]:
        """Hand in ``data``; yields what the program has ready meanwhile."""
        rest = memoryview(data)
        if rest and not self.deaf:
            self._selector.register(self._stdin, selectors.EVENT_WRITE)
        while rest and not self.deaf:
            for fd in self._ready():
                if fd != self._stdin:
                    yield from self._read(fd)
                    continue
                try:
                    rest = rest[os.write(fd, rest) :]
                except BrokenPipeError:
                    self.deaf = True
        with suppress(KeyError):
            self._selector.unregister(self._stdin)

    def end(self) -> Iterator[bytes]:
        """End the input; yields the rest and leaves ``returncode`` and ``stderr``."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        while self._stdout in self._selector.get_map():
            for fd in self._ready():
                yield from self._read(fd)
        try:
            self.returncode = self._process.wait(self._stall)
        except subprocess.TimeoutExpired:
            raise self._stalled() from None
        with suppress(BlockingIOError):  # a daemon it left behind may hold stderr open
            for _nothing in self._read(self._stderr):
                pass

    def _ready(self) -> list[int]:
        ready = [key.fd for key, _events in self._selector.select(self._stall)]
        if not ready:
            raise self._stalled()
        return ready

    def _read(self, fd: int) -> Iterator[bytes]:
        data = os.read(fd, CHUNK)
        if not data:
            with suppress(KeyError):
                self._selector.unregister(fd)
        elif fd == self._stderr:
            self._said = (self._said + data)[-STDERR_LIMIT:]
        else:
            yield data

    def _stalled(self) -> TimedOut:
        return TimedOut(f"{self.name} neither took nor gave a byte for {self._stall:g} s and was ended.")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._selector.close()
        for pipe in self._pipes():
            pipe.close()


def _pipe(file: IO[bytes]) -> int:
    os.set_blocking(file.fileno(), False)
    with suppress(OSError):  # a wider pipe saves wake-ups; the system's limit may forbid it
        fcntl.fcntl(file.fileno(), fcntl.F_SETPIPE_SZ, CHUNK)
    return file.fileno()


class ProgramEncryptor(Encryptor):
    """Seals through a program that turns stdin into stdout."""

    @abstractmethod
    def _program(self) -> AbstractContextManager[list[str]]:
        """Its argv, with the files it needs in place while the context lasts."""

    @abstractmethod
    def _explain(self, program: Filter) -> CommandFailed:
        """Why it failed."""

    @contextmanager
    def seal(self, sink: Sink) -> Iterator[Sink]:
        with self._program() as argv, Filter(argv) as program:

            def seal(data: bytes) -> None:
                for sealed in program.through(data):
                    sink(sealed)
                if program.deaf:  # no need to dump hours of data into a program that has given up
                    _finish(program)
                    raise self._explain(program)

            yield seal
            for sealed in program.end():
                sink(sealed)
            if program.returncode != 0:
                raise self._explain(program)


class ProgramDecryptor(Decryptor):
    """Opens through a program that turns stdin into stdout."""

    @abstractmethod
    def _program(self) -> AbstractContextManager[list[str]]:
        """Its argv, with the files it needs in place while the context lasts."""

    @abstractmethod
    def _judge(self, program: Filter) -> None:
        """``Damaged`` unless the program proved the whole stream; ``InputError`` when it had no key for it."""

    def open(self, source: Iterator[bytes]) -> Iterator[bytes]:
        with self._program() as argv, Filter(argv) as program:
            for data in source:
                yield from program.through(data)
                if program.deaf:
                    break
            for _rest in source:  # what digests say of the stored bytes outranks what a program makes of them
                pass
            yield from program.end()
            self._judge(program)


def _finish(program: Filter) -> None:
    for _rest in program.end():
        pass
