# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's servers: started once, healed when one died, stopped with their data kept, deleted only where they are ours."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
import redis
from ansible_collections.runbook.ops.plugins.module_utils import _server
from ansible_collections.runbook.ops.plugins.module_utils._errors import Busy, EngineError, InputError
from ansible_collections.runbook.ops.plugins.module_utils._records import Scope
from ansible_collections.runbook.ops.plugins.module_utils._scratch import scratch_directory
from ansible_collections.runbook.ops.plugins.module_utils._store.local import LocalStore

from lab.embedded import demo, history, servers, sme
from lab.embedded.servers import PostgresServer, start_redis, start_s3


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The directory of a demo that is up."""
    parent = tmp_path_factory.mktemp("demo")
    parent.chmod(0o711)
    directory = str(parent / "a demo")  # a path with a space
    demo.up(directory)
    yield directory
    demo.clean(directory)


def state_of(home: str) -> dict[str, Any]:
    return json.loads(Path(home, "demo.json").read_text())


def count(home: str, table: str) -> int:
    postgres = state_of(home)["postgres"]
    with psycopg.connect(
        host=postgres["host"], port=postgres["port"], dbname=postgres["database"], user=postgres["user"],
        password=postgres["password"],
    ) as connection:  # fmt: skip
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def bucket(home: str) -> tuple[Any, str]:
    s3 = state_of(home)["s3"]
    client = boto3.client(
        "s3", endpoint_url=s3["endpoint_url"], region_name=s3["region"],
        aws_access_key_id=s3["access_key"], aws_secret_access_key=s3["secret_key"],
    )  # fmt: skip
    return client, s3["bucket"]


def ports(home: str) -> list[int]:
    state = state_of(home)
    return [state[service]["port"] for service in ("postgres", "redis", "s3")]


def test_a_running_demo_is_left_as_it_is(home: str) -> None:
    before = Path(home, "demo.json").read_bytes()
    again = demo.up(home)
    assert (again["changed"], again["started"]) == (False, [])
    assert Path(home, "demo.json").read_bytes() == before
    assert os.stat(Path(home, "demo.json")).st_mode & 0o777 == 0o600


def test_it_holds_what_the_documents_speak_of(home: str) -> None:
    assert count(home, "conversations") == 18_000
    assert count(home, "messages") >= 162_000
    assert count(home, "pg_roles WHERE rolname IN ('erni_user', 'erni_readers', 'erni_reporting')") == 3
    state = state_of(home)
    with redis.Redis(port=state["redis"]["port"], password=state["redis"]["password"]) as client:
        assert len(list(client.scan_iter("guardrail:relevance:*", count=5000))) == 4000
        assert client.ttl(next(client.scan_iter("session:*", count=5000))) > 0
    assert Path(state["configuration"]["directory"], "nginx/ssl/erni.key").is_file()


def test_the_application_keeps_writing(home: str) -> None:
    with sqlite3.connect(state_of(home)["sqlite"]["path"]) as orders:
        assert orders.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        before = orders.execute("SELECT max(id) FROM orders").fetchone()
        deadline = time.monotonic() + 120
        while orders.execute("SELECT max(id) FROM orders").fetchone() == before:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_server_that_died_is_started_on_its_port_with_its_data(home: str) -> None:
    client, name = bucket(home)
    client.put_object(Bucket=name, Key="kept", Body=b"kept", StorageClass="GLACIER")
    before = ports(home)
    running = demo.status(home)["running"]
    for service in ("postgres", "redis"):
        os.kill(running[service], signal.SIGKILL)
    while {"postgres", "redis"} & set(demo.status(home)["running"]):
        time.sleep(0.02)
    assert sorted(demo.up(home)["started"]) == ["postgres", "redis"]
    assert ports(home) == before
    assert count(home, "conversations") == 18_000


def test_servers_of_a_clone_that_was_deleted_are_started_anew(home: str) -> None:
    """With this clone's programs, on the same data."""
    before = count(home, "conversations")
    state = state_of(home)
    assert state["programs"] == sys.prefix
    Path(home, "demo.json").write_text(json.dumps({**state, "programs": f"{sys.prefix}/deleted"}))
    assert demo.up(home)["started"] == list(demo.SERVICES)
    assert (state_of(home)["programs"], count(home, "conversations")) == (sys.prefix, before)
    assert demo.up(home)["started"] == []


def test_down_keeps_the_data_and_up_finds_it(home: str) -> None:
    client, name = bucket(home)
    client.put_object(Bucket=name, Key="archived", Body=b"kept", StorageClass="GLACIER")
    before = ports(home)
    assert demo.down(home)["stopped"] == ["writer", "s3", "redis", "postgres"]
    assert not demo.down(home)["changed"]
    assert demo.status(home)["running"] == {}
    assert demo.up(home)["changed"]
    assert ports(home) == before
    assert count(home, "conversations") == 18_000
    assert bucket(home)[0].head_object(Bucket=name, Key="archived")["StorageClass"] == "GLACIER"


def test_a_killed_start_is_healed(home: str) -> None:
    demo.down(home)
    path = Path(home, "demo.json")
    state = state_of(home)
    state["redis"].update(port=0, filled=False)  # as if killed before the port was noted
    path.write_text(json.dumps(state))
    start_redis(Path(home, "redis"), password=state["redis"]["password"], detach=True)
    assert "redis" in demo.up(home)["started"]
    assert state_of(home)["redis"]["filled"]


def test_servers_are_unprivileged_and_no_secret_is_in_any_argv(home: str) -> None:
    state = state_of(home)
    secrets = [
        state["postgres"]["password"], state["postgres"]["superuser_password"], state["redis"]["password"],
        state["s3"]["secret_key"],
    ]  # fmt: skip
    for pid in demo.status(home)["running"].values():
        assert os.stat(f"/proc/{pid}").st_uid != 0 or os.geteuid() != 0
        argv = Path(f"/proc/{pid}/cmdline").read_text()
        assert not [secret for secret in secrets if secret in argv]


def test_secrets_are_in_no_log(home: str) -> None:
    state = state_of(home)
    logs = "".join(path.read_text() for path in Path(home).glob("*/server.log"))
    assert logs
    for secret in (state["postgres"]["password"], state["redis"]["password"], state["s3"]["secret_key"]):
        assert secret not in logs


@pytest.mark.parametrize("content", [None, "{}", "not json", '{"purpose": "something else"}'])
def test_a_stranger_s_directory_is_left_alone(tmp_path: Path, content: str | None) -> None:
    stranger = tmp_path / "precious"
    stranger.mkdir()
    (stranger / "file").write_text("precious")
    if content is not None:
        (stranger / "demo.json").write_text(content)
    for verb in (demo.clean, demo.up, demo.down):
        with pytest.raises(InputError, match="left alone"):
            verb(str(stranger))
    assert (stranger / "file").read_text() == "precious"


def test_an_empty_directory_is_nobody_s(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert demo.clean(str(tmp_path / "empty"))["changed"] is False
    assert (tmp_path / "empty").is_dir()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(InputError, match="not a directory of this account"):
        demo.clean(str(tmp_path / "link"))


def test_the_command_line_speaks_json(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lab.embedded", *arguments], check=False, capture_output=True, text=True, timeout=120
        )

    assert json.loads(run("status", "--directory", str(tmp_path / "none")).stdout)["exists"] is False
    assert json.loads(run("clean", "--directory", str(tmp_path / "none")).stdout)["changed"] is False
    # By these words the Makefile knows that there is no demo to stop.
    assert '"exists": false' in run("down", "--directory", str(tmp_path / "none")).stdout
    assert '"exists": false' in Path("Makefile").read_text()
    (tmp_path / "file").touch()
    refused = run("clean", "--directory", str(tmp_path))
    assert refused.returncode == 1
    assert "left alone" in refused.stderr


def test_history_is_built_once(tmp_path: Path, home: str) -> None:
    now = datetime(2026, 3, 1, 3, tzinfo=timezone.utc)
    template = history.young_database(state_of(home))
    store, scope = LocalStore(str(tmp_path / "backups")), Scope("demo", "postgresql", "erni_agents")
    assert history.build(store, scope, template, now=now, days=40) == 40
    assert history.build(store, scope, template, now=now, days=40) == 0
    manifests = sorted(entry.key for entry in store.entries(f"{scope.path}/") if entry.key.endswith("manifest.json"))
    assert len(manifests) == 40
    assert manifests[-1].startswith("demo/postgresql/erni_agents/20260228T020000Z-")


def test_a_server_dies_with_its_parent(tmp_path: Path) -> None:
    """Also of a parent that ignores what a script's background programs do."""
    code = (
        "import os, signal, sys, time; signal.signal(signal.SIGQUIT, signal.SIG_IGN);"
        "from lab.embedded.servers import start_postgres, start_redis, start_s3;"
        f"start_redis({str(tmp_path / 'redis')!r}); start_s3({str(tmp_path / 's3')!r});"
        f"start_postgres({str(tmp_path / 'postgres')!r}, major=16);"
        "print('ready', flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    assert parent.stdout.readline() == "ready\n"
    files = [str(tmp_path / name / "pid") for name in ("redis", "s3", "postgres")]
    assert all(_server.running(file) for file in files)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 120
    while any(_server.running(file) for file in files):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_server_that_cannot_start_says_why(tmp_path: Path, postgres: PostgresServer) -> None:
    with pytest.raises(EngineError, match="Address already in use"):
        start_redis(tmp_path / "redis", port=postgres.port)
    with pytest.raises(EngineError, match="nonsense yes"):
        start_redis(tmp_path / "redis", extra=["nonsense yes"])
    with pytest.raises(EngineError, match="in use"):
        start_s3(tmp_path / "s3", port=postgres.port)


def test_a_port_that_somebody_took_meanwhile_is_given_up(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = iter([postgres.port, _server.free_port()])
    monkeypatch.setattr(_server, "free_port", lambda: next(offered))
    server = start_redis(tmp_path / "redis")
    assert server.port != postgres.port
    server.stop()


def test_one_directory_has_one_server(tmp_path: Path) -> None:
    server = start_redis(tmp_path / "redis")
    with pytest.raises(Busy, match="running already"):
        start_redis(tmp_path / "redis")
    server.stop()
    start_redis(tmp_path / "redis").stop()


def test_programs_that_the_account_cannot_reach_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site, home = tmp_path / "closed", tmp_path / "home"
    for path in ("wheel/__init__.py", "wheel/server/bin/prog", "wheel/server/include/x.h", "wheel.libs/lib.so"):
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(f"# {path}")
        (site / path).chmod(0o755)
    monkeypatch.syspath_prepend(site)
    assert servers._programs("wheel", "server", str(home), None) == str(site / "wheel/server")
    site.chmod(0o700)
    somebody_else = _server.Account(65534, 65534, "somebody else")
    assert servers._programs("wheel", "server", str(home), somebody_else) == str(home / "programs/wheel/server")
    found = sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
    assert found == ["programs/wheel.libs/lib.so", "programs/wheel/server/bin/prog"]


@pytest.mark.parametrize(
    ("name", "message"), [("no-such-account", "no such account"), ("root", "must not run as root")]
)
def test_an_account_that_cannot_be_used_is_refused(name: str, message: str) -> None:
    if os.geteuid() != 0:
        assert _server.account(name) is None
        return
    with pytest.raises(InputError, match=message):
        _server.account(name)


def test_a_directory_that_the_account_cannot_reach_is_named(tmp_path: Path) -> None:
    account = _server.account(None)
    if account is None:
        assert _server.give(str(tmp_path / "own"), None)
        return
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(InputError, match=f"cannot be reached by the account {account.name}"):
        _server.give(str(closed / "data"), account)
    assert closed.stat().st_mode & 0o777 == 0o700
    with scratch_directory(str(tmp_path)) as ours:
        assert _server.reachable(_server.give(f"{ours}/data", account), account)


def test_old_orders_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sme, "KEPT_ORDERS", 100)
    sme.create(str(tmp_path / "erp.db"))
    with sme.connect(str(tmp_path / "erp.db")) as connection:
        sme.forget_old_orders(connection)
    assert connection.execute("SELECT count(*) FROM orders").fetchone() == (100,)
    assert connection.execute("SELECT count(*) FROM audit").fetchone() == (100,)
    connection.close()
