# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An S3 server (moto) in a process of its own: ``python -m lab.embedded.s3``, options as JSON on stdin.

Its interpreter may lie where only root can read, so it gives up root by itself once everything is loaded.
With a state file its buckets outlive it: they are written down a moment after they change, and when it is told to end.
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, NoReturn

from ansible_collections.runbook.ops.plugins.module_utils import _server
from moto.core.base_backend import BackendDict
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import make_server
from werkzeug.test import Client, TestResponse

from .unprivileged import become, read_options

QUIET_SECONDS = 0.3
MOTO_ACCOUNT = "123456789012"
READING = ("GET", "HEAD", "OPTIONS")

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Handler(MotoRequestHandler):
    """Says nothing about requests: the log is for what goes wrong."""

    def log_request(self, *args: object, **kwargs: object) -> None:
        pass


class Durable:
    """The application, with its buckets in a file. Changes and the writing down take turns."""

    def __init__(self, application: Application, path: str) -> None:
        self._application = application
        self._path = path
        self._turn = threading.Lock()
        self._changed = threading.Event()
        if os.path.exists(path):
            with open(path, "rb") as file:
                _backend().buckets = pickle.load(file)  # noqa: S301 - our own file, in our own directory
        threading.Thread(target=self._write_down, daemon=True).start()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in READING:
            return self._application(environ, start_response)
        with self._turn:
            try:
                return self._application(environ, start_response)
            finally:
                self._changed.set()

    def _write_down(self) -> None:
        while self._changed.wait():
            while self._changed.is_set():
                self._changed.clear()
                threading.Event().wait(QUIET_SECONDS)
            self.save()

    def save(self) -> None:
        with self._turn:
            partial = f"{self._path}.partial"
            with open(partial, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                pickle.dump(_backend().buckets, file, protocol=5)
            os.replace(partial, self._path)


def _backend() -> Any:
    backends: BackendDict[Any] = s3_backends
    return backends[MOTO_ACCOUNT]["aws"]


def _load_everything(application: Application) -> None:
    """moto imports as requests come; have it done while everything can be read."""
    for late in ("_strptime", "werkzeug.debug.tbtools"):  # by retention dates, and by the report of an error
        importlib.import_module(late)
    client = Client(application)
    somebody = {"Authorization": "AWS4-HMAC-SHA256 Credential=warm/20260101/us-east-1/s3/aws4_request"}

    def ask(method: str, path: str, data: bytes | str = b"") -> TestResponse:
        return client.open(path, method=method, data=data, headers=somebody)

    ask("PUT", "/warm-up")
    ask("PUT", "/warm-up/key", b"x")
    ask("GET", "/warm-up/key")
    ask("GET", "/warm-up?list-type=2")
    begun = ask("POST", "/warm-up/key?uploads").text
    upload = f"/warm-up/key?uploadId={begun.partition('<UploadId>')[2].partition('<')[0]}"
    etag = ask("PUT", f"{upload}&partNumber=1", b"x").headers["ETag"]
    part = f"<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>"
    ask("POST", upload, f"<CompleteMultipartUpload>{part}</CompleteMultipartUpload>")
    ask("POST", "/warm-up?delete", "<Delete><Object><Key>key</Key></Object></Delete>")
    ask("DELETE", "/warm-up")
    client.post("/moto-api/reset")


def main() -> None:
    options = read_options()
    os.environ["MOTO_S3_DEFAULT_MAX_KEYS"] = str(options["page"])
    application: Application = DomainDispatcherApplication(create_backend_app)
    _load_everything(application)
    become(options["account"], options["parent"])
    durable = Durable(application, options["state"]) if options["state"] else None

    if options["bucket"] and options["bucket"] not in _backend().buckets:
        _backend().create_bucket(options["bucket"], options["region"])

    def finish(_number: int, _frame: FrameType | None) -> NoReturn:
        if durable:
            durable.save()
        os._exit(0)

    signal.signal(signal.SIGTERM, finish)
    server = make_server(
        _server.LOOPBACK, options["port"], durable or application, threaded=True, request_handler=Handler
    )
    server.serve_forever()


if __name__ == "__main__":
    main()
