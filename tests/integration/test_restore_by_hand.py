# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``docs/restore_by_hand.md`` does what it says: its own commands, run as they stand there, by ``bash`` alone.

The document's ``text`` blocks are what a reader sets; here the test does. None of our code runs between the taking of a
backup and the look at what was restored.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import boto3
import psycopg
import pytest
import redis
from ansible_collections.runbook.ops.plugins.module_utils._cipher.declared import encryptor
from ansible_collections.runbook.ops.plugins.module_utils._engine.base import Engine
from ansible_collections.runbook.ops.plugins.module_utils._protect.backup import BackupJob, source_of
from ansible_collections.runbook.ops.plugins.module_utils._records import Scope
from ansible_collections.runbook.ops.plugins.module_utils._store.base import Store
from ansible_collections.runbook.ops.plugins.module_utils._store.declared import store_of
from contract.subjects import files as files_subject
from contract.subjects import sqlite as sqlite_subject
from contract.subjects.postgresql import postgresql_subject
from contract.subjects.redis import RedisSubject

from lab.embedded.servers import PostgresServer, RedisServer, S3Server

DOCUMENT = Path(__file__).parents[2] / "docs" / "restore_by_hand.md"
TOOLS = (
    "aws", "createdb", "gpg", "pg_restore", "psql", "redis-check-rdb", "redis-cli", "redis-server", "sha256sum", "sqlite3",
    "tar", "zstd",
)  # fmt: skip


def commands() -> dict[str, list[str]]:
    """The document's commands by heading."""
    found: dict[str, list[str]] = {}
    section = part = ""
    for heading, sub, block in re.findall(
        r"^## ([^\n]+)$|^### ([^\n]+)$|^```bash\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL
    ):
        if heading:
            section, part = heading, heading
        elif sub:
            part = f"{section}: {sub}"
        else:
            found.setdefault(part, []).append(block)
    return found


COMMANDS = commands()


def run(heading: str, **environment: object) -> str:
    """Run a heading's commands; says plainly when a stock tool is missing."""
    merged = {**os.environ, **{name: str(value) for name, value in environment.items()}}
    output = []
    for block in COMMANDS[heading]:
        words = set(re.findall(r"[\w-]+", block))
        missing = [tool for tool in TOOLS if tool in words and not shutil.which(tool, path=merged["PATH"])]
        if missing:
            pytest.skip(f"NOT RUN: '{heading}' needs {', '.join(missing)}, which this machine does not have")
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            env=merged, cwd=merged["WORK"], capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, f"{block}\n{ended.stdout}{ended.stderr}"
        output.append(ended.stdout)
    return "".join(output)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    directory = tmp_path / "work"
    directory.mkdir()
    return directory


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "backups").mkdir()
    return store_of("stores[0]", {"type": "local", "path": str(tmp_path / "backups")})


def backup(engine: Engine, store: Store, tmp_path: Path, *, to: list[str] | None = None) -> str:
    """Take a backup with the collection; returns its directory below the store."""
    job = BackupJob(
        Scope("byhand", engine.name, "it"), engine, store, "manual", None, source_of("local", ""), str(tmp_path), str(tmp_path),
        encryptor=encryptor(to, "recipients") if to else None,
    )  # fmt: skip
    manifest = job.take(job.preflight(job.look(remember=False)))
    assert manifest is not None
    return manifest.path


@contextmanager
def recipient() -> Iterator[tuple[dict[str, str], str, Path]]:
    """An empty gpg home to restore in, a public key to encrypt to, and its secret key in a file."""
    with tempfile.TemporaryDirectory(prefix="keys-") as maker, tempfile.TemporaryDirectory(prefix="keys-") as home:
        gpg = ["gpg", "--homedir", maker, "--batch", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", ""]

        def ask(*argv: str) -> bytes:
            return subprocess.run([*gpg, *argv], check=True, capture_output=True).stdout

        try:
            ask("--quick-gen-key", "ops@example.org", "default", "default", "0")
            key = Path(maker) / "backup-key.asc"
            key.write_bytes(ask("--armor", "--export-secret-keys"))
            yield {"GNUPGHOME": home}, ask("--armor", "--export").decode(), key
        finally:
            for place in (maker, home):
                subprocess.run(["gpgconf", "--homedir", place, "--kill", "all"], check=True)


def test_every_command_of_the_document_is_run_here() -> None:
    source = Path(__file__).read_text()
    assert [heading for heading in COMMANDS if not re.search(rf'run\(\s*"{re.escape(heading)}"', source)] == []
    assert sum(map(len, COMMANDS.values())) == DOCUMENT.read_text().count("```bash")


def postgres_environment(server: PostgresServer) -> dict[str, object]:
    return {
        "PGHOST": server.host, "PGPORT": server.port, "PGUSER": server.user, "PGPASSWORD": server.password,
        "PATH": f"{server.bin_dir}:{os.environ['PATH']}",
    }  # fmt: skip


def test_postgresql(postgres: PostgresServer, store: Store, tmp_path: Path, work: Path) -> None:
    with postgresql_subject(postgres, "by_hand") as source:
        path = backup(source.engine(), store, tmp_path)
        role = source.holding[-1]["role"]
    where = {"BACKUP": f"{tmp_path}/backups/{path}", "WORK": work, **postgres_environment(postgres)}
    login = {"host": postgres.host, "port": postgres.port, "user": postgres.user, "password": postgres.password}
    with psycopg.connect(dbname="postgres", autocommit=True, **login) as admin:  # type: ignore[arg-type]
        admin.execute("CREATE DATABASE by_hand")
        try:
            assert run("See that its bytes are right", **where) == "data.pgc.zst: sound\nglobals.sql.zst: sound\n"
            run("PostgreSQL", DATABASE="by_hand_restored", **where)
            assert "TABLE DATA" in run("PostgreSQL: Look at what there is, and take one table", TABLE="orders", **where)
            assert (work / "table.sql").read_text().count("2,3]\n") == 500
            run("PostgreSQL: Swap it in", DATABASE="by_hand_restored", LIVE="by_hand", **where)
            with psycopg.connect(dbname="by_hand", **login) as connection:  # type: ignore[arg-type]
                seen = connection.execute(
                    'SELECT count(*), (SELECT count(*) FROM "Back Office"."Notes") FROM orders'
                ).fetchone()
                owner = connection.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'kept'").fetchone()
            assert (seen, owner) == ((500, 40), (role,))
        finally:
            for database in ("by_hand", "by_hand_restored", "by_hand_before_restore"):
                admin.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")  # type: ignore[arg-type]
            admin.execute(f"DROP ROLE IF EXISTS {role}")  # type: ignore[arg-type]


@pytest.fixture
def redis_backup(redis_server: RedisServer, store: Store, tmp_path: Path, work: Path) -> Iterator[dict[str, object]]:
    source = RedisSubject(redis_server)
    source.fill()
    path = backup(source.engine(), store, tmp_path)
    directory = tmp_path / "redis"
    directory.mkdir()
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    yield {
        "BACKUP": f"{tmp_path}/backups/{path}", "WORK": work, "REDIS_DIR": directory, "REDIS_PORT": port,
        "PATH": f"{Path(redis_server.server_binary).parent}:{os.environ['PATH']}",
    }  # fmt: skip
    if (directory / "restored.pid").exists():
        os.kill(int((directory / "restored.pid").read_text()), signal.SIGKILL)


def restored_keys(port: object) -> int:
    """How many keys a server that was just started has loaded."""
    retry = redis.retry.Retry(redis.backoff.ConstantBackoff(0.05), 200)
    faults = [redis.exceptions.ConnectionError, redis.exceptions.BusyLoadingError]
    with redis.Redis("127.0.0.1", int(str(port)), retry=retry, retry_on_error=faults) as server:
        return int(server.dbsize())  # type: ignore[arg-type]


def test_redis(redis_backup: dict[str, object], redis_server: RedisServer) -> None:
    run("Redis", **redis_backup)
    with redis.Redis(redis_server.host, redis_server.port, password=redis_server.password) as source:
        assert restored_keys(redis_backup["REDIS_PORT"]) == source.dbsize() > 300  # type: ignore[operator]


def test_redis_with_an_append_only_file_ignores_the_backup(redis_backup: dict[str, object]) -> None:
    """Why the document insists on ``--appendonly no``."""
    heading = "Redis"
    careless = [block.replace("--appendonly no", "--appendonly yes") for block in COMMANDS[heading]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(COMMANDS, heading, careless)
        run(heading, **redis_backup)
    assert restored_keys(redis_backup["REDIS_PORT"]) == 0


def test_redis_checked_before(redis_backup: dict[str, object], redis_server: RedisServer, tmp_path: Path) -> None:
    (tmp_path / "redis-check-rdb").symlink_to(redis_server.server_binary)  # as every installation has it
    where = {**redis_backup, "PATH": f"{tmp_path}:{redis_backup['PATH']}"}
    assert "RDB looks OK" in run("Redis: Check the file before", **where)


def test_redis_looked_at(redis_backup: dict[str, object]) -> None:
    run("Redis", **redis_backup)
    restored_keys(redis_backup["REDIS_PORT"])
    run("Redis: Look at it, and turn the append-only file on again", **redis_backup)


def test_sqlite(store: Store, tmp_path: Path, work: Path, request: pytest.FixtureRequest) -> None:
    (tmp_path / "source").mkdir()
    live = tmp_path / "live" / "sme.db"
    live.parent.mkdir()
    with sqlite_subject.subject(tmp_path / "source", request) as source:
        path = backup(source.engine(()), store, tmp_path)
        for suffix in ("", "-wal", "-shm"):  # the live database: same file, another log
            shutil.copy(f"{source.path}{suffix}", f"{live}{suffix}")  # type: ignore[attr-defined]
    where = {"BACKUP": f"{tmp_path}/backups/{path}", "WORK": work, "DATABASE_FILE": live}
    assert run("SQLite", **where).startswith("ok\n")
    run("SQLite: Swap it in", **where)
    assert [file.name for file in live.parent.iterdir()] == ["sme.db"]
    with closing(sqlite3.connect(live)) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (500,)


def test_files(store: Store, tmp_path: Path, work: Path, request: pytest.FixtureRequest) -> None:
    (tmp_path / "source").mkdir()
    target = tmp_path / "target"
    target.mkdir()
    with files_subject.subject(tmp_path / "source", request) as source:
        path = backup(source.engine(()), store, tmp_path)
    run("Files", BACKUP=f"{tmp_path}/backups/{path}", WORK=work, TARGET=target)
    assert_same(tmp_path / "source", target)


def assert_same(source: Path, target: Path) -> None:
    restored = target / str(source).lstrip("/")
    assert subprocess.run(["diff", "-r", "--no-dereference", source, restored], check=False).returncode == 0


@pytest.mark.skipif(not shutil.which("gpg"), reason="NOT RUN: no gpg on this machine")
def test_encrypted_files(store: Store, tmp_path: Path, work: Path, request: pytest.FixtureRequest) -> None:
    (tmp_path / "source").mkdir()
    target = tmp_path / "target"
    target.mkdir()
    with recipient() as (home, public, key):
        with files_subject.subject(tmp_path / "source", request) as source:
            path = backup(source.engine(()), store, tmp_path, to=[public])
        where = {"BACKUP": f"{tmp_path}/backups/{path}", "WORK": work, "TARGET": target, "KEY": key, **home}
        assert run("See that its bytes are right", **where) == "data.tar.zst.gpg: sound\n"
        run("Decrypt it", **where)
        assert str(tmp_path).lstrip("/") in run("Files: Encrypted", **where)
        assert_same(tmp_path / "source", target)
        shutil.rmtree(target)
        target.mkdir()
        run("Files", **{**where, "BACKUP": work})
        assert_same(tmp_path / "source", target)


def test_a_damaged_file_is_called_so(store: Store, tmp_path: Path, work: Path, request: pytest.FixtureRequest) -> None:
    (tmp_path / "source").mkdir()
    with sqlite_subject.subject(tmp_path / "source", request) as source:
        path = tmp_path / "backups" / backup(source.engine(()), store, tmp_path)
    data = bytearray((path / "data.sqlite.zst").read_bytes())
    data[len(data) // 2] ^= 1
    (path / "data.sqlite.zst").write_bytes(data)
    assert run("See that its bytes are right", BACKUP=path, WORK=work) == "data.sqlite.zst: DAMAGED\n"


def test_from_a_bucket(s3: S3Server, tmp_path: Path, work: Path, request: pytest.FixtureRequest) -> None:
    login = {
        "AWS_ENDPOINT_URL": s3.endpoint_url, "AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key,
        "AWS_DEFAULT_REGION": s3.region, "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }  # fmt: skip
    client = boto3.client(
        "s3", endpoint_url=s3.endpoint_url, region_name=s3.region, aws_access_key_id=s3.access_key,
        aws_secret_access_key=s3.secret_key,
    )  # fmt: skip
    client.create_bucket(Bucket="by-hand", CreateBucketConfiguration={"LocationConstraint": s3.region})  # type: ignore[typeddict-item]
    bucket = store_of(
        "stores[0]",
        {
            "type": "s3", "bucket": "by-hand", "prefix": "off/site", "endpoint_url": s3.endpoint_url, "region": s3.region,
            "access_key": s3.access_key, "secret_key": s3.secret_key,
        },
    )  # fmt: skip
    (tmp_path / "source").mkdir()
    with sqlite_subject.subject(tmp_path / "source", request) as source:
        path = backup(source.engine(()), bucket, tmp_path)
    fetched = {"BUCKET": "by-hand", "BACKUP_PATH": f"off/site/{path}", "WORK": work, **login}
    assert "manifest.json" in run("Fetch it from a bucket", BACKUP=work / "fetched", **fetched)
    bucket.set_storage_class(f"{path}/data.sqlite.zst", "GLACIER")
    said = run(
        "Fetch it from a bucket: An archived one has to be asked for first",
        BACKUP=work / "asked", FILE="data.sqlite.zst", **fetched,
    )  # fmt: skip
    assert 'ongoing-request="false"' in said
    for copy in ("fetched", "asked"):
        assert run("See that its bytes are right", BACKUP=work / copy, WORK=work) == "data.sqlite.zst: sound\n"
        assert run("SQLite", BACKUP=work / copy, WORK=work).startswith("ok\n")
