# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Endpoints that answer in every way that servers have, asked over real sockets."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._status.endpoints import (
    Answer,
    Endpoint,
    ask,
    judge_endpoint,
)
from ansible_collections.runbook.ops.plugins.module_utils._status.finding import Level
from ansible_collections.runbook.ops.plugins.module_utils._status.look import one_endpoint, take

from lab import certificates

LIMIT = 0.5


class Handler(http.server.BaseHTTPRequestHandler):
    """``/500`` answers 500, and so on."""

    seen: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.seen.append(self.path)
        status = int(self.path.strip("/").partition("?")[0] or 200)
        self.send_response(status)
        if status == 301:
            self.send_header("Location", "/200")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *arguments: Any) -> None:
        pass


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        Handler.seen = []
        yield server.server_port
        server.shutdown()


@pytest.fixture
def port() -> Iterator[int]:
    with serving() as found:
        yield found


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    place = tmp_path_factory.mktemp("tls")
    for authority in ("ours", "theirs"):
        (place / authority).mkdir()
        certificates.ensure(str(place / authority), str(place / f"{authority}-server"), ("localhost",))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place / "ours-server.crt", place / "ours-server.key")
    with serving(context) as found:
        yield found, place


@contextmanager
def speaking(speak: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that does with a connection what it likes."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def accept() -> None:
            try:
                connection, _address = listening.accept()
                with connection:
                    connection.recv(4096)
                    speak(connection)
            except OSError:
                pass

        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]


def asked(url: str, **values: Any) -> Answer:
    return ask(Endpoint("it", url, 200, LIMIT, **values))


@pytest.mark.parametrize("status", [200, 204, 301, 404, 500, 503])
def test_the_status_is_told_and_a_redirect_not_followed(port: int, status: int) -> None:
    answer = asked(f"http://127.0.0.1:{port}/{status}?a=b")
    assert (answer.status, answer.error, Handler.seen) == (status, "", [f"/{status}?a=b"])
    assert 0 < answer.seconds < LIMIT
    assert judge_endpoint(Endpoint("it", "", status, 1), answer).level == Level.GREEN


def test_a_proxy_of_the_environment_is_not_asked(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert asked(f"http://127.0.0.1:{port}/").status == 200


def test_a_port_that_nobody_listens_on_is_refused() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
        assert asked(f"http://127.0.0.1:{number}/").error == "connection refused"
        assert asked(f"tcp://127.0.0.1:{number}").error == "connection refused"


def test_a_port_that_is_open_is_an_answer() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        answer = asked(f"tcp://127.0.0.1:{listening.getsockname()[1]}")
        assert (answer.status, answer.error) == (None, "")


def drip(connection: socket.socket) -> None:
    for _piece in range(60):
        connection.sendall(b"H")
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("speak", "error"),
    [
        (lambda connection: time.sleep(5), "no answer in 0.5 s"),
        (lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"), "what answers does not speak HTTP"),
        (lambda connection: None, "the connection was closed without an answer"),
    ],
    ids=["hangs", "ssh", "closes"],
)
def test_who_gives_no_answer_is_told_apart(speak: Callable[[socket.socket], None], error: str) -> None:
    with speaking(speak) as found:
        answer = asked(f"http://127.0.0.1:{found}/")
    assert answer.error == error and answer.seconds < 3


def test_who_answers_in_drops_is_given_up() -> None:
    """Each wait is short enough; the look as a whole is what is limited then."""
    with speaking(drip) as found:
        began = time.monotonic()
        endpoint = Endpoint("it", f"http://127.0.0.1:{found}/", 200, LIMIT)
        ((seen,),) = take({"it": one_endpoint(endpoint)}).values()
    assert (seen.level, seen.reason) == (Level.RED, "no answer in 1.5 s")
    assert 1.4 < time.monotonic() - began < 4


def test_tls_is_trusted_by_the_authority_that_is_given(tls: tuple[int, Path]) -> None:
    number, place = tls
    url = f"https://localhost:{number}/"
    assert asked(url, ca_file=str(place / "ours/ca.crt")).status == 200
    for trusted in (None, str(place / "theirs/ca.crt")):
        assert asked(url, ca_file=trusted).error.startswith("its certificate is not good: ")
    other = asked(f"https://127.0.0.1:{number}/", ca_file=str(place / "ours/ca.crt"))
    assert "IP address mismatch" in other.error
    assert asked(url, ca_file=str(place / "nobody.crt")).error == f"its ca_file {place / 'nobody.crt'} is not there"


def test_tls_where_there_is_none_is_told(port: int) -> None:
    assert asked(f"https://127.0.0.1:{port}/").error.startswith("TLS failed: ")


def test_a_name_that_nobody_knows() -> None:
    assert asked("http://no-such-host.invalid/").error.startswith("its name is not known here: ")
