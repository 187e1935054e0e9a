# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every inventory describes its systems in words that the modules understand, with the values that the documents give."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pysequoia
import pytest
from command_line import ROOT
from support.playbook import Demo, described, parsed
from support.slots import DAILY as FAR
from support.slots import FAR_FROM_SLOTS

INVENTORIES = sorted(path.name for path in (ROOT / "inventories").iterdir())
ENVIRONMENT = {
    "DB_PASSWORD": "of-erni", "REDIS_PASSWORD": "of-cache", "NEUROERP_DB_PASSWORD": "of-neuroerp",
    "VALEO_ERP_DB_PASSWORD": "of-valeo-erp", "VALEO_REPOSITORY": "/srv/valeo",
}  # fmt: skip

DAILY, RETENTION = "0 2 * * *", {"daily": "30d", "weekly": "90d", "monthly": "365d"}
ARCHIVED = {"weekly": "GLACIER", "monthly": "DEEP_ARCHIVE"}
DOCUMENTED: dict[str, dict[str, Any]] = {
    "demo": {
        "databases": {
            "postgresql/erni_agents": {"user": "erni_user", "rpo": "24h", "rto": "4h"},
            "redis/cache": {"schedule": "0 3 * * *", "policy": {"daily": {"within": "7d"}}},
            "sqlite/sme_erp": {"rto": "5m"},
            "files/configuration": {},
        },
        "stores": [{"type": "local"}, {"bucket": "erni-agents-backups", "storage_class": "STANDARD_IA"}],
    },
    "erni-production": {
        "runtime": {"type": "compose", "project": "openai-cs-agents-demo"},
        "databases": {
            "postgresql/erni_agents": {
                "service": "postgres", "port": 5432, "user": "erni_user", "password": "of-erni", "rpo": "24h", "rto": "4h",
            },
            "redis/cache": {
                "service": "redis", "port": 6379, "password": "of-cache", "schedule": "0 3 * * *",
                "policy": {"daily": {"within": "7d"}},
            },
            "files/configuration": {
                "paths": ["/opt/erni-agents/python-backend/.env", "/opt/erni-agents/nginx/ssl"],
                "recipients": ["admin@erni-gruppe.ch"],
                "policy": {"daily": {"within": "365d"}},
            },
        },
        "stores": [{"path": "/backups"}, {"bucket": "erni-agents-backups", "storage_class": "STANDARD_IA"}],
    },
    "sme-production": {
        "runtime": {"type": "compose", "project": "sme_erp"},
        "databases": {
            "sqlite/sme_erp": {"path": "/workspaces/sme_erp/backend/sme_erp_dev.db", "rpo": "24h", "rto": "5m"},
            "sqlite/alerts": {"path": "/workspaces/sme_erp/backend/ops/alerts.db", "rto": "5m"},
            "files/configuration": {
                "paths": ["/workspaces/sme_erp/backend/.env.dev", "/workspaces/sme_erp/backend/ops/active_port.txt"],
            },
        },
        "stores": [{"path": "/workspaces/sme_erp/backend/backups"}, {"type": "s3"}],
    },
    "neuroerp": {
        "runtime": {"type": "kubernetes", "context": "valeo", "namespace": "neuroerp", "scratch_namespace": "valeo-scratch"},
        "databases": {
            "postgresql/neuroerp": {"user": "postgres", "password": "of-neuroerp"},
            "files/configuration": {"paths": ["/srv/valeo/charts/neuroerp/values.yaml"]},
        },
        "stores": [{"path": "/backups"}, {"bucket": "neuroerp-archive-backup"}],
        "archive": {
            "objects": {"type": "local", "path": "/data/archives"},
            "sources": [
                {"type": "s3", "bucket": "neuroerp-archive-backup", "prefix": "latest", "region": "eu-central-1"},
                {"type": "s3", "bucket": "neuroerp-archive-backup", "region": "eu-central-1"},
            ],
        },
    },
    "valeo-erp": {
        "runtime": {"type": "kubernetes", "context": "valeo", "namespace": "production", "scratch_namespace": "valeo-scratch"},
        "databases": {
            "postgresql/valeo_erp": {"port": 5432, "user": "valeo_erp", "password": "of-valeo-erp"},
            "files/configuration": {},
        },
        "stores": [{"path": "/backups"}, {"bucket": "neuroerp-archive-backup"}],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The OpenPGP keys that the inventories seal to: a public key's file, and a keyring that has the address in it."""
    directory = tmp_path_factory.mktemp("keys")
    public = directory / "public.asc"
    public.write_text(str(pysequoia.Tsk.generate("ERNI <admin@erni-gruppe.ch>").extract_certificate()))
    keyring = directory / "keyring"
    keyring.mkdir(mode=0o700)
    if gpg := shutil.which("gpg"):
        subprocess.run([gpg, "--homedir", keyring, "--batch", "--quiet", "--import", public], check=True)
    return {"SME_BACKUP_KEY": str(public), "VALEO_BACKUP_KEY": str(public), "GNUPGHOME": str(keyring)}


@pytest.fixture(scope="module")
def told(demo: Demo, keys: dict[str, str]) -> dict[str, dict[str, Any]]:
    """What each host's variables come to."""
    environment = {**demo.environment, **ENVIRONMENT, **keys}
    found = [described(ROOT / "inventories" / inventory, **environment) for inventory in INVENTORIES]
    return {host: values for hosts in found for host, values in hosts.items()}


def test_a_test_on_any_of_them_crosses_no_slot(demo: Demo, keys: dict[str, str]) -> None:
    """Whatever schedule an inventory gets, in whatever place: it is half a day away under a test's layer."""
    environment = {**demo.environment, **ENVIRONMENT, **keys}
    for inventory in INVENTORIES:
        for host, system in described(ROOT / "inventories" / inventory, FAR_FROM_SLOTS, **environment).items():
            schedules = [*system["schedules"].values(), *(one.get("schedule") for one in system["databases"])]
            hours = {schedule.split()[1] for schedule in schedules if schedule}
            assert hours == {FAR.split()[1]}, host


def test_every_host_is_known(told: dict[str, dict[str, Any]]) -> None:
    assert set(told) == set(DOCUMENTED), "say above what the documents give for a new system"


@pytest.mark.parametrize("host", DOCUMENTED)
def test_the_modules_understand_it(
    told: dict[str, dict[str, Any]], keys: dict[str, str], host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = told[host]
    recipients = [recipient for database in system["databases"] for recipient in database.get("recipients", [])]
    if any("@" in recipient for recipient in recipients) and not shutil.which("gpg"):
        pytest.skip("NOT RUN: there is no gpg, in whose keyring an address is looked up")
    monkeypatch.setenv("GNUPGHOME", keys["GNUPGHOME"])
    databases = parsed(system)
    assert [f"{found.scope.engine}/{found.scope.database}" for found in databases] == list(
        DOCUMENTED[host]["databases"]
    )
    assert all(found.schedules.backup and found.schedules.verify for found in databases)


@pytest.mark.parametrize("host", DOCUMENTED)
def test_the_documents_values_are_there(told: dict[str, dict[str, Any]], host: str) -> None:
    system, documented = told[host], DOCUMENTED[host]
    assert system["runtime"].items() >= documented.get("runtime", {"type": "local"}).items()
    databases = {f"{database['engine']}/{database['name']}": database for database in system["databases"]}
    for name, values in documented["databases"].items():
        assert databases[name].items() >= values.items()
    for store, values in zip(system["stores"], documented["stores"], strict=True):
        assert store.items() >= values.items()
    assert system["archive"].items() >= documented.get("archive", {}).items()
    assert system["schedules"]["backup"] == DAILY
    assert {name: rule["within"] for name, rule in system["policy"].items()} == RETENTION
    assert {n: rule["storage_class"] for n, rule in system["policy"].items() if "storage_class" in rule} == ARCHIVED
    assert system["policy"]["monthly"]["select"] == "oldest"


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_no_secret_is_written_down(inventory: str) -> None:
    """A password, key or token in an inventory is looked up somewhere, never spelled out."""
    for path in sorted(Path(ROOT, "inventories", inventory).rglob("*.yml")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            key, _colon, value = line.strip().removeprefix("- ").partition(": ")
            if key in ("password", "secret_key", "access_key", "session_token"):
                assert "{{" in value, f"{path}:{number}"
