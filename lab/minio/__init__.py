# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MinIO: an S3 server as systems have it, strict about signatures, checksums, versions and locks. It is run, never shipped."""

from __future__ import annotations

import os
import secrets
import shutil
import urllib.request
from pathlib import Path

from ansible_collections.runbook.ops.plugins.module_utils import _server

from ..embedded.servers import REGION, S3Server
from ..embedded.unprivileged import LOG_FILE, PID_FILE, make_passable
from ..go import Programs

PROGRAMS = Programs(
    title="MinIO", sources=Path(__file__).resolve().parent / "program", packages=("github.com/minio/minio",)
)
START_SECONDS = 60.0


def possible() -> None:
    """Say in one sentence why there can be none here."""
    if not PROGRAMS.ready():
        PROGRAMS.possible()


def start(
    directory: str | os.PathLike[str], *, port: int = 0, access_key: str = "embedded", secret_key: str | None = None,
    detach: bool = False,
) -> S3Server:  # fmt: skip
    """A server with its drive, log and (where its account could not reach it) program in ``directory``.

    Where there was one before, it is started again with what it stored. It dies with us unless ``detach`` is set.
    """
    PROGRAMS.ensure()
    home, account = os.path.abspath(directory), _server.account(None)
    make_passable(home)
    program = _program(home, account)
    data = _server.give(os.path.join(home, "data"), account)
    secret_key = secret_key or secrets.token_urlsafe(18)
    log = os.path.join(home, LOG_FILE)

    def launch(chosen: int) -> _server.Server:
        process = _server.spawn(
            [program, "server", "--address", f"{_server.LOOPBACK}:{chosen}", "--certs-dir", f"{data}/certificates",
             f"{data}/drive"],
            account=account, cwd=data, stderr_path=log, die_with_parent=not detach,
            pid_file=os.path.join(home, PID_FILE),
            env={"MINIO_CONFIG_ENV_FILE": "/dev/stdin", "MINIO_BROWSER": "off", "MINIO_UPDATE": "off",
                 "MINIO_SITE_REGION": REGION},
            stdin=f"MINIO_ROOT_USER={access_key}\nMINIO_ROOT_PASSWORD={secret_key}\n".encode(),
        )  # fmt: skip
        return _server.Server(process, chosen, log)

    server = _server.launch("MinIO", launch, _answers, port=port, timeout=START_SECONDS)
    return S3Server(f"http://{server.host}:{server.port}", access_key, secret_key, REGION, server)


def _program(home: str, account: _server.Account | None) -> str:
    built = PROGRAMS.program("minio")
    if _server.reachable(built, account):
        return built
    copy = os.path.join(home, "minio")
    shutil.copy(built, f"{copy}.partial")
    os.rename(f"{copy}.partial", copy)
    return copy


def _answers(server: _server.Server) -> bool:
    """Not before it knows its buckets and accounts."""
    try:
        with urllib.request.urlopen(f"http://{server.host}:{server.port}/minio/health/cluster", timeout=2):
            return True
    except OSError:
        return False
