# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One program in a container: carried by the Engine's exec, or read by root from its own pipe."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from .._errors import CommandFailed, RunbookError
from . import _direct
from ._docker import Connection, Docker, Refusal
from ._exec import ENDING_SECONDS, Exec
from ._witness import KILL, TAKEN

_STDOUT = 1
_HEADER = 8
_BUFFER = 1 << 20
"""Frames in it are joined, so a sink gets pieces of a few hundred KiB, not the Engine's 32."""


class NotDirect(CommandFailed):
    """The program's pipe cannot be opened from here. It was not started."""


class EngineExec(Exec):
    """One program in a container: its frames are read by the caller.

    ``direct``: its stdout is taken from its own pipe, and a thread reads the frames, which are stderr's."""

    def __init__(
        self, docker: Docker, container: str, user: str, argv: Sequence[str], env: Mapping[str, str] | None,
        source: Iterable[bytes] | None, timeout: float, *, direct: bool = False,
    ) -> None:  # fmt: skip
        self._docker = docker
        self._container = container
        self._user = user
        self._aborted = False
        self._pipe: int | None = None
        self._listener = threading.Thread(target=self._listen, daemon=True)
        super().__init__(argv, env, source, timeout, way=TAKEN if direct else None)
        if direct:
            self.arrived = None
            try:
                self._pipe = self._opened()
            except BaseException:
                self.close()
                raise

    def _connect(self, argv: Sequence[str]) -> None:
        body = {
            "AttachStdin": True, "AttachStdout": True, "AttachStderr": True, "Tty": False, "User": self._user, "Cmd": argv,
        }  # fmt: skip
        self._id = self._docker.post(f"/containers/{self._container}/exec", body)["Id"]
        self._connection = self._docker.take_over(f"/exec/{self._id}/start", {"Detach": False, "Tty": False})
        self._frames = frames(self._connection)

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
        """stdout to its end; stderr goes to the witness on the way."""
        if self._pipe is None:
            yield from self._counted(self._carried())
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
                self._hear(data)

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

    def _write(self, data: bytes) -> None:
        self._connection.write(data)

    def _end_of_input(self) -> None:
        self._connection.end_of_input()

    def _told(self) -> None:
        with suppress(OSError):
            self._end_of_input()

    def _abort(self) -> None:
        self._aborted = True
        with suppress(OSError):
            self._connection.abort()

    def _kill(self, pid: int) -> None:
        body = {"AttachStdout": True, "User": self._user, "Cmd": ["sh", "-c", KILL, "sh", str(pid)]}
        made = self._docker.post(f"/containers/{self._container}/exec", body)["Id"]
        connection = self._docker.take_over(f"/exec/{made}/start", {"Detach": False, "Tty": False})
        try:
            while connection.read(_HEADER):
                pass
        finally:
            connection.close()

    def close(self) -> None:
        super().close()
        if self._listener.ident is not None:
            self._listener.join(ENDING_SECONDS)
        self._connection.close()
        if self._pipe is not None:
            os.close(self._pipe)


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
