# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A port before a cluster's API server, that does to the streams of an exec what networks and dying servers do to them.

    with kubernetes_proxy(directory, truncated(after=1 << 20)) as proxy:
        ...  # proxy.kubeconfig leads to it, proxy.requests are the lines that were asked

``Fault`` gets what the server sends in each frame of an exec's WebSocket, and what it returns is passed on; ``None`` drops
the frame, and ``Cut`` breaks the connection. ``kubectl proxy`` behind it knows how to log in.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from lab import kubernetes

STDOUT, STDERR, STATUS = 1, 2, 3
_BLOCK = 64 << 10

Fault = Callable[[int, int, bytes], bytes | None]
"""The channel, how many bytes of stdout came before, and the next ones."""


class Cut(Exception):
    """The connection breaks here."""


def untouched(_channel: int, _before: int, data: bytes) -> bytes:
    return data


def truncated(after: int, *, silent: bool = False) -> Fault:
    """The rest of stdout is lost, and with ``silent`` all of stderr; the status tells of success."""
    lost = (STDOUT, STDERR) if silent else (STDOUT,)
    return lambda channel, before, data: None if channel in lost and before >= after else data


def cut(after: int) -> Fault:
    def fault(_channel: int, before: int, data: bytes) -> bytes:
        if before >= after:
            raise Cut
        return data

    return fault


def flip(at: int) -> Fault:
    """One bit of stdout changes."""

    def fault(channel: int, before: int, data: bytes) -> bytes:
        if channel != STDOUT or not before <= at < before + len(data):
            return data
        place = at - before
        return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]

    return fault


@dataclass
class Proxy:
    kubeconfig: str
    requests: list[str] = field(default_factory=list)


@contextmanager
def kubernetes_proxy(directory: Path, fault: Fault) -> Iterator[Proxy]:
    with _logged_in() as behind, socket.create_server(("127.0.0.1", 0)) as listening:
        kubeconfig = directory / f"kubeconfig-{os.urandom(4).hex()}"
        cluster = {"name": "proxy", "cluster": {"server": f"http://127.0.0.1:{listening.getsockname()[1]}"}}
        context = {"name": "proxy", "context": {"cluster": "proxy", "user": ""}}
        told = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [cluster],
            "contexts": [context],
            "current-context": "proxy",
        }
        kubeconfig.write_text(json.dumps(told))
        proxy = Proxy(str(kubeconfig))
        opened: list[socket.socket] = []
        accepting = threading.Thread(target=_accept, args=(listening, behind, fault, proxy, opened), daemon=True)
        accepting.start()
        try:
            yield proxy
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for one in opened:
                _close(one)


@contextmanager
def _logged_in() -> Iterator[int]:
    context = [f"--context={name}" for name in kubernetes.context()]
    argv = [kubernetes.program("kubectl"), "--kubeconfig", kubernetes.kubeconfig(), *context, "proxy", "--port=0"]
    with subprocess.Popen([*argv, "--reject-paths=^$"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
            assert found is not None
            yield int(found[1])
        finally:
            process.kill()


def _accept(listening: socket.socket, behind: int, fault: Fault, proxy: Proxy, opened: list[socket.socket]) -> None:
    with suppress(OSError):
        while True:
            client, _address = listening.accept()
            server = socket.create_connection(("127.0.0.1", behind))
            opened.extend((client, server))
            threading.Thread(target=_asked, args=(client, server, proxy), daemon=True).start()
            threading.Thread(target=_answered, args=(client, server, fault), daemon=True).start()


def _asked(client: socket.socket, server: socket.socket, proxy: Proxy) -> None:
    with suppress(OSError):
        while data := client.recv(_BLOCK):
            proxy.requests += re.findall(rb"(?:GET|POST|DELETE) \S+", data) and [data.decode(errors="replace")]
            server.sendall(data)
    _close(server)


def _answered(client: socket.socket, server: socket.socket, fault: Fault) -> None:
    with suppress(OSError, Cut), server.makefile("rb") as answer:
        head = b""
        while not head.endswith(b"\r\n\r\n") and (line := answer.readline()):
            head += line
        client.sendall(head)
        if head.startswith(b"HTTP/1.1 101") and b"websocket" in head.lower():
            _frames(answer.read, client, fault)
        while data := answer.read1(_BLOCK):
            client.sendall(data)
    for one in (client, server):
        _close(one)


def _frames(read: Callable[[int], bytes], client: socket.socket, fault: Fault) -> None:
    """A server's frames (RFC 6455) are not masked; the first byte of a binary one's content is the channel."""
    before = 0
    while head := read(2):
        size, length = head[1] & 0x7F, b""
        if size > 125:
            length = read(2 if size == 126 else 8)
            size = int.from_bytes(length)
        content = read(size)
        if head[0] & 0x0F == 2 and content:
            passed = fault(content[0], before, content[1:])
            before += len(content) - 1 if content[0] == STDOUT else 0
            if passed is None:
                continue
            content = content[:1] + passed
        client.sendall(head + length + content)


def _close(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
