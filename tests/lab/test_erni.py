# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ERNI's database, backed up while its application writes, comes back by hand, row for row; production notices nothing."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import ROOT
from support.laboratory import Load, layer, protect, told

from lab import images
from lab.command import docker
from lab.place import LABEL
from lab.system import System

TABLES = ("conversations", "messages", "projects", "consultations")
ROWS = "SELECT md5(string_agg(md5({table}::text), '' ORDER BY id)) FROM {table}"
SECONDS = 300.0


@pytest.fixture
def by_hand(engine: None) -> Iterator[str]:
    """A fresh PostgreSQL in a container, without a network, that nothing of ours knows."""
    container = docker(
        "run", "--detach", "--rm", "--network", "none", "--label", f"{LABEL}=1", "--env", "POSTGRES_PASSWORD=by-hand",
        images.ensure("postgres"),
    ).strip()  # fmt: skip
    try:
        deadline = time.monotonic() + SECONDS
        while subprocess.run(
            ["docker", "exec", container, "pg_isready", "-q", "-h", "127.0.0.1"], check=False
        ).returncode:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield container
    finally:
        docker("rm", "--force", "--volumes", container)


def piped(container: str, file: Path, shell: str) -> None:
    """A file into a pipeline of stock programs in the container."""
    with file.open("rb") as data:
        argv = ["docker", "exec", "--interactive", container, "sh", "-ec", shell]
        ended = subprocess.run(argv, stdin=data, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def asked(container: str, database: str, user: str, query: str) -> str:
    return docker("exec", container, "psql", "-U", user, "-d", database, "-Atc", query).strip()


@pytest.fixture
def checksummed(tmp_path: Path) -> Path:
    """ERNI's PostgreSQL alone, with a checksum of every row of each table among its checks, and a store of the test's own."""
    declared = yaml.safe_load((ROOT / "inventories/erni/group_vars/all/system.yml").read_text())
    database: dict[str, Any] = declared["runbook_databases"][0]
    database["checks"] = [
        {"name": f"the rows of {table}", "sql": ROWS.format(table=table), "expect": "source"} for table in TABLES
    ]
    values = {
        "runbook_system": "erni-by-hand", "runbook_databases": [database],
        "runbook_stores": [{"type": "local", "path": str(tmp_path / "store")}],
        "runbook_metrics_file": "",
    }  # fmt: skip
    return layer(tmp_path / "inventory", "erni-production", values)


def test_a_backup_under_load_restores_by_hand_row_for_row(
    erni: System, load: Load, by_hand: str, checksummed: Path, tmp_path: Path
) -> None:
    writing = load(erni, seconds=90)
    time.sleep(2)
    run = protect(erni, "backup.yml", layers=(checksummed,))
    assert run.returncode == 0, run.failures()
    time.sleep(1)
    writing.terminate()
    summary, failures = told(writing)
    assert failures == [] and summary["actions"]["say"] > 0, "a backup is nobody's interruption"

    (manifest_file,) = tmp_path.glob("store/*/postgresql/erni_agents/*/manifest.json")
    manifest = json.loads(manifest_file.read_text())
    observed = {entry["name"]: entry["value"] for entry in manifest["observed"]}
    backup = manifest_file.parent
    piped(by_hand, backup / "globals.sql.zst", "zstd -dc | psql -q -U postgres -d postgres")
    docker("exec", by_hand, "createdb", "-U", "postgres", "-T", "template0", "restored")
    piped(by_hand, backup / "data.pgc.zst", "zstd -dc | pg_restore -U postgres --exit-on-error --dbname restored")

    for table in TABLES:
        restored = asked(by_hand, "restored", "postgres", ROWS.format(table=table))
        assert len(restored) == 32
        assert restored == observed[f"sql:the rows of {table}"]
    # Had the checksum been of anything but that moment, or blind to rows, it would be production's of now.
    now = asked("erni-postgres", "erni_agents", "erni_user", ROWS.format(table="messages"))
    assert now != observed["sql:the rows of messages"]


def test_a_verification_under_load_touches_nothing_but_its_scratch(
    erni: System, load: Load, checksummed: Path, tmp_path: Path
) -> None:
    assert protect(erni, "backup.yml", layers=(checksummed,)).returncode == 0
    databases = "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database"
    servers = ["ps", "--all", "--quiet", "--filter", f"ancestor={images.ensure('postgres')}"]
    before = asked("erni-postgres", "postgres", "erni_user", databases), docker(*servers)
    writing = load(erni, seconds=90)
    run = protect(erni, "verify_backups.yml", layers=(checksummed,))
    writing.terminate()
    assert run.returncode == 0, run.failures()
    (verified,) = tmp_path.glob("store/*/postgresql/erni_agents/*/verification.json")
    verdict = json.loads(verified.read_text())
    assert (verdict["result"], verdict["method"]) == ("passed", "restore")
    assert len(verdict["checks"]) == len(TABLES) and all(check["passed"] for check in verdict["checks"])
    assert told(writing)[1] == []
    assert before == (asked("erni-postgres", "postgres", "erni_user", databases), docker(*servers))
