# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One program in a container: the Engine's exec with a witness beside it, started, fed, listened to and ended."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from .._errors import CommandFailed, RunbookError
from . import _direct
from ._docker import Connection, Docker, Refusal
from ._witness import DATA, HELD, KILL, TAKEN, Testimony, Witness

_STDOUT = 1
_HEADER = 8
_BUFFER = 1 << 20
"""Frames in it are joined, so a sink gets pieces of a few hundred KiB, not the Engine's 32."""

_ENDING_SECONDS = 5.0
"""A killed program's witness speaks at once, unless something that the program left behind holds the stream open."""


class NotDirect(CommandFailed):
    """The program's pipe cannot be opened from here. It was not started."""


class Exec:
    """One program in a container: its frames are read by the caller, its stdin is written by a thread.

    ``direct``: its stdout is taken from its own pipe, and a thread reads the frames, which are stderr's."""

    def __init__(
        self, docker: Docker, container: str, argv: Sequence[str], env: Mapping[str, str] | None, user: str,
        source: Iterable[bytes] | None, timeout: float, *, direct: bool = False,
    ) -> None:  # fmt: skip
        if any("\0" in part for part in argv):
            raise CommandFailed(f"{argv[0]} could not be started (embedded null byte): see whether its path is right.")
        self.witness = Witness(TAKEN if direct else HELD if source is None else DATA)
        self._docker = docker
        self._container = container
        self._user = user
        self._error: BaseException | None = None
        self._ending = threading.Lock()
        self._doomed = self._ended = self._aborted = False
        self.timed_out = False
        body = {
            "AttachStdin": True, "AttachStdout": True, "AttachStderr": True, "Tty": False, "User": user,
            "Cmd": self.witness.argv(argv),
            "Env": [f"{name}={value}" for name, value in (env or {}).items()],
        }  # fmt: skip
        self._id = docker.post(f"/containers/{container}/exec", body)["Id"]
        self._connection = docker.take_over(f"/exec/{self._id}/start", {"Detach": False, "Tty": False})
        self._late = _timer(_ENDING_SECONDS, self._abort)
        self._deadline = _timer(timeout, self._out_of_time)
        self._deadline.start()
        self._feeder = threading.Thread(target=self._feed, args=(source,), daemon=True)
        if source is not None:
            self._feeder.start()
        self._frames = frames(self._connection)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._pipe: int | None = None
        if direct:
            try:
                self._pipe = self._opened()
            except BaseException:
                self.close()
                raise

    def _opened(self) -> int | None:
        """The pipe that the program is to write into; then it is begun."""
        for _stream, data in self._frames:
            self.witness.hear(data)
            if self.witness.outlet is not None:
                break
        else:
            return None  # no shell, no container: what is read next is the end, and ``finish`` says of what
        pipe = _direct.open_stdout(self.witness.nonce, self.witness.outlet)
        if pipe is None:
            raise NotDirect(f"The pipes of {self._container} cannot be opened from this process.")
        with suppress(OSError):
            self._connection.write(b"\n")
        self._listener.start()
        return pipe

    def stdout(self) -> Iterator[bytes]:
        """stdout to its end, in pieces of at most ``CHUNK``; stderr goes to the witness on the way."""
        if self._pipe is None:
            yield from self._carried()
            return
        for data in _direct.read(self._pipe, self._cut_off):
            if self._aborted:
                break
            yield data
        self._listener.join()

    def _cut_off(self) -> bool:
        """Nobody will tell how the program ended. Where that was told, whoever holds the pipe still may write, until its end
        or our limit."""
        return self._aborted or (not self._listener.is_alive() and self.witness.testimony is None)

    def _listen(self) -> None:
        with suppress(OSError):
            for _data in self._carried():
                pass

    def _carried(self) -> Iterator[bytes]:
        for stream, data in self._frames:
            if stream == _STDOUT:
                yield data
            else:
                self.witness.hear(data)
                if self._doomed:  # perhaps before its number was known
                    self._end_program()

    def finish(self) -> Testimony:
        """What the witness tells; raises what ended the program from our side."""
        self._deadline.cancel()
        if self._error is not None:
            raise self._error
        testimony = self.witness.testimony
        if testimony is None or self.timed_out:
            raise self._silence()
        return testimony

    def _silence(self) -> CommandFailed:
        code = None
        with suppress(RunbookError):  # one that was restarted has forgotten it
            code = self._docker.get(f"/exec/{self._id}/json")["ExitCode"]
        # 126 is also what the Engine notes down of a program whose connection broke.
        if code in (126, 127) and not self._has_shell():
            return CommandFailed(
                f"The image of {self._container} has no shell (sh), with which programs are run in it and watched: "
                "use an image that has one."
            )
        return CommandFailed(
            "The stream ended before its end was told, so what came is not whole: see whether the container, or the "
            "Docker Engine, was stopped or restarted."
        )

    def _has_shell(self) -> bool:
        made = self._docker.post(f"/containers/{self._container}/exec", {"Cmd": ["sh", "-c", ":"]})["Id"]
        try:
            self._docker.post(f"/exec/{made}/start", {"Detach": True})
        except Refusal:
            return False
        return True

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
                _kill(self._docker, self._container, self._user, self.witness.pid)

    def drain(self) -> None:
        """Read to the end what nobody wants any more."""
        with suppress(RunbookError, OSError):
            for _data in self.stdout():
                pass

    def close(self) -> None:
        self._deadline.cancel()
        self._late.cancel()
        self._abort()
        for thread in (self._feeder, self._listener):
            if thread.ident is not None:
                thread.join(_ENDING_SECONDS)
        self._connection.close()
        if self._pipe is not None:
            os.close(self._pipe)

    def _out_of_time(self) -> None:
        self.timed_out = True
        self.kill()

    def _abort(self) -> None:
        self._aborted = True
        with suppress(OSError):
            self._connection.abort()

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
            self._connection.end_of_input()

    def _written(self, data: bytes) -> bool:
        try:
            self._connection.write(data)
        except OSError:  # the program stopped reading, or the stream broke: the witness says which
            return False
        return True


def _timer(seconds: float, then: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), then)
    timer.daemon = True
    return timer


def _kill(docker: Docker, container: str, user: str, pid: int) -> None:
    body = {"AttachStdout": True, "User": user, "Cmd": ["sh", "-c", KILL, "sh", str(pid)]}
    connection = docker.take_over(
        f"/exec/{docker.post(f'/containers/{container}/exec', body)['Id']}/start", {"Detach": False, "Tty": False}
    )
    try:
        while connection.read(_HEADER):
            pass
    finally:
        connection.close()


def frames(connection: Connection) -> Iterator[tuple[int, bytes]]:
    """The Engine's frames (a byte of stream, three of nothing, four of length), those at hand of one stream joined."""
    buffer = memoryview(bytearray(_BUFFER))
    filled = 0
    while True:
        try:
            read = connection.read_into(buffer[filled:])
        except ConnectionResetError:  # closed at the other end with something of ours unread: an end like another
            return
        if not read:
            return
        filled += read
        start = 0
        parts: list[memoryview] = []
        joining = 0
        while filled - start >= _HEADER:
            end = start + _HEADER + int.from_bytes(buffer[start + 4 : start + _HEADER])
            if end > filled:
                break
            if parts and buffer[start] != joining:
                yield joining, b"".join(parts)
                parts = []
            joining = buffer[start]
            parts.append(buffer[start + _HEADER : end])
            start = end
        if parts:
            yield joining, b"".join(parts)
        buffer[: filled - start] = bytes(buffer[start:filled])
        filled -= start
