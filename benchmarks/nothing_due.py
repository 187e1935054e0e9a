# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `ansible-playbook playbooks/backup.yml` costs when nothing is due, against a playbook with one ping."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from lab.embedded.servers import PostgresServer, start_redis, start_s3

from . import laboratory
from .laboratory import Scale
from .module import ROOT
from .pairs import Contestant, take_turns
from .rows import Row, slower

_LIMIT = 3.0


def measure(scale: Scale) -> Iterator[Row]:
    with laboratory.postgres() as server, laboratory.workplace() as place:
        redis, s3 = start_redis(place / "redis"), start_s3(place / "s3", bucket="bench")
        try:
            cache = {"host": redis.host, "port": redis.port, "password": redis.password}
            cache["bin_dir"] = os.path.dirname(redis.server_binary)
            databases = _databases(server, cache, place)
            first, second = ({"type": "local", "path": str(place / name)} for name in ("first", "second"))
            bucket = {"type": "s3", "bucket": "bench", "region": s3.region, "endpoint_url": s3.endpoint_url}
            bucket |= {"access_key": s3.access_key, "secret_key": s3.secret_key}
            for name, stores in {
                "two local stores": [first, second],
                "a local and an S3 store": [first, bucket],
            }.items():
                inventory = _inventory(place / f"{stores[1]['type']}.json", databases, stores)
                yield _contest(f"{len(databases)} databases, {name}", inventory, scale)
        finally:
            redis.stop()
            s3.stop()


def _contest(what: str, inventory: Path, scale: Scale) -> Row:
    _played(inventory, "playbooks/backup.yml")
    ours = Contestant("backup.yml", lambda: _played(inventory, "playbooks/backup.yml", "changed=0"), scale.playbooks)
    ping = Contestant("one ping", lambda: _played(inventory, "benchmarks/ping.yml"), scale.playbooks)
    take_turns(f"nothing due, {what}", ours, ping)
    return slower(
        ours, ping, f"Nothing due, {what}: `playbooks/backup.yml` as long as a playbook with one ping", _LIMIT
    )


def _played(inventory: Path, playbook: str, expected: str = "failed=0") -> float:
    """The wall time of a playbook whose recap says what is expected."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), playbook]
    started = time.monotonic()
    ended = subprocess.run(
        argv, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", check=False
    )
    seconds = time.monotonic() - started
    if ended.returncode != 0 or expected not in ended.stdout:
        raise SystemExit(
            f"{playbook} ended with {ended.returncode}, expected {expected}:\n{ended.stdout}{ended.stderr}"
        )
    return seconds


def _databases(server: PostgresServer, redis: dict[str, Any], place: Path) -> list[dict[str, Any]]:
    """One of each kind, with next to nothing in it."""
    with closing(sqlite3.connect(place / "app.db")) as connection:
        connection.executescript("CREATE TABLE t (n); INSERT INTO t VALUES (1);")
    (place / "app.env").write_text("LEVEL=info\n", encoding="utf-8")
    return [
        {
            "engine": "postgresql", "name": "postgres", "host": server.host, "port": server.port, "user": server.user,
            "password": server.password, "bin_dir": server.bin_dir, "rpo": "24h",
        },
        {"engine": "redis", "name": "cache", **redis},
        {"engine": "sqlite", "name": "app", "path": str(place / "app.db")},
        {"engine": "files", "name": "configuration", "paths": [str(place / "app.env")], "plaintext": True},
    ]  # fmt: skip


def _inventory(path: Path, databases: Sequence[dict[str, Any]], stores: Sequence[dict[str, Any]]) -> Path:
    """One host, this one, described as an operator would (JSON is YAML)."""
    described = {
        "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "runbook_system": "bench",
        "runbook_databases": databases, "runbook_stores": stores, "runbook_schedules": {"backup": "0 2 * * *"},
        "runbook_policy": {"daily": {"within": "30d"}}, "runbook_work_dir": str(path.parent),
        "runbook_cache_dir": str(path.parent / "cache"),
    }  # fmt: skip
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(opened, "w", encoding="utf-8") as file:
        json.dump({"all": {"hosts": {"bench": described}}}, file)
    return path
