# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests as a stranger's browser makes them: a connection for each, so that none hides behind an old one."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any
from urllib.parse import urlsplit

SECONDS = 10.0
WORST_GOOD = 399


class Failed(Exception):
    """A request that got no answer, not the whole of it, or not the right one."""


class Site:
    """One system's front door; with ``authority``, over TLS that is verified."""

    def __init__(self, url: str, authority: str | None = None) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port
        self._tls = ssl.create_default_context(cafile=authority) if parts.scheme == "https" else None

    def ask(self, method: str, path: str, told: Any = None, token: str = "") -> Any:
        """The answer: JSON parsed, anything else as it came."""
        body = self._request(method, path, told, token)
        try:
            return json.loads(body)
        except ValueError:
            return body.decode(errors="replace")

    def events(self, path: str, token: str) -> list[tuple[str, str]]:
        """All events of a stream, each its kind and its data, until the server ends it."""
        found, kind = [], "message"
        for line in self._request("GET", path, None, token).decode(errors="replace").splitlines():
            name, _colon, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                found.append((kind, value))
        return found

    def _request(self, method: str, path: str, told: Any, token: str) -> bytes:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if told is not None:
            headers["Content-Type"] = "application/json"
        connection = self._connection()
        try:
            connection.request(method, path, None if told is None else json.dumps(told), headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Failed(f"{method} {path}: {type(error).__name__} {error}".rstrip()) from None
        finally:
            connection.close()
        if response.status > WORST_GOOD:
            raise Failed(f"{method} {path}: {response.status} {body[:200].decode(errors='replace')}")
        return body

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls:
            return http.client.HTTPSConnection(self._host, self._port, timeout=SECONDS, context=self._tls)
        return http.client.HTTPConnection(self._host, self._port, timeout=SECONDS)
