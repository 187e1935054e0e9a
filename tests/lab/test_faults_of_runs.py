# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What befalls a run on ERNI from outside of it: the far store, and the way to the host."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import ROOT
from support.fault_report import Fault
from support.laboratory import layer, protect
from support.s3_proxy import Answer, S3Proxy

from lab import s3
from lab.erni import SYSTEM as ERNI
from lab.system import System

HOST = "erni-production"
BUCKET = "runbook-lab-faults"


@pytest.fixture
def system() -> str:
    """A name that nobody else's objects have."""
    return f"erni-{secrets.token_hex(4)}"


@pytest.fixture
def far(system: str) -> Iterator[S3Proxy]:
    """The laboratory's S3 server, by a way that can be cut; what the test leaves in it is deleted."""
    s3.MOTO.up([BUCKET])
    state = s3.MOTO.known()
    assert state
    with S3Proxy(state["endpoint_url"]) as proxy:
        yield proxy
    client = s3.client(state)
    for entry in client.list_objects_v2(Bucket=BUCKET, Prefix=f"{system}/").get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=entry["Key"])


@pytest.fixture
def values(system: str, tmp_path: Path) -> dict[str, Any]:
    """ERNI's PostgreSQL alone, in stores of the test's own."""
    declared = yaml.safe_load((ROOT / "inventories/erni/group_vars/all/system.yml").read_text())
    return {
        "runbook_system": system, "runbook_databases": [declared["runbook_databases"][0]],
        "runbook_stores": [{"type": "local", "path": str(tmp_path / "store")}], "runbook_metrics_file": "",
    }  # fmt: skip


def test_s3_away_during_the_copy(
    erni: System, far: S3Proxy, values: dict[str, Any], tmp_path: Path, fault: Fault
) -> None:
    state = s3.MOTO.known()
    assert state
    credentials = {key: state[key] for key in ("region", "access_key", "secret_key")}
    stores = [
        *values["runbook_stores"],
        {"type": "s3", "bucket": BUCKET, "endpoint_url": far.endpoint_url, **credentials},
    ]
    over = layer(tmp_path / "inventory", HOST, {**values, "runbook_stores": stores})
    for operation in ("PutObject", "CreateMultipartUpload"):
        far.inject(operation, Answer(503, "ServiceUnavailable"))
    run = protect(erni, "backup.yml", layers=(over,))
    assert run.returncode == 2
    (told,) = [line.strip() for line in run.summary().splitlines() if "FAILED" in line]
    assert "1 of 1 copies failed" in told and "503 ServiceUnavailable" in told
    assert "runbook-lab-faults" in told and "COPY DUE" in run.summary()
    (manifest,) = tmp_path.glob("store/*/postgresql/erni_agents/*/manifest.json")

    far.heal()
    run = protect(erni, "backup.yml", layers=(over,))
    assert run.returncode == 0, run.failures()
    assert sorted(run.kinds()) == ["copy"]
    client = s3.client(state)
    listed = client.list_objects_v2(Bucket=BUCKET, Prefix=f"{values['runbook_system']}/")["Contents"]
    assert any(entry["Key"].endswith(f"{manifest.parent.name}/manifest.json") for entry in listed)
    fault("S3 is away during the off-site copy", told, "the local backup is good; the next run completes the copy")


def test_a_host_that_ssh_does_not_reach(values: dict[str, Any], tmp_path: Path, fault: Fault) -> None:
    """Ansible's own word for it; the run ends with its code for that, 4, and nothing was begun."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    way = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": port, "ansible_become": False}
    over = layer(tmp_path / "inventory", HOST, {**values, **way})
    run = protect(ERNI, "backup.yml", layers=(over,))
    assert (run.returncode, run.counts()["unreachable"]) == (4, 1)
    (said,) = {result["msg"] for _task, result in run.results() if result.get("unreachable")}
    assert "sure this host can be reached over ssh" in said and f"port {port}: Connection refused" in said
    assert not (tmp_path / "store").exists()
    fault("the host cannot be reached by ssh", said, "nothing was begun; the run ends with 4")
