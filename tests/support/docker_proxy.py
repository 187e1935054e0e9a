# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A socket before a Docker Engine's, that does to streams what networks and dying Engines do to them.

    with docker_proxy(directory, cut(after=1 << 20)) as host:
        ...  # docker_host is host

``Fault`` gets what the Engine sends on each connection that a stream took over, and what it returns is passed on;
``None`` ends the connection, cleanly, as an end of the stream looks.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_ENGINE = "/var/run/docker.sock"
_BLOCK = 64 << 10

Fault = Callable[[int, bytes], bytes | None]
"""How many bytes came before, and the next ones."""


def untouched(_before: int, data: bytes) -> bytes:
    return data


def cut(after: int) -> Fault:
    return lambda before, data: data if before < after else None


def flip(at: int) -> Fault:
    """One bit changes in the middle of a block far enough from a frame's header."""

    def change(before: int, data: bytes) -> bytes:
        if not before <= at < before + len(data):
            return data
        place = at - before
        return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]

    return change


@contextmanager
def docker_proxy(directory: Path, fault: Fault) -> Iterator[str]:
    path = directory / "docker.sock"
    opened: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        accepting = threading.Thread(target=_accept, args=(listening, fault, opened), daemon=True)
        accepting.start()
        try:
            yield f"unix://{path}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for one in opened:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
            path.unlink()


def _accept(listening: socket.socket, fault: Fault, opened: list[socket.socket]) -> None:
    with suppress(OSError):
        while True:
            client, _address = listening.accept()
            engine = socket.socket(socket.AF_UNIX)
            engine.connect(_ENGINE)
            opened.extend((client, engine))
            threading.Thread(target=_requests, args=(client, engine), daemon=True).start()
            threading.Thread(target=_answers, args=(client, engine, fault), daemon=True).start()


def _requests(client: socket.socket, engine: socket.socket) -> None:
    with suppress(OSError):
        while data := client.recv(_BLOCK):
            engine.sendall(data)
        engine.shutdown(socket.SHUT_WR)


def _answers(client: socket.socket, engine: socket.socket, fault: Fault) -> None:
    """The headers of an answer, which may come in pieces, are passed on as they are."""
    head, before, stream = b"", 0, False
    with suppress(OSError):
        while data := engine.recv(_BLOCK):
            passed = fault(before, data) if stream else data
            if passed is None:
                break
            client.sendall(passed)
            before += len(data) if stream else 0
            head = b"" if stream else head + data
            stream = stream or (head.startswith(b"HTTP/1.1 101") and b"\r\n\r\n" in head)
        engine.shutdown(socket.SHUT_RDWR)
        client.shutdown(socket.SHUT_RDWR)
