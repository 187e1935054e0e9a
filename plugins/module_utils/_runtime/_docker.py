# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Docker Engine's API on its local socket: JSON requests, and streams that take the connection over.

Spoken without a version in the path, so that the Engine answers in its own; what is used is the same since 20.10. The
SDK would bring a quarter of a second of imports to each module, and its raw socket loses what was read ahead.
"""

from __future__ import annotations

import getpass
import http.client
import json
import socket
from collections.abc import Mapping
from contextlib import closing
from typing import Any
from urllib.parse import quote, urlencode

from .._errors import CommandFailed, InputError, PlatformError, RunbookError, TimedOut

DEFAULT = "unix:///var/run/docker.sock"
ANSWER_SECONDS = 60.0
"""An Engine answers what is asked about containers at once; a minute of silence is a hung one."""

_HEADERS_LIMIT = 64 * 1024


class Refusal(CommandFailed):
    """The Engine answered that it will not: ``status`` is HTTP's, the message its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Connection:
    """A connection that was taken over from HTTP: raw bytes both ways."""

    def __init__(self, opened: socket.socket, early: bytes) -> None:
        self._socket = opened
        self._early = early

    def read(self, size: int) -> bytes:
        """The next bytes; empty at the end."""
        if self._early:
            data, self._early = self._early[:size], self._early[size:]
            return data
        return self._socket.recv(size)

    def read_into(self, buffer: memoryview) -> int:
        """The same into ``buffer``; how many."""
        if self._early:
            data = self.read(len(buffer))
            buffer[: len(data)] = data
            return len(data)
        return self._socket.recv_into(buffer)

    def write(self, data: bytes) -> None:
        self._socket.sendall(data)

    def end_of_input(self) -> None:
        """What we write ends here; we go on reading."""
        self._socket.shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        """End both directions now: whoever reads or writes, in whatever thread, is woken."""
        self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._socket.close()


class Docker:
    """The Engine behind a socket of this host."""

    def __init__(self, host: str = DEFAULT, variable: str = "runtime.docker_host") -> None:
        if not host.startswith("unix:///"):
            raise InputError(
                f"{variable} is {host!r}: modules run on the Docker host itself and speak to its local socket, "
                f"so give one such as {DEFAULT}, and let Ansible reach the host by ssh."
            )
        self.path = host.removeprefix("unix://")

    def get(self, path: str, **query: Any) -> Any:
        return self._ask("GET", path, query, None)

    def post(self, path: str, body: Any = None, *, seconds: float = ANSWER_SECONDS, **query: Any) -> Any:
        return self._ask("POST", path, query, body, seconds)

    def delete(self, path: str, **query: Any) -> Any:
        return self._ask("DELETE", path, query, None)

    def take_over(self, path: str, body: Any = None, **query: Any) -> Connection:
        """POST, and have the connection for the stream that follows."""
        opened = self._connected(ANSWER_SECONDS)
        try:
            data = b"" if body is None else json.dumps(body).encode()
            head = (
                f"POST {_target(path, query)} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(data)}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
            )
            opened.sendall(head.encode() + data)
            status, early = _answer(opened)
            if status not in (101, 200):
                with opened.makefile("rb") as rest:
                    raise Refusal(status, _message(early + rest.read(_HEADERS_LIMIT)))
            opened.settimeout(None)
            return Connection(opened, early)
        except OSError as error:
            opened.close()
            raise self._unreachable(error, ANSWER_SECONDS) from None
        except BaseException:
            opened.close()
            raise

    def _ask(self, method: str, path: str, query: Mapping[str, Any], body: Any, seconds: float = ANSWER_SECONDS) -> Any:
        with closing(http.client.HTTPConnection("docker")) as connection:
            connection.sock = self._connected(seconds)
            headers = {"Content-Type": "application/json"}
            try:
                connection.request(method, _target(path, query), None if body is None else json.dumps(body), headers)
                answer = connection.getresponse()
                said = answer.read()
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error, seconds) from None
        if answer.status >= 400:
            raise Refusal(answer.status, _message(said))
        return json.loads(said) if said else None

    def _connected(self, seconds: float) -> socket.socket:
        opened = socket.socket(socket.AF_UNIX)
        try:
            opened.settimeout(seconds)
            opened.connect(self.path)
        except OSError as error:
            opened.close()
            raise self._unreachable(error, seconds) from None
        return opened

    def _unreachable(self, error: Exception, seconds: float) -> RunbookError:
        if isinstance(error, TimeoutError):
            return TimedOut(
                f"The Docker Engine at {self.path} did not answer within {seconds:g} s: see whether its host is overloaded."
            )
        if isinstance(error, FileNotFoundError):
            return PlatformError(
                f"There is no Docker Engine at {self.path} on this host: install or start Docker, or set runtime.docker_host "
                "to its socket."
            )
        if isinstance(error, PermissionError):
            return PlatformError(
                f"The account {getpass.getuser()} may not use the Docker Engine at {self.path}: add it to the socket's group "
                "(docker), or set become."
            )
        if isinstance(error, ConnectionRefusedError):
            return PlatformError(f"The Docker Engine at {self.path} does not run: start it (systemctl start docker).")
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return PlatformError(
            f"The Docker Engine at {self.path} broke off the connection ({reason}): see whether it was stopped or restarted."
        )


def _target(path: str, query: Mapping[str, Any]) -> str:
    given = {key: json.dumps(value) if isinstance(value, dict) else value for key, value in query.items()}
    return quote(path) + (f"?{urlencode(given)}" if given else "")


def _answer(opened: socket.socket) -> tuple[int, bytes]:
    """HTTP status, and what was read past the headers."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = opened.recv(4096)
        if not data or len(head) > _HEADERS_LIMIT:
            raise ConnectionResetError(f"no HTTP answer, {head[:80]!r}")
        head += data
    head, _blank, early = head.partition(b"\r\n\r\n")
    return int(head.split(None, 2)[1]), early


def _message(said: bytes) -> str:
    try:
        return str(json.loads(said)["message"]).strip()
    except (ValueError, KeyError, TypeError):
        return said.decode(errors="replace").strip()[:500]
