# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The system's own host: programs and files of the machine the module runs on."""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import subprocess  # nosec B404: running programs is what a runtime is for; argv lists only
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from .._errors import CommandFailed, InputError, TimedOut
from .base import CHUNK, STDERR_LIMIT, Completed, Instance, Runtime, Sink, Streamed


class _Tail(threading.Thread):
    """Drains a pipe to its end and keeps the last ``STDERR_LIMIT`` bytes, so that no program blocks on stderr."""

    def __init__(self, fd: int) -> None:
        super().__init__(daemon=True)
        self._fd = fd
        self._kept = b""

    def run(self) -> None:
        with suppress(OSError, ValueError):
            while data := os.read(self._fd, 65536):
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
                stdin.write(data)
            stdin.close()
        except BrokenPipeError:
            pass  # the program stopped reading: its return code says whether that was right
        except BaseException as error:  # handed to the caller's thread, which raises it
            self.error = error
            _kill(self._process)
        finally:
            with suppress(OSError):
                stdin.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the program and all it started: it leads a process group of its own."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


class _Deadline:
    """Kills the program when its time is up; also when nobody is reading or writing."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self.passed = False
        self._process = process
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def _end(self) -> None:
        self.passed = True
        _kill(self._process)

    def cancel(self) -> None:
        self._timer.cancel()


def _describe(argv: Sequence[str], returncode: int, stderr: str) -> str:
    end = (
        f"was ended by {signal.Signals(-returncode).name}"
        if returncode < 0
        else f"failed with return code {returncode}"
    )
    said = stderr.splitlines()[-3:]
    return f"{os.path.basename(argv[0])} {end}{': ' + ' '.join(said) if said else ', and said nothing'}"


class _Process:
    """A started program with its helpers; the one place where processes begin and end."""

    def __init__(
        self, argv: Sequence[str], source: Iterable[bytes], env: Mapping[str, str] | None, timeout: float
    ) -> None:
        self.argv = list(argv)
        self.timeout = timeout
        try:
            self._process = subprocess.Popen(  # nosec B603: an argv list, no shell
                self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env={**os.environ, **(env or {})}, start_new_session=True, bufsize=0,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            raise CommandFailed(f"{self.argv[0]} could not be started: {error}.") from None
        self.stdout = self._process.stdout.fileno() if self._process.stdout else -1
        with suppress(OSError):  # a wider pipe saves wake-ups; the system's limit may forbid it
            fcntl.fcntl(self.stdout, fcntl.F_SETPIPE_SZ, CHUNK)
        self._tail = _Tail(self._process.stderr.fileno() if self._process.stderr else -1)
        self._tail.start()
        self._feeder = _Feeder(self._process, source)
        self._feeder.start()
        self._deadline = _Deadline(self._process, timeout)

    def chunks(self) -> Iterator[bytes]:
        """stdout to its end, in pieces of at most ``CHUNK``."""
        while data := os.read(self.stdout, CHUNK):
            yield data

    def finish(self) -> tuple[int, str]:
        """Wait for the end; return code and stderr. Raises what ended it from our side."""
        returncode = self._process.wait()
        self._feeder.join(timeout=5)
        stderr = self._tail.text()
        if self._feeder.error is not None:
            raise self._feeder.error
        if self._deadline.passed:
            raise TimedOut(f"{os.path.basename(self.argv[0])} did not finish within {self.timeout:g} s and was ended.")
        return returncode, stderr

    def close(self) -> None:
        self._deadline.cancel()
        if self._process.poll() is None:
            _kill(self._process)
            self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


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
        self, argv: Sequence[str], sink: Sink, *, timeout: float, stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
    ) -> Streamed:  # fmt: skip
        with _running(argv, [stdin], env, timeout) as process:
            # The kernel's pipe cannot lose or change bytes, so counting at this end counts at the source.
            streamed = _pass_on(process.chunks(), sink)
            returncode, stderr = process.finish()
            if returncode != 0:
                raise CommandFailed(_describe(process.argv, returncode, stderr) + ".")
            return streamed

    def fetch(self, path: str, sink: Sink, *, timeout: float) -> Streamed:
        try:
            with open(path, "rb", buffering=0) as file:
                return _pass_on(iter(lambda: file.read(CHUNK), b""), sink)
        except OSError as error:
            raise CommandFailed(f"{path} could not be read: {error.strerror or error}.") from None

    def place(self, path: str, source: Iterable[bytes], *, timeout: float, mode: int = 0o600) -> Streamed:
        partial = f"{path}.{secrets.token_hex(4)}.partial"
        try:
            fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            with open(fd, "wb") as file:
                streamed = _pass_on(source, lambda data: _write(file.fileno(), data))
                os.fsync(file.fileno())
            os.replace(partial, path)
            return streamed
        except OSError as error:
            raise CommandFailed(f"{path} could not be written: {error.strerror or error}.") from None
        finally:
            with suppress(OSError):
                os.unlink(partial)

    def endpoint(self, host: str, port: int) -> tuple[str, int]:
        return host, port


def _write(fd: int, data: bytes) -> None:
    """All of ``data``: a raw ``write`` may take only part of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _pass_on(chunks: Iterable[bytes], sink: Sink) -> Streamed:
    """No digest: who keeps the bytes takes his own, and a second one would cost a backup a tenth of its time."""
    size = 0
    for data in chunks:
        size += len(data)
        sink(data)
    return Streamed(size, None)


class LocalRuntime(Runtime):
    """Services are not told apart here: the host is the one instance of all of them."""

    type = "local"

    def resolve(self, service: str) -> Instance:
        if service:
            raise InputError(
                f"service is {service!r}, but the runtime is local, where a database is found by host and port: remove service."
            )
        return LocalInstance()
