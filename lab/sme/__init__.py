# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The SME ERP as its runbook describes it: blue on 8000, green on 8001, SQLite on the host, nginx before the active colour."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from ..command import docker
from ..embedded import configuration, sme
from ..system import System

HERE = Path(__file__).resolve().parent
ADDRESS = os.environ.get("RUNBOOK_LAB_SME_ADDRESS", "127.0.0.2")
"""Beside ERNI, which has the same ports."""

COLOURS = {"8000": "blue", "8001": "green"}
ACTIVE_PORT = "backend/ops/active_port.txt"
APPLICATION = 10001
"""The account that the application has in its containers; the database is its own."""


def switch(directory: str, port: str) -> None:
    """Send new requests to the colour on this port; those under way end where they are."""
    _point(directory, port)
    docker("exec", "sme-nginx", "nginx", "-s", "reload")


def _point(directory: str, port: str) -> None:
    colour = f"set $active http://{COLOURS[port]}:{port};\n"
    configuration.write(os.path.join(directory, "nginx/active/colour.conf"), colour.encode(), replace=True)
    configuration.write(os.path.join(directory, ACTIVE_PORT), f"{port}\n".encode(), replace=True)


def _configure(directory: str) -> None:
    backend = os.path.join(directory, "backend")
    for path in (backend, os.path.join(backend, "ops")):
        os.makedirs(path, mode=0o700, exist_ok=True)
        _give(path)
    env = f"ENVIRONMENT=development\nSECRET_KEY={secrets.token_hex(32)}\n"
    configuration.write(os.path.join(backend, ".env.dev"), env.encode())
    if not os.path.exists(os.path.join(directory, ACTIVE_PORT)):
        _point(directory, "8000")
    configuration.write_keys(os.path.join(directory, "keys"), "SME ERP <backup@sme-erp.example.com>")
    for name in ("backend/backups", "metrics", "cache", "work"):
        os.makedirs(os.path.join(directory, name), mode=0o700, exist_ok=True)
    os.chmod(os.path.join(directory, "work"), 0o711)  # noqa: S103 - scratch servers run under another account


def _fill(directory: str) -> None:
    path = os.path.join(directory, "backend", "sme_erp_dev.db")
    sme.create(path)
    _give(path)


def _give(path: str) -> None:
    """To the application, where we may; without root the Engine maps its account to ours."""
    if os.geteuid() == 0:
        os.chown(path, APPLICATION, APPLICATION)


SYSTEM = System(
    name="sme",
    project="sme_erp",
    address=ADDRESS,
    services=("blue", "green", "nginx"),
    first=(),
    images={"APP_IMAGE": "sme-app", "NGINX_IMAGE": "nginx"},
    files={"docker-compose.yml": HERE / "docker-compose.yml", "nginx/nginx.conf": HERE / "nginx" / "nginx.conf"},
    env_files=(),
    buckets=("sme-erp-backups",),
    configure=_configure,
    fill=_fill,
)
