# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQLite under writers, locks, damage and kills: what a file copy gets wrong and the engine must not."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils import _scratch
from ansible_collections.runbook.ops.plugins.module_utils._engine import sqlite as engine_module
from ansible_collections.runbook.ops.plugins.module_utils._engine._sqlite_checks import moment_of
from ansible_collections.runbook.ops.plugins.module_utils._engine.sqlite import SqliteEngine
from ansible_collections.runbook.ops.plugins.module_utils._errors import (
    Damaged,
    EngineError,
    InputError,
    NoSpace,
    TimedOut,
    Unsupported,
)
from ansible_collections.runbook.ops.plugins.module_utils._runtime.base import Instance
from ansible_collections.runbook.ops.plugins.module_utils._runtime.local import LocalInstance
from contract.shelf import Shelf

UNPRIVILEGED = 65534

WRITER = """
import itertools, sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
for number in itertools.count(1):
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE account SET balance = balance - 1 WHERE id = 1")
    connection.execute("UPDATE account SET balance = balance + 1 WHERE id = 2")
    connection.execute("INSERT INTO entry (text) VALUES (printf('%400s', 1))")
    connection.execute("COMMIT")
    if number == 1:
        print("writing", flush=True)
    time.sleep(0.005)  # without it, readers of the older journal mode would starve
"""


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "work"
    directory.mkdir(mode=0o777)
    directory.chmod(0o777)
    return directory


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    directory = tmp_path / "shelf"
    directory.mkdir()
    return Shelf(directory)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A small database in the older journal mode."""
    path = tmp_path / "sme.db"
    make(path)
    return path


def make(path: Path, *, wal: bool = False, rows: int = 2000) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"""
            PRAGMA journal_mode = {"WAL" if wal else "DELETE"};
            CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER);
            INSERT INTO account VALUES (1, 1000), (2, 1000);
            CREATE TABLE entry (id INTEGER PRIMARY KEY, text TEXT, account INTEGER REFERENCES account);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
            INSERT INTO entry (text) SELECT printf('%400s', i) FROM n;
            CREATE INDEX by_text ON entry (text);
        """)


def declared(path: Path, work_dir: Path, /, **also: Any) -> SqliteEngine:
    description = {
        "engine": "sqlite", "name": "sme", "path": str(path), "work_dir": str(work_dir), "lock_timeout": "1s",
        **also,
    }  # fmt: skip
    return SqliteEngine.declared("databases[0]", description, LocalInstance())


def restored(engine: SqliteEngine, shelf: Shelf, scratch: Path, ask: str) -> Any:
    scratch.mkdir(exist_ok=True)
    with engine.scratch(shelf, str(scratch)) as place:
        engine.restore(shelf, place)
        with closing(sqlite3.connect(place.path)) as connection:  # type: ignore[attr-defined]
            return connection.execute(ask).fetchone()


def test_a_file_copy_loses_what_the_backup_has(tmp_path: Path, work_dir: Path, shelf: Shelf) -> None:
    path = tmp_path / "sme.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE entry (id INTEGER)")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.executemany("INSERT INTO entry VALUES (?)", ((number,) for number in range(1000)))
        connection.commit()
        shutil.copy(path, tmp_path / "copied.db")
        engine = declared(path, work_dir)
        shelf.take(engine)
    with closing(sqlite3.connect(tmp_path / "copied.db")) as copied:
        assert copied.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copied.execute("SELECT count(*) FROM entry").fetchone() == (0,)
    assert restored(engine, shelf, tmp_path / "scratch", "SELECT count(*) FROM entry") == (1000,)


@pytest.mark.parametrize("wal", [True, False], ids=["wal", "journal"])
def test_under_concurrent_writers_the_snapshot_is_one_moment(
    tmp_path: Path, work_dir: Path, shelf: Shelf, wal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sme.db"
    make(path, wal=wal, rows=20_000)
    monkeypatch.setattr(engine_module, "_PAGES_A_STEP", 64)  # many steps for writers to come between
    checks = [
        {"table": "entry", "rows": "source"},
        {"sql": "SELECT sum(balance) FROM account", "name": "money", "expect": 2000},
        {"sql": "SELECT balance FROM account WHERE id = 2", "name": "moved", "expect": "source"},
    ]
    engine = declared(path, work_dir, checks=checks, lock_timeout="30s")
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) for _number in range(2)
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"writing\n"
        dump = shelf.take(engine)
        with closing(sqlite3.connect(path, timeout=60)) as connection:
            went_on = connection.execute("SELECT balance FROM account WHERE id = 2").fetchone()[0]
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    assert dump.observed["table_rows:entry"] == 20_000 + dump.observed["sql:moved"] - 1000
    if wal:
        assert went_on > dump.observed["sql:moved"]  # nobody waited for us
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with engine.scratch(shelf, str(scratch)) as place:
        engine.restore(shelf, place)
        assert [result for result in engine.verify(shelf, place) if not result.passed] == []


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(20_000))


def half_a_page(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:2000])


def torn(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for page in range(4, len(data) // 4096, 7):
        data[page * 4096 : page * 4096 + 200] = os.urandom(200)
    path.write_bytes(data)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (Path.unlink, "cannot be reached .No such file"),
        (lambda path: path.write_bytes(b""), r"is empty \(0 bytes\)"),
        (garbage, "is no SQLite database, or an encrypted one"),
        (half_a_page, "is damaged|is no SQLite database"),
        (torn, "is damaged .*so no backup was taken|is damaged: recover it"),
        (directory, "is no file"),
    ],
    ids=["missing", "empty", "garbage", "cut", "torn", "directory"],
)
def test_a_bad_source_makes_no_backup(
    database: Path, work_dir: Path, shelf: Shelf, spoil: Callable[[Path], Any], why: str
) -> None:
    spoil(database)
    with pytest.raises(EngineError, match=why) as caught:
        shelf.take(declared(database, work_dir))
    assert str(database) in str(caught.value)
    assert shelf.names() == []
    assert list(work_dir.iterdir()) == []


@contextmanager
def unprivileged() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(UNPRIVILEGED)
    try:
        yield
    finally:
        os.seteuid(0)


def test_an_unreadable_file_is_told(database: Path, work_dir: Path) -> None:
    database.chmod(0)
    with unprivileged(), pytest.raises(EngineError, match="this account must be able to read it"):
        declared(database, work_dir).preflight()


def test_a_wal_database_in_a_directory_it_may_not_write_is_told(tmp_path: Path, work_dir: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o755)
    closed.chmod(0o755)
    make(closed / "sme.db", wal=True)
    (closed / "sme.db").chmod(0o644)
    if os.geteuid() != 0:
        closed.chmod(0o555)
    with (
        unprivileged(),
        pytest.raises(EngineError, match="in WAL mode and this account may not write it and its directory"),
    ):
        declared(closed / "sme.db", work_dir).preflight()
    closed.chmod(0o755)


def test_nothing_is_left_beside_an_idle_wal_database(tmp_path: Path, work_dir: Path, shelf: Shelf) -> None:
    home = tmp_path / "app"
    home.mkdir()
    make(home / "sme.db", wal=True)
    engine = declared(home / "sme.db", work_dir)
    made = home.stat().st_mtime_ns
    facts = engine.preflight()
    assert facts.details["journal_mode"] == "wal" and facts.estimated_bytes >= (home / "sme.db").stat().st_size
    assert home.stat().st_mtime_ns == made, "looking wrote beside the database"
    shelf.take(engine)
    assert os.listdir(home) == ["sme.db"]


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT RUN: only root makes another account's database")
def test_an_account_that_would_lock_the_application_out_is_refused(
    tmp_path: Path, work_dir: Path, shelf: Shelf
) -> None:
    home = tmp_path / "app"
    home.mkdir()
    make(home / "sme.db", wal=True)
    home.chmod(0o777)
    with unprivileged():
        for attempt in (
            declared(home / "sme.db", work_dir).preflight,
            lambda: shelf.take(declared(home / "sme.db", work_dir)),
        ):
            with pytest.raises(EngineError, match="take the backup as root or as the file's owner"):
                attempt()
    assert os.listdir(home) == ["sme.db"]


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT RUN: only root reads another account's database")
def test_as_root_the_application_keeps_its_files(tmp_path: Path, work_dir: Path, shelf: Shelf) -> None:
    """SQLite makes -wal and -shm anew; made as root's, they would lock the application out."""
    home = tmp_path / "app"
    home.mkdir(mode=0o711)
    make(home / "sme.db", wal=True)
    for path in (home, home / "sme.db"):
        os.chown(path, UNPRIVILEGED, UNPRIVILEGED)
    shelf.take(declared(home / "sme.db", work_dir))
    assert {path.stat().st_uid for path in home.iterdir()} == {UNPRIVILEGED}
    with unprivileged(), closing(sqlite3.connect(home / "sme.db")) as connection:
        connection.execute("INSERT INTO account VALUES (3, 0)")
        connection.commit()


def test_an_exclusive_lock_is_waited_for_so_long(database: Path, work_dir: Path, shelf: Shelf) -> None:
    engine = declared(database, work_dir)
    with closing(sqlite3.connect(database, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        with pytest.raises(EngineError, match="stayed locked by another process for the whole lock_timeout"):
            shelf.take(engine)
        assert 0.9 < time.monotonic() - began < 30
        holder.execute("ROLLBACK")
    shelf.take(engine)


def test_in_wal_mode_a_long_writer_is_not_waited_for(tmp_path: Path, work_dir: Path, shelf: Shelf) -> None:
    path = tmp_path / "sme.db"
    make(path, wal=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM entry")
        dump = shelf.take(declared(path, work_dir, checks=[{"table": "entry", "rows": "source"}]))
    assert dump.observed["table_rows:entry"] == 2000


def test_a_transaction_that_a_crash_left_open_is_told(
    tmp_path: Path, work_dir: Path, database: Path, shelf: Shelf
) -> None:
    crashed = tmp_path / "crashed.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = 2")
        connection.execute("BEGIN")
        connection.execute("UPDATE entry SET text = upper(text) || id")
        shutil.copy(database, crashed)
        shutil.copy(f"{database}-journal", f"{crashed}-journal")
    with pytest.raises(EngineError, match="left in the middle of a transaction by a crash"):
        shelf.take(declared(crashed, work_dir))
    assert Path(f"{crashed}-journal").exists()


def test_a_check_can_only_read(database: Path, work_dir: Path, shelf: Shelf, tmp_path: Path) -> None:
    before = database.read_bytes()
    elsewhere = database.with_name("elsewhere.db")
    for query in ("DELETE FROM entry", "DROP TABLE entry", f"ATTACH '{elsewhere}' AS other", "COMMIT; BEGIN"):
        evil = declared(database, work_dir, checks=[{"sql": query, "name": "evil", "expect": 0}])
        assert list(shelf.take(evil).doubts) == ["sql:evil"]
    shelf.take(declared(database, work_dir))
    evil = declared(database, work_dir, checks=[{"sql": f"VACUUM INTO '{elsewhere}'", "name": "evil", "expect": 0}])
    with evil.scratch(shelf, str(tmp_path)) as place:
        evil.restore(shelf, place)
        assert not evil.verify(shelf, place)[0].passed
    assert database.read_bytes() == before
    assert not elsewhere.exists()


def test_a_mistaken_check_fails_its_verification_only(
    database: Path, work_dir: Path, shelf: Shelf, tmp_path: Path
) -> None:
    engine = declared(database, work_dir)
    shelf.take(engine)
    later = declared(
        database,
        work_dir,
        checks=[
            {"table": "entry", "newest": "no_such_column", "within": "1h"},
            {"table": "entry", "newest": "text", "within": "1h"},
            {"table": "gone", "rows": "source"},
            {"table": "entry", "rows": 2000},
        ],
    )
    with later.scratch(shelf, str(tmp_path)) as place:
        later.restore(shelf, place)
        results = later.verify(shelf, place)
    assert [result.passed for result in results] == [False, False, False, True]
    assert [result.answered for result in results] == [False, False, False, True]
    assert "no such column" in results[0].observed
    assert "neither an ISO 8601 time" in results[1].observed


def test_an_endless_check_is_ended(database: Path, work_dir: Path, shelf: Shelf, tmp_path: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    check = {"sql": endless, "name": "endless", "expect": 1}
    shelf.take(declared(database, work_dir))
    engine = declared(database, work_dir, checks=[check], timeout="1s")
    with pytest.raises(TimedOut, match=r"The backup of .* did not finish within its timeout of 1 s"):
        engine.dump(shelf.open)
    with engine.scratch(shelf, str(tmp_path)) as place:
        engine.restore(shelf, place)
        with pytest.raises(TimedOut, match=r"The verification of .* did not finish"):
            engine.verify(shelf, place)


def test_a_copy_that_takes_too_long_is_ended(database: Path, work_dir: Path, shelf: Shelf) -> None:
    with pytest.raises(TimedOut, match=r"The backup of .* did not finish"):
        SqliteEngine(LocalInstance(), str(database), timeout=0.0, work_dir=str(work_dir)).dump(shelf.open)
    assert shelf.names() == []
    assert list(work_dir.iterdir()) == []


def test_short_space_is_told_before_anything_is_written(
    database: Path, work_dir: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_scratch, "free_space", lambda directory: 1000)
    for attempt in (declared(database, work_dir).preflight, lambda: shelf.take(declared(database, work_dir))):
        with pytest.raises(NoSpace, match="work"):
            attempt()
    assert list(work_dir.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT RUN: only root mounts a small file system")
def test_a_disk_that_fills_up_meanwhile_is_told(
    database: Path, work_dir: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", work_dir], check=False).returncode:
        pytest.skip("NOT RUN: mounting is not allowed here")
    try:
        monkeypatch.setattr(_scratch, "free_space", lambda directory: 1 << 30)
        with pytest.raises(NoSpace, match="because the disk is full"):
            shelf.take(declared(database, work_dir))
        monkeypatch.undo()
        with pytest.raises(NoSpace):
            shelf.take(declared(database, work_dir))
    finally:
        subprocess.run(["umount", work_dir], check=True)
    shelf.take(declared(database, work_dir))


def test_a_killed_backup_leaves_nothing_the_next_does_not_remove(database: Path, work_dir: Path, shelf: Shelf) -> None:
    program = """
import sys, time
from ansible_collections.runbook.ops.plugins.module_utils._engine.sqlite import SqliteEngine
from ansible_collections.runbook.ops.plugins.module_utils._runtime.local import LocalInstance
def open_artefact(stem, format):
    print("copied", flush=True)
    time.sleep(600)
SqliteEngine(LocalInstance(), sys.argv[1], work_dir=sys.argv[2]).dump(open_artefact)
"""
    root = Path(__file__).parents[2]
    victim = subprocess.Popen(
        [sys.executable, "-c", program, str(database), str(work_dir)],
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(root / "collections")},
    )  # fmt: skip
    assert victim.stdout is not None
    assert victim.stdout.readline() == b"copied\n"
    assert list(work_dir.glob("runbook-*/copy.sqlite"))
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    shelf.take(declared(database, work_dir))
    assert list(work_dir.iterdir()) == []


def test_a_violated_foreign_key_is_recorded_and_demanded(
    database: Path, work_dir: Path, shelf: Shelf, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE entry SET account = 99 WHERE id = 7")
        connection.commit()
    engine = declared(database, work_dir)
    assert shelf.take(engine).observed == {"foreign_key_violations": 1}
    assert restored(engine, shelf, tmp_path / "scratch", "SELECT account FROM entry WHERE id = 7") == (99,)
    shelf.manifest.observed["foreign_key_violations"] = 0  # type: ignore[index]
    with pytest.raises(Damaged, match="has 1 foreign key violations, its source had 0"):
        restored(engine, shelf, tmp_path / "scratch", "SELECT 1")


def test_damage_that_no_digest_tells_is_found_by_the_integrity_check(
    database: Path, work_dir: Path, shelf: Shelf, tmp_path: Path
) -> None:
    engine = declared(database, work_dir)
    shelf.take(engine)

    def spoil(data: bytes) -> bytes:
        (tmp_path / "bad").write_bytes(data)
        torn(tmp_path / "bad")
        return (tmp_path / "bad").read_bytes()

    shelf.damage("data.sqlite", spoil, unnoticed=True)
    engine.check(shelf)
    with pytest.raises(Damaged, match="is no sound SQLite database"):
        restored(engine, shelf, tmp_path / "scratch", "SELECT 1")
    shelf.damage("data.sqlite", lambda data: data[:-4096], unnoticed=True)
    with pytest.raises(Damaged, match="its header says"):
        engine.check(shelf)


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("path", None, r"databases\[0\].path is None"),
        ("path", "sme.db", "give the absolute path"),
        ("lock_timeout", "soon", r"databases\[0\].lock_timeout"),
        ("timeout", "0s", r"databases\[0\].timeout"),
        ("checks", [{"role": "x"}], r"databases\[0\].checks\[0\]"),
        ("work_dir", "/nowhere", "^work_dir is '/nowhere'"),
    ],
)
def test_a_bad_declaration_is_named(database: Path, work_dir: Path, key: str, value: Any, why: str) -> None:
    with pytest.raises(InputError, match=why):
        declared(database, work_dir, **{key: value}).preflight()


def test_inside_a_container_it_is_unsupported(database: Path) -> None:
    class Elsewhere(LocalInstance.__bases__[0]):  # type: ignore[misc]
        name = "app-1"
        run = stream = feed = fetch = place = endpoint = lambda self: None

    elsewhere: Instance = Elsewhere()
    with pytest.raises(Unsupported, match="file inside app-1"):
        SqliteEngine.declared("databases[0]", {"path": str(database)}, elsewhere)


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (None, None),
        ("2026-03-01 02:00:00", (2026, 3, 1, 2)),
        ("2026-03-01T03:00:00+01:00", (2026, 3, 1, 2)),
        ("2026-03-01T02:00:00Z", (2026, 3, 1, 2)),
        ("2026-03-01", (2026, 3, 1)),
        (1772330400, (2026, 3, 1, 2)),
        (1772330400.0, (2026, 3, 1, 2)),
        (1772330400000, (2026, 3, 1, 2)),
    ],
)
def test_times_in_every_shape(value: Any, moment: tuple[int, ...] | None) -> None:
    assert moment_of(value) == (datetime(*moment, tzinfo=timezone.utc) if moment else None)  # type: ignore[arg-type, misc]
