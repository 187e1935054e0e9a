# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The system's own host: programs and files of the machine the module runs on."""

from __future__ import annotations

import os
import secrets
import select
import stat
import subprocess  # nosec B404: running programs is what a runtime is for; argv lists only
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO

from .._errors import CommandFailed, InputError, TimedOut
from . import _child, _pipe
from .base import CHUNK, STDERR_LIMIT, Completed, Instance, Runtime, Sink, Streamed, failure

_LONGEST_POLL = 3600.0
"""Seconds: the kernel counts milliseconds in an int, which 25 days overflow."""


class _Tail(threading.Thread):
    """Drains a pipe to its end and keeps the last ``STDERR_LIMIT`` bytes, so that no program blocks on stderr."""

    def __init__(self, pipe: IO[bytes] | None) -> None:
        super().__init__(daemon=True)
        self._pipe = pipe
        self._kept = b""

    def run(self) -> None:
        if self._pipe is None:
            return
        with self._pipe, suppress(OSError):  # closed here: a number closed under a reader may be another file's at once
            while data := os.read(self._pipe.fileno(), 65536):
                self._kept = (self._kept + data)[-STDERR_LIMIT:]

    def text(self) -> str:
        self.join(timeout=5)
        return self._kept.decode(errors="replace").strip()


class _Feeder(threading.Thread):
    """Writes a program's stdin while somebody else reads its stdout; keeps what the source raised."""

    def __init__(self, process: subprocess.Popen[bytes], source: Iterable[bytes]) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._source = source
        self.error: BaseException | None = None

    def run(self) -> None:
        stdin = self._process.stdin
        if stdin is None:
            return
        try:
            for data in self._source:
                _pipe.write(stdin.fileno(), data)
            stdin.close()
        except BrokenPipeError:
            pass  # the program stopped reading: its return code says whether that was right
        except BaseException as error:  # handed to the caller's thread, which raises it
            self.error = error
            _child.kill(self._process)
        finally:
            with suppress(OSError):
                stdin.close()


class _Deadline:
    """Kills the program when its time is up; also when nobody is reading or writing."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self.passed = False
        self._end_at = time.monotonic() + seconds
        self._process = process
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def _end(self) -> None:
        self.passed = True
        _child.kill(self._process)

    def readable(self, fd: int) -> bool:
        """Wait for ``fd``, no longer than the program may run: what it left behind, in a session of its own, may hold
        the pipe open, and is out of our reach."""
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        while not self.passed:
            left = self._end_at - time.monotonic()
            if poll.poll(min(max(left, 0.01), _LONGEST_POLL) * 1000):
                return True
        return False

    def cancel(self) -> None:
        self._timer.cancel()


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)


class _Process:
    """A started program with its helpers; the one place where processes begin and end."""

    def __init__(
        self, argv: Sequence[str], source: Iterable[bytes], env: Mapping[str, str] | None, timeout: float
    ) -> None:
        self.argv = list(argv)
        self.timeout = timeout
        try:
            self._process = subprocess.Popen(  # pylint: disable=ansible-bad-function  # an argv list, no shell
                self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env={**os.environ, **(env or {})}, start_new_session=True, bufsize=0,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            raise CommandFailed(
                f"{self.argv[0]} could not be started ({_reason(error)}): install it, or see whether its path is right."
            ) from None
        self.stdout = self._process.stdout.fileno() if self._process.stdout else -1
        _pipe.widen(self.stdout)
        self._tail = _Tail(self._process.stderr)
        self._tail.start()
        self._feeder = _Feeder(self._process, source)
        self._feeder.start()
        self._deadline = _Deadline(self._process, timeout)

    def chunks(self) -> Iterator[bytes]:
        """stdout to its end, in pieces of at most ``CHUNK``."""
        while self._deadline.readable(self.stdout) and (data := _pipe.read(self.stdout)):
            yield data

    def finish(self) -> tuple[int, str]:
        """Wait for the end; return code and stderr. Raises what ended it from our side."""
        returncode = self._process.wait()
        self._deadline.cancel()
        self._feeder.join(self.timeout)  # it may still be proving the last bytes it read
        stderr = self._tail.text()
        if self._feeder.error is not None:
            raise self._feeder.error
        if self._deadline.passed or self._feeder.is_alive():
            raise TimedOut(f"{os.path.basename(self.argv[0])} did not finish within {self.timeout:g} s and was ended.")
        return returncode, stderr

    def close(self) -> None:
        self._deadline.cancel()
        if self._process.returncode is None:  # not waited for, so its number is still its own
            _child.kill(self._process)
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


@contextmanager
def _running(
    argv: Sequence[str], source: Iterable[bytes], env: Mapping[str, str] | None, timeout: float
) -> Iterator[_Process]:
    process = _Process(argv, source, env, timeout)
    try:
        yield process
    finally:
        process.close()


class LocalInstance(Instance):
    """The host itself."""

    name = "localhost"

    def run(
        self, argv: Sequence[str], *, timeout: float, stdin: bytes = b"", env: Mapping[str, str] | None = None,
        limit: int = 1 << 20,
    ) -> Completed:  # fmt: skip
        return self._collect(argv, [stdin], env, timeout, limit)

    def feed(
        self, argv: Sequence[str], source: Iterable[bytes], *, timeout: float, env: Mapping[str, str] | None = None,
        limit: int = 1 << 20,
    ) -> Completed:  # fmt: skip
        return self._collect(argv, source, env, timeout, limit)

    def _collect(
        self, argv: Sequence[str], source: Iterable[bytes], env: Mapping[str, str] | None, timeout: float, limit: int
    ) -> Completed:
        with _running(argv, source, env, timeout) as process:
            kept = bytearray()
            for data in process.chunks():
                kept += data
                if len(kept) > limit:
                    raise CommandFailed(f"{os.path.basename(argv[0])} wrote more than {limit} bytes; it was ended.")
            returncode, stderr = process.finish()
            return Completed(returncode, bytes(kept), stderr)

    def stream(
        self, argv: Sequence[str], sink: Sink, *, timeout: float, env: Mapping[str, str] | None = None
    ) -> Streamed:
        with _running(argv, [], env, timeout) as process:
            # The kernel's pipe cannot lose or change bytes, so counting at this end counts at the source.
            streamed = _pass_on(process.chunks(), sink)
            returncode, stderr = process.finish()
            if returncode != 0:
                raise CommandFailed(failure(process.argv, returncode, stderr))
            return streamed

    def fetch(self, path: str, sink: Sink, *, timeout: float) -> Streamed:
        return _pass_on(_in_time(_chunks(path), timeout, f"Reading {path}"), sink)

    def place(self, path: str, source: Iterable[bytes], *, timeout: float, mode: int = 0o600) -> Streamed:
        partial = f"{path}.{secrets.token_hex(4)}.partial"
        try:
            fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(fd, "wb", buffering=0):
                streamed = _pass_on(_in_time(source, timeout, f"Writing {path}"), lambda data: _pipe.write(fd, data))
                os.fchmod(fd, mode)
                os.fsync(fd)
            os.replace(partial, path)
            return streamed
        except OSError as error:
            raise CommandFailed(
                f"{path} could not be written ({_reason(error)}): see whether the path is right and this account may."
            ) from None
        finally:
            with suppress(OSError):
                os.unlink(partial)

    def endpoint(self, host: str, port: int) -> tuple[str, int]:
        return host, port


def _chunks(path: str) -> Iterator[bytes]:
    try:
        # Without waiting: a pipe in the file's place may never have a writer.
        with open(path, "rb", buffering=0, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise CommandFailed(f"{path} could not be read (it is no regular file): see whether the path is right.")
            while data := file.read(CHUNK):
                yield data
    except OSError as error:
        raise CommandFailed(
            f"{path} could not be read ({_reason(error)}): see whether the path is right and this account may."
        ) from None


def _in_time(chunks: Iterable[bytes], seconds: float, doing: str) -> Iterator[bytes]:
    end = time.monotonic() + seconds
    for data in chunks:
        yield data
        if time.monotonic() > end:
            raise TimedOut(f"{doing} did not finish within {seconds:g} s and was ended.")


def _pass_on(chunks: Iterable[bytes], sink: Sink) -> Streamed:
    """No digest: who keeps the bytes takes his own, and a second one would cost a backup a tenth of its time."""
    size = 0
    for data in chunks:
        size += len(data)
        sink(data)
    return Streamed(size)


class LocalRuntime(Runtime):
    """Services are not told apart here: the host is the one instance of all of them."""

    type = "local"
    services = False

    def resolve(self, service: str, variable: str = "service") -> Instance:
        if service:
            raise InputError(
                f"{variable} is {service!r}, but the runtime is local, where a database is found by host and port: remove service."
            )
        return LocalInstance()
