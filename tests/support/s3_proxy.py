# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy before an S3 server that does to requests what networks and servers do to them.

    with S3Proxy(s3.endpoint_url) as proxy:
        proxy.inject("UploadPart", Cut(after=1 << 20), skip=1, times=1)   # the second part, once, after 1 MiB
        ...  # use proxy.endpoint_url
        assert proxy.count("ListObjectsV2") == 1

Faults concern one operation of S3's API (the names boto3 has), or every one (``"*"``). It speaks plain HTTP on loopback.
"""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

_BLOCK = 64 << 10
_NO_LINGER = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Answer:
    """The proxy answers itself, in the server's place."""

    status: int
    code: str
    message: str = "injected"

    @property
    def body(self) -> bytes:
        return f"<Error><Code>{self.code}</Code><Message>{self.message}</Message></Error>".encode()


@dataclass(frozen=True)
class Reply:
    """The proxy answers itself with this document."""

    body: bytes
    status: int = 200


@dataclass(frozen=True)
class Silence:
    """The request is taken and nothing comes back until the proxy ends."""


@dataclass(frozen=True)
class Cut:
    """The connection is reset after so many bytes of the request's body, or of the response's; at its end, when it is
    shorter. The server does not get a request that was cut."""

    after: int = 0
    of: str = "request"


@dataclass(frozen=True)
class LostAnswer:
    """The server does what it was asked; its answer is lost with the connection."""


@dataclass(frozen=True)
class Flip:
    """One bit of a body changes on the way."""

    at: int = 0
    of: str = "request"


@dataclass(frozen=True)
class Header:
    """A header of the response has another value, or is gone (``None``)."""

    name: str
    value: str | None


@dataclass(frozen=True)
class Drip:
    """The request's body is taken this slowly: never silent for long, and never done."""

    block: int = 1024
    every: float = 0.05


@dataclass(frozen=True)
class Meanwhile:
    """Something happens when so much of a request's body has been passed on to the server."""

    happens: Callable[[], object]
    after: int = 0


Fault = Answer | Reply | Silence | Cut | LostAnswer | Flip | Header | Drip | Meanwhile


@dataclass(frozen=True)
class Request:
    """What passed through."""

    method: str
    path: str
    operation: str
    headers: frozenset[str] = field(default=frozenset(), repr=False)
    """Their names, in lower case."""


@dataclass
class _Rule:
    operation: str
    fault: Fault
    skip: int
    times: int | None

    def applies(self, operation: str) -> bool:
        if self.operation not in ("*", operation):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            if not self.times:
                return False
            self.times -= 1
        return True


def operation_of(method: str, target: str, *, copies: bool = False) -> str:
    """S3's name for a request."""
    url = urlsplit(target)
    asked = parse_qs(url.query, keep_blank_values=True)
    key = unquote(url.path).lstrip("/").partition("/")[2]
    names = _OF_KEY if key else _OF_BUCKET
    for (verb, parameter, copying), name in names.items():
        if verb == method and (not parameter or parameter in asked) and copying in (None, copies):
            return name
    return f"{method}?{url.query}"


_OF_BUCKET = {
    ("GET", "list-type", None): "ListObjectsV2", ("GET", "versions", None): "ListObjectVersions",
    ("GET", "uploads", None): "ListMultipartUploads", ("GET", "versioning", None): "GetBucketVersioning",
    ("POST", "delete", None): "DeleteObjects", ("HEAD", "", None): "HeadBucket", ("PUT", "", None): "CreateBucket",
}  # fmt: skip
_OF_KEY = {
    ("PUT", "partNumber", True): "UploadPartCopy", ("PUT", "partNumber", False): "UploadPart",
    ("PUT", "", True): "CopyObject", ("PUT", "", False): "PutObject",
    ("GET", "uploadId", None): "ListParts", ("GET", "", None): "GetObject", ("HEAD", "", None): "HeadObject",
    ("POST", "uploads", None): "CreateMultipartUpload", ("POST", "uploadId", None): "CompleteMultipartUpload",
    ("DELETE", "uploadId", None): "AbortMultipartUpload", ("DELETE", "", None): "DeleteObject",
}  # fmt: skip


class S3Proxy:
    """Stands before ``upstream``; a context manager. ``requests``: all that came, in order, faulty or not."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream)
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self._rules: list[_Rule] = []
        self._turn = threading.Lock()
        self._server = _Server(self)
        self.endpoint_url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def inject(self, operation: str, fault: Fault, *, skip: int = 0, times: int | None = None) -> None:
        """Let ``fault`` meet the requests of ``operation``, after ``skip`` of them, ``times`` times (always)."""
        self._rules.append(_Rule(operation, fault, skip, times))

    def heal(self) -> None:
        """No more faults."""
        self._rules.clear()

    def count(self, operation: str) -> int:
        return sum(request.operation == operation for request in self.requests)

    def faults_for(self, request: Request) -> list[Fault]:
        with self._turn:
            self.requests.append(request)
            return [rule.fault for rule in self._rules if rule.applies(request.operation)]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, proxy: S3Proxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients go away when they are cut off; that is what the tests are about


class _Reset(Exception):
    pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _pass_on(self) -> None:
        operation = operation_of(self.command, self.path, copies="x-amz-copy-source" in self.headers)
        headers = frozenset(map(str.lower, self.headers))
        faults = self.server.proxy.faults_for(Request(self.command, self.path, operation, headers))
        try:
            self._with(faults)
        except (_Reset, OSError):
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self.connection.close()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on  # noqa: N815 - http.server finds them by these names

    def _with(self, faults: list[Fault]) -> None:
        proxy = self.server.proxy
        body = self._altered(self._body(faults), faults, "request")
        for fault in faults:
            if isinstance(fault, Answer | Reply):
                for _block in body:
                    pass
                return self._reply(fault)
            if isinstance(fault, Cut) and fault.of == "request" and not int(self.headers.get("Content-Length") or 0):
                raise _Reset
            if isinstance(fault, Silence):
                proxy.closing.wait()
                raise _Reset
        upstream = http.client.HTTPConnection(proxy.upstream.hostname or "", proxy.upstream.port, timeout=60)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() != "expect":
                    upstream.putheader(name, value)
            upstream.endheaders()
            for block in body:
                upstream.send(block)
            answer = upstream.getresponse()
            if any(isinstance(fault, LostAnswer) for fault in faults):
                answer.read()
                raise _Reset
            self._relay(answer, faults)
        finally:
            upstream.close()
        return None

    def _body(self, faults: list[Fault]) -> Iterator[bytes]:
        missing = int(self.headers.get("Content-Length") or 0)
        drip = next((fault for fault in faults if isinstance(fault, Drip)), None)
        while missing:
            if drip and self.server.proxy.closing.wait(drip.every):
                raise _Reset
            block = self.rfile.read(min(drip.block if drip else _BLOCK, missing))
            if not block:
                raise _Reset
            missing -= len(block)
            yield block

    def _altered(self, blocks: Iterator[bytes], faults: list[Fault], of: str) -> Iterator[bytes]:
        flips = [fault.at for fault in faults if isinstance(fault, Flip) and fault.of == of]
        cuts = [fault.after for fault in faults if isinstance(fault, Cut) and fault.of == of]
        events = [fault for fault in faults if isinstance(fault, Meanwhile) and of == "request"]
        done = 0
        for block in blocks:
            for event in events:
                if done <= event.after < done + len(block):
                    event.happens()
            changed = bytearray(block)
            for at in flips:
                if done <= at < done + len(block):
                    changed[at - done] ^= 1
            for after in cuts:
                if done + len(block) > after:
                    yield bytes(changed[: max(after - done, 0)])
                    raise _Reset
            done += len(block)
            yield bytes(changed)
        if cuts:
            raise _Reset

    def _relay(self, answer: http.client.HTTPResponse, faults: list[Fault]) -> None:
        headers = {name.lower(): value for name, value in answer.getheaders()}
        headers.pop("transfer-encoding", None)
        whole = b""
        if "content-length" not in headers and self.command != "HEAD":
            whole = answer.read()
            headers["content-length"] = str(len(whole))
        for fault in faults:
            if isinstance(fault, Header):
                headers.pop(fault.name.lower(), None)
                if fault.value is not None:
                    headers[fault.name.lower()] = fault.value
        self.send_response_only(answer.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            blocks = iter([whole]) if whole else iter(lambda: answer.read(_BLOCK), b"")
            for block in self._altered(blocks, faults, "response"):
                self.wfile.write(block)
        self.wfile.flush()

    def _reply(self, fault: Answer | Reply) -> None:
        body = b"" if self.command == "HEAD" else fault.body
        self.send_response_only(fault.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
