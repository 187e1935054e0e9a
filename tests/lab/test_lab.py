# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The laboratory itself: its systems are what their documents say, it heals, and its load notices what goes wrong."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from ansible_collections.runbook.ops.plugins.module_utils._errors import CommandFailed, InputError
from command_line import BIN, HANGS, ROOT
from support.laboratory import Load, told
from support.playbook import described

from lab import engine as engine_module
from lab import images, s3
from lab import sme as sme_system
from lab.command import docker
from lab.embedded import erni as erni_data
from lab.erni import AUTHORITY, secrets_of
from lab.load.site import Failed, Site
from lab.place import LABEL
from lab.system import System

DOCUMENTED = {
    "erni": {
        "erni-backend": "127.0.0.1:8000", "erni-frontend": "127.0.0.1:3000", "erni-nginx": "127.0.0.1:443 127.0.0.1:80",
        "erni-postgres": "127.0.0.1:5432", "erni-redis": "127.0.0.1:6379",
    },
    "sme": {"sme-blue": "127.0.0.2:8000", "sme-green": "127.0.0.2:8001", "sme-nginx": "127.0.0.2:80"},
}  # fmt: skip


@pytest.fixture
def door(erni: System) -> Site:
    return Site(f"https://{erni.address}", f"{erni.directory}/{AUTHORITY}/ca.crt")


def connection(erni: System, **changes: str) -> psycopg.Connection[Any]:
    values = {"password": secrets_of(erni.directory)["DB_PASSWORD"], **changes}
    return psycopg.connect(host=erni.address, user="erni_user", dbname="erni_agents", **values)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_containers_and_ports_are_the_documents(request: pytest.FixtureRequest, name: str) -> None:
    system: System = request.getfixturevalue(name)
    assert {container.name: container.ports for container in system.containers()} == DOCUMENTED[name]
    assert all(container.good for container in system.containers())


@pytest.mark.parametrize("name", DOCUMENTED)
def test_all_of_it_carries_the_label_that_takes_it_away(request: pytest.FixtureRequest, name: str) -> None:
    system: System = request.getfixturevalue(name)
    project = ["--quiet", "--filter", f"label=com.docker.compose.project={system.project}"]
    for kind in (["ps", "--all"], ["network", "ls"], ["volume", "ls"]):
        assert docker(*kind, *project) == docker(*kind, *project, "--filter", f"label={LABEL}=1")


def test_postgresql_is_15_and_process_1_itself(erni: System) -> None:
    with connection(erni) as connected:
        assert connected.info.server_version // 10_000 == 15
        assert (
            connected.execute("SELECT count(*) FROM conversations").fetchone()[0]
            >= erni_data.SIZES["demo.conversations"]
        )
    assert docker("exec", "erni-postgres", "cat", "/proc/1/comm") == "postgres\n"
    assert docker("exec", "erni-postgres", "psql", "-U", "erni_user", "-d", "erni_agents", "-Atc", "SELECT 1") == "1\n"
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connection(erni, password="wrong")


def test_redis_is_7_and_wants_its_password(erni: System) -> None:
    client = redis.Redis(host=erni.address, password=secrets_of(erni.directory)["REDIS_PASSWORD"])
    assert client.info("server")["redis_version"].startswith("7.")
    assert next(client.scan_iter("guardrail:*"))
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(host=erni.address).ping()
    assert "requirepass" not in docker("top", "erni-redis", "-o", "pid,args")


def test_tls_is_verified_by_the_authority_alone(erni: System, door: Site) -> None:
    assert door.ask("GET", "/health") == {"status": "healthy"}
    assert door.ask("GET", "/readiness")["status"] == "ready"
    trusted_by_all = Site(f"https://{erni.address}")
    trusted_by_all._tls = ssl.create_default_context()
    with pytest.raises(Failed, match="CERTIFICATE_VERIFY_FAILED"):
        trusted_by_all.ask("GET", "/health")


def test_a_conversation_is_answered_streamed_and_worked_on(door: Site) -> None:
    visitor = {"name": "A visitor", "email": "a@example.com"}
    token = door.ask("POST", "/api/auth/token", visitor)["access_token"]
    begun = door.ask("POST", "/api/conversations", visitor, token)["id"]
    question = {"content": "When is the roof of my house done?"}
    said = [door.ask("POST", f"/api/conversations/{begun}/messages", question, token) for _time in range(2)]
    assert said[1]["cached"], "the guardrail's verdict was remembered"
    *words, last = door.events(f"/api/conversations/{begun}/stream", token)
    assert len(words) > 5 and last == ("done", str(len(words)))
    job = door.ask("POST", "/api/jobs", {"conversation": begun, "kind": "summary"}, token)["id"]
    deadline = time.monotonic() + 120
    while (found := door.ask("GET", f"/api/jobs/{job}", token=token))["status"] != "done":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert found["result"].startswith("4 messages")


def test_a_token_of_anybody_elses_is_refused(door: Site) -> None:
    token = door.ask("POST", "/api/auth/token", {"name": "A", "email": "a@example.com"})["access_token"]
    head, claims, signature = token.split(".")
    for wrong in ("", f"{head}.{claims}.{signature[::-1]}"):
        with pytest.raises(Failed, match="401"):
            door.ask("GET", "/api/conversations", token=wrong)


def test_readiness_tells_that_a_service_hangs(door: Site) -> None:
    docker("pause", "erni-redis")
    try:
        with pytest.raises(Failed, match=r'503 .*"cache":"unreachable"'):
            door.ask("GET", "/readiness")
        assert door.ask("GET", "/health") == {"status": "healthy"}
    finally:
        docker("unpause", "erni-redis")
    assert door.ask("GET", "/readiness")["status"] == "ready"


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_load_is_steady_and_nothing_fails(request: pytest.FixtureRequest, load: Load, name: str) -> None:
    summary, failures = told(load(request.getfixturevalue(name), seconds=6))
    assert failures == []
    assert summary["requests"] == sum(summary["actions"].values()) >= 20
    assert summary["per_second"] <= 60


def test_the_load_notices_a_backend_that_is_away(erni: System, load: Load, door: Site) -> None:
    process = load(erni, seconds=8)
    time.sleep(2)
    docker("kill", "erni-backend")
    try:
        summary, failures = told(process)
    finally:
        erni.up()
    assert summary["failed"] == len(failures) > 0
    assert any(re.search(r": 50[24] ", failure["error"]) for failure in failures), failures[0]
    assert all({"at", "action", "error", "seconds"} <= set(failure) for failure in failures)


def test_what_is_missing_is_brought_back_and_nothing_else_is_touched(erni: System) -> None:
    assert erni.up() is False
    before = {
        container.name: docker("inspect", "--format", "{{.Id}}", container.name) for container in erni.containers()
    }
    docker("rm", "--force", "erni-frontend")
    assert not erni.stands()
    assert erni.up() is True and erni.stands()
    after = {
        container.name: docker("inspect", "--format", "{{.Id}}", container.name) for container in erni.containers()
    }
    assert {name for name in before if before[name] != after[name]} == {"erni-frontend"}


def test_sme_is_switched_to_the_other_colour_and_back_without_a_failure(sme: System, load: Load) -> None:
    site = Site(f"http://{sme.address}")
    process = load(sme, seconds=8)
    time.sleep(1)
    for port in ("8001", "8000"):
        sme_system.switch(sme.directory, port)
        assert Path(sme.directory, sme_system.ACTIVE_PORT).read_text() == f"{port}\n"
        deadline = time.monotonic() + 120
        while site.ask("GET", "/health/ready")["port"] != port:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(1)
    assert told(process)[1] == []


def test_sme_keeps_its_business_in_a_file_on_the_host(sme: System) -> None:
    site = Site(f"http://{sme.address}")
    for path in ("live", "ready", "startup", "metrics"):
        assert site.ask("GET", f"/health/{path}")
    token = site.ask("POST", "/auth/login", {"email": "user1@example.com"})["access_token"]
    placed = site.ask("POST", "/orders", {"product": 1, "quantity": 3}, token)["id"]
    backend = Path(sme.directory, "backend")
    with closing(sqlite3.connect(f"file:{backend}/sme_erp_dev.db?mode=ro", uri=True)) as business:
        assert business.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert business.execute("SELECT quantity FROM orders WHERE id = ?", (placed,)).fetchone() == (3,)
    with closing(sqlite3.connect(f"file:{backend}/ops/alerts.db?mode=ro", uri=True)) as alerts:
        alerts.execute("SELECT severity, title FROM alerts WHERE resolved = 0")


@pytest.fixture
def small(engine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    """A system of one Redis in a laboratory of its own."""
    monkeypatch.setenv("RUNBOOK_LAB_DIR", str(tmp_path / "lab"))
    compose = tmp_path / "docker-compose.yml"
    labels = {f"{LABEL}": "1"}
    service = {"image": "${REDIS_IMAGE}", "labels": labels, "volumes": ["data:/data"]}
    health = {"test": ["CMD", "redis-cli", "ping"], "interval": "1s", "timeout": "5s", "retries": 30}
    declared = {
        "name": "runbook-lab-small", "services": {"cache": {**service, "healthcheck": health}},
        "volumes": {"data": {"labels": labels}}, "networks": {"default": {"labels": labels}},
    }  # fmt: skip
    compose.write_text(json.dumps(declared))
    system = System(
        name="small", project="runbook-lab-small", address="127.0.0.1", services=("cache",), first=(),
        images={"REDIS_IMAGE": "redis"}, files={"docker-compose.yml": compose}, env_files=(), buckets=("small",),
        configure=lambda directory: None, fill=lambda directory: None,
    )  # fmt: skip
    yield system
    system.down(data=True)
    s3.MOTO.down()


def left(system: System, *kind: str) -> list[str]:
    return docker(*kind, "--quiet", "--filter", f"label=com.docker.compose.project={system.project}").split()


def test_down_keeps_data_until_it_is_told_otherwise(small: System) -> None:
    assert small.up() is True and small.up() is False
    docker("exec", left(small, "ps")[0], "redis-cli", "set", "kept", "yes")
    docker("exec", left(small, "ps")[0], "redis-cli", "save")
    assert small.down(data=False) is True
    assert (left(small, "ps", "--all"), left(small, "network", "ls")) == ([], [])
    assert small.up() is True
    assert docker("exec", left(small, "ps")[0], "redis-cli", "get", "kept") == "yes\n"
    assert small.down(data=True) is True
    assert left(small, "volume", "ls") == [] and not Path(small.directory).exists()
    assert small.down(data=True) is False


def test_data_whose_directory_is_gone_is_begun_anew(small: System) -> None:
    """Its passwords were there."""
    small.up()
    docker("exec", left(small, "ps")[0], "redis-cli", "set", "kept", "yes")
    docker("exec", left(small, "ps")[0], "redis-cli", "save")
    shutil.rmtree(small.directory)
    Path(small.directory, "docker-compose.yml").mkdir(parents=True)  # as an Engine does for a mounted file that is gone
    somebodys = Path(small.directory, "notes/mine")
    somebodys.parent.mkdir()
    somebodys.touch()
    assert small.up() is True and small.stands() and somebodys.exists()
    assert docker("exec", left(small, "ps")[0], "redis-cli", "get", "kept") == "\n"


def test_the_number_of_a_killed_engine_is_forgotten_and_that_of_a_living_one_kept(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    program = Path("/proc/self/comm").read_text().strip()
    pid_file.write_text(str(os.getpid()))
    engine_module._forget(str(pid_file), program)
    assert pid_file.exists()
    for text, kept in ((str(os.getpid()), False), ("4194305", False), ("no number", True)):
        pid_file.write_text(text)
        engine_module._forget(str(pid_file), "dockerd")
        assert pid_file.exists() is kept


def test_a_service_that_never_gets_well_is_told_with_its_output(small: System, tmp_path: Path) -> None:
    compose = json.loads((tmp_path / "docker-compose.yml").read_text())
    compose["services"]["cache"]["healthcheck"].update(test=["CMD", "false"], retries=1)
    (tmp_path / "docker-compose.yml").write_text(json.dumps(compose))
    with pytest.raises(CommandFailed, match="unhealthy"):
        small.up()
    assert not small.stands()


def test_an_image_is_named_after_what_it_is_made_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\n")
    monkeypatch.setitem(images.IMAGES, "child", images.Image(tmp_path))
    before = images._tag("child")
    assert images._tag("child") == before
    (tmp_path / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nRUN true\n")
    changed = images._tag("child")
    monkeypatch.setitem(images.IMAGES, "base", replace(images.IMAGES["base"], context=tmp_path))
    assert len({before, changed, images._tag("child")}) == 3


def test_an_image_that_cannot_be_had_is_named(engine: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBOOK_LAB_IMAGE_REDIS", "runbook-lab/nobody:made-this")
    with pytest.raises(
        InputError, match=r"RUNBOOK_LAB_IMAGE_REDIS is 'runbook-lab/nobody:made-this', which cannot be had"
    ):
        images.ensure("redis")


def lab(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "lab", *arguments]
    return subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=HANGS, check=False)


def test_without_an_engine_one_sentence_says_so() -> None:
    ended = lab("up", "engine", PATH="/usr/bin:/bin", DOCKER_HOST="unix:///nowhere/docker.sock")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        "DOCKER_HOST is unix:///nowhere/docker.sock, where no Docker Engine answers. "
        "Start Docker, or point DOCKER_HOST at one that runs.\n"
    )


def test_what_is_described_for_the_laboratory_is_the_real_description(erni: System, sme: System) -> None:
    """But for paths, passwords and keys, which are the host's."""
    for system in (erni, sme):
        real = ROOT / "inventories" / system.name
        (there,) = described(real, DB_PASSWORD="x", REDIS_PASSWORD="x", SME_BACKUP_KEY="x").values()
        (here,) = described(real, ROOT / "lab/inventories" / system.name).values()
        for name in ("system", "runtime", "schedules", "policy", "keep_last_good", "keep_labelled", "max_delete"):
            assert here[name] == there[name]
        for one, other in zip(here["databases"], there["databases"], strict=True):
            assert without_places(one) == without_places(other)
        assert [(s["type"], s.get("bucket"), s.get("storage_class")) for s in here["stores"]] == [
            (s["type"], s.get("bucket"), s.get("storage_class")) for s in there["stores"]
        ]


def without_places(database: dict[str, Any]) -> dict[str, Any]:
    told = {key: value for key, value in database.items() if key not in ("path", "paths", "password", "recipients")}
    told["checks"] = [check for check in told["checks"] if "file" not in check]
    return told


PAGE = ROOT / "docs/lab.md"


@pytest.mark.parametrize(
    "command",
    [line for block in re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL) for line in block.splitlines()],
)
def test_what_the_page_says_to_type_works(
    request: pytest.FixtureRequest, erni: System, sme: System, command: str
) -> None:
    if command == "make lab-up" or "valeo" in command:  # elsewhere there may be no Kubernetes
        request.getfixturevalue("valeo")
    if "lab-down" in command:  # it would take the systems from the tests after this one
        command = command.replace("make", "make --dry-run")
    ended = subprocess.run(
        shlex.split(command), cwd=ROOT, capture_output=True, text=True, timeout=HANGS, check=False,
        env={**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
    )  # fmt: skip
    assert ended.returncode == 0, f"{command}\n{ended.stdout[-3000:]}\n{ended.stderr}"
