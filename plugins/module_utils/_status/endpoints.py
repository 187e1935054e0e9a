# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Endpoints: what a description says of them, one request each, and what the answer means."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from .._durations import parse_duration
from .._errors import InputError
from .finding import Finding, Level

SLOW_SECONDS = 2.0
"""The documents' bound: P95 < 2 s (002, service level objectives), response times < 2 s (004, after a deployment)."""

LONGEST_SECONDS = 60.0
"""Nobody waits longer for a status."""

_PORTS = {"http": 80, "https": 443}
_LOOK = "look at the service behind it, then at what lies between: proxy, port, name, certificate"


@dataclass(frozen=True)
class Endpoint:
    """One address that must answer; ``expect`` is an HTTP status, and means nothing for ``tcp``."""

    name: str
    url: str
    expect: int
    timeout: float
    ca_file: str | None = None


@dataclass(frozen=True)
class Answer:
    """What came back: a status, or for ``tcp`` a connection; else why nothing did."""

    seconds: float
    status: int | None = None
    error: str = ""


def endpoints_of(declared: Sequence[Mapping[str, Any]]) -> list[Endpoint]:
    """The endpoints of a description; ``InputError`` names the key that is wrong."""
    found: list[Endpoint] = []
    for number, entry in enumerate(declared):
        variable = f"endpoints[{number}]"
        endpoint = _endpoint(variable, entry)
        if any(endpoint.name == other.name for other in found):
            raise InputError(f"{variable}.name is a second {endpoint.name}: give each endpoint a name of its own.")
        found.append(endpoint)
    return found


def _endpoint(variable: str, entry: Mapping[str, Any]) -> Endpoint:
    url, expect, ca_file = str(entry["url"]), entry["expect"], entry.get("ca_file") or None
    scheme = _scheme(variable, url)
    if not 100 <= expect <= 599:
        raise InputError(f"{variable}.expect is {expect}, which is no HTTP status: write one such as 200.")
    seconds = parse_duration(f"{variable}.timeout", entry["timeout"]).total_seconds()
    if seconds > LONGEST_SECONDS:
        raise InputError(
            f"{variable}.timeout is {entry['timeout']!r}, too long for a status: give at most {LONGEST_SECONDS:.0f}s."
        )
    if ca_file and scheme != "https":
        raise InputError(f"{variable}.ca_file means nothing for {scheme}: remove it, or write an https URL.")
    return Endpoint(str(entry["name"]), url, expect, seconds, ca_file)


def _scheme(variable: str, url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in (*_PORTS, "tcp") and parts.hostname and (parts.port or parts.scheme in _PORTS)
    except ValueError:  # a port that is no number
        usable = None
    if not usable or not all("!" <= character <= "~" for character in url):
        raise InputError(
            f"{variable}.url is {url!r}: write an address such as https://example.org/health or tcp://127.0.0.1:5432."
        )
    if parts.username is not None:
        raise InputError(
            f"{variable}.url holds an account, which every report would show: name an address that asks for none."
        )
    return parts.scheme


def ask(endpoint: Endpoint) -> Answer:
    """One request, straight to the address: no proxy, no redirect followed, nothing sent but a GET."""
    parts, began = urlsplit(endpoint.url), time.monotonic()
    try:
        if parts.scheme == "tcp":
            socket.create_connection((str(parts.hostname), parts.port or 0), endpoint.timeout).close()
            status = None
        else:
            status = _got(parts, endpoint)
    except (OSError, http.client.HTTPException) as error:
        return Answer(time.monotonic() - began, error=_why(error, endpoint))
    return Answer(time.monotonic() - began, status)


def _got(parts: SplitResult, endpoint: Endpoint) -> int:
    """The status; the body is left where it is."""
    host, port = str(parts.hostname), parts.port or _PORTS[parts.scheme]
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        trusted = ssl.create_default_context(cafile=endpoint.ca_file)
        connection = http.client.HTTPSConnection(host, port, timeout=endpoint.timeout, context=trusted)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=endpoint.timeout)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={"Connection": "close", "User-Agent": "runbook.ops"})
        return connection.getresponse().status
    finally:
        connection.close()


def _why(error: Exception, endpoint: Endpoint) -> str:
    """In an operator's words; the order matters, for most of these are an ``OSError`` too."""
    known: tuple[tuple[type[Exception], str], ...] = (
        (TimeoutError, f"no answer in {endpoint.timeout:g} s"),
        (ssl.SSLCertVerificationError, f"its certificate is not good: {getattr(error, 'verify_message', '')}"),
        (ssl.SSLError, f"TLS failed: {getattr(error, 'reason', None) or error}"),
        (socket.gaierror, f"its name is not known here: {getattr(error, 'strerror', '')}"),
        (FileNotFoundError, f"its ca_file {endpoint.ca_file} is not there"),
        (PermissionError, f"its ca_file {endpoint.ca_file} may not be read"),
        (http.client.RemoteDisconnected, "the connection was closed without an answer"),
        (http.client.HTTPException, "what answers does not speak HTTP"),
    )
    said = next((words for kind, words in known if isinstance(error, kind)), "")
    return said or str(getattr(error, "strerror", None) or error).lower()


def judge_endpoint(endpoint: Endpoint, answer: Answer) -> Finding:
    facts = {
        "url": endpoint.url,
        "status": answer.status,
        "milliseconds": None if answer.error else round(answer.seconds * 1000),
    }
    if answer.error:
        return Finding(endpoint.name, Level.RED, answer.error, _LOOK, facts)
    if answer.status is not None and answer.status != endpoint.expect:
        reason = f"answers {answer.status}, not {endpoint.expect}"
        return Finding(endpoint.name, Level.RED, reason, "the log of the service behind it says why", facts)
    if answer.seconds > SLOW_SECONDS:
        reason = f"took {answer.seconds:.1f} s, over {SLOW_SECONDS:g} s"
        return Finding(
            endpoint.name, Level.AMBER, reason, "look again; if it stays so, at load and slow queries", facts
        )
    return Finding(endpoint.name, facts=facts)
