# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ERNI system as its runbook describes it: nginx, backend, frontend, PostgreSQL 15 and Redis 7 on one Docker host."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import redis

from .. import certificates
from ..embedded import configuration, erni
from ..system import System

HERE = Path(__file__).resolve().parent
ENV_FILE = "python-backend/.env"
DOMAIN = "erni-gruppe.ch"
ADDRESS = os.environ.get("RUNBOOK_LAB_ERNI_ADDRESS", "127.0.0.1")
AUTHORITY = "authority"
KEYS = "keys"


def secrets_of(directory: str) -> dict[str, str]:
    """The system's ``.env``."""
    lines = Path(directory, ENV_FILE).read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line)


def _configure(directory: str) -> None:
    env = {
        "ENVIRONMENT": "production", "CORS_ORIGINS": f"https://{DOMAIN}",
        "OPENAI_API_KEY": f"sk-laboratory-{secrets.token_hex(16)}", "OPENAI_VECTOR_STORE_ID": "vs_laboratory",
        "SECRET_KEY": secrets.token_hex(32), "JWT_SECRET_KEY": secrets.token_hex(32),
        "DB_PASSWORD": secrets.token_hex(32), "REDIS_PASSWORD": secrets.token_hex(32),
    }  # fmt: skip
    lines = "".join(f"{name}={value}\n" for name, value in env.items())
    configuration.write(os.path.join(directory, ENV_FILE), lines.encode())
    _configure_redis(os.path.join(directory, "redis"), secrets_of(directory)["REDIS_PASSWORD"])
    certificates.ensure(
        os.path.join(directory, AUTHORITY), os.path.join(directory, "nginx", "ssl", "erni"),
        (DOMAIN, "localhost", ADDRESS),
    )  # fmt: skip
    configuration.write_keys(os.path.join(directory, KEYS), f"ERNI Gruppe <admin@{DOMAIN}>")
    for name in ("backups", "metrics", "cache", "work"):
        os.makedirs(os.path.join(directory, name), mode=0o700, exist_ok=True)
    os.chmod(os.path.join(directory, "work"), 0o711)  # noqa: S103 - scratch servers run under another account


def _configure_redis(directory: str, password: str) -> None:
    """The password by configuration. The server's account reads the file in its container; here only its owner gets there."""
    path = os.path.join(directory, "redis.conf")
    lines = (
        "save 900 1",
        "appendonly no",
        "maxmemory 256mb",
        "maxmemory-policy allkeys-lru",
        f"requirepass {password}",
    )
    configuration.write(path, "".join(f"{line}\n" for line in lines).encode())
    os.chmod(path, 0o644)


def _fill(directory: str) -> None:
    password = secrets_of(directory)["DB_PASSWORD"]
    postgres = {
        "host": ADDRESS, "port": 5432, "superuser": erni.OWNER, "superuser_password": password, "password": password,
    }  # fmt: skip
    if not _filled(postgres):
        erni.create(postgres, erni.DATABASE, erni.SIZES)
    cache = {"host": ADDRESS, "port": 6379, "password": secrets_of(directory)["REDIS_PASSWORD"]}
    client = redis.Redis(**cache)
    if not client.dbsize():
        erni.fill_cache(cache)
    client.close()


def _filled(postgres: dict[str, Any]) -> bool:
    """The tables come in one transaction: the last one stands for all."""
    with erni.connected(postgres, erni.DATABASE, erni.OWNER, postgres["password"]) as connection:
        found = connection.execute("SELECT to_regclass('consultations') IS NOT NULL").fetchone()
    return bool(found and found[0])


SYSTEM = System(
    name="erni",
    project="openai-cs-agents-demo",
    address=ADDRESS,
    services=("backend", "frontend", "nginx", "postgres", "redis"),
    first=("postgres", "redis"),
    images={
        "POSTGRES_IMAGE": "postgres",  # what takes longest to build comes first
        "BACKEND_IMAGE": "erni-backend",
        "REDIS_IMAGE": "redis",
        "NGINX_IMAGE": "nginx",
        "FRONTEND_IMAGE": "erni-frontend",
    },
    files={"docker-compose.yml": HERE / "docker-compose.yml", "nginx/nginx.conf": HERE / "nginx" / "nginx.conf"},
    env_files=(ENV_FILE,),
    buckets=("erni-agents-backups",),
    configure=_configure,
    fill=_fill,
)
