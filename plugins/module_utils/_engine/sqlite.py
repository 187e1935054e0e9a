# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQLite: copied by the online backup API from one read transaction, proved by ``integrity_check``.

A file copy loses whatever is still in the ``-wal`` file, and is torn while somebody writes. The read transaction fixes
the snapshot: rows are observed in it, and a copy in steps never starts over. In WAL mode writers go on meanwhile; in
the older journal modes they wait for the copy, as they would for any reader.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

from .._checks import Check, parse_checks
from .._durations import parse_duration
from .._errors import Damaged, EngineError, InputError, NoSpace, TimedOut, Unsupported
from .._records import CheckResult, utc_now
from .._runtime.base import Instance
from .._runtime.local import LocalInstance
from .._scratch import require_space, scratch_directory
from ._sqlite_checks import asked, code_of, observe
from .base import ArtefactReader, Dump, Engine, Facts, OpenArtefact, Place

TOOL = f"sqlite online backup {sqlite3.sqlite_version}"

_MAGIC = b"SQLite format 3\0"
_HEADER = 100
_READ_VERSION, _WAL = 19, b"\2"
"""Where the header tells what a reader must understand, and what it has there for a database in WAL mode."""
_PAGES_A_STEP = 2048
"""8 MiB of the usual page size: the time limit is looked at after each."""
_OPCODES = 20_000
"""Steps of SQLite's machine between two looks at the clock, a few milliseconds."""
_FOREIGN_KEYS = "foreign_key_violations"
"""Observed in every backup. A database may live with violations (enforcement is off by default), so they fail no
backup; a restored one must have as many as its source."""

_NOT_ALLOWED = (
    "cannot be opened: this account must be able to read it, and for a database in WAL mode to write its directory"
)
_WHY = {
    sqlite3.SQLITE_BUSY: "stayed locked by another process for the whole lock_timeout: "
    "end the long transaction, or raise lock_timeout",
    sqlite3.SQLITE_CANTOPEN: _NOT_ALLOWED,
    sqlite3.SQLITE_READONLY_DIRECTORY: _NOT_ALLOWED,
    sqlite3.SQLITE_NOTADB: "is no SQLite database, or an encrypted one: see whether path is right",
    sqlite3.SQLITE_CORRUPT: "is damaged: recover it, or restore the last good backup",
    sqlite3.SQLITE_READONLY: "was left in the middle of a transaction by a crash: "
    "open it once with its application, which completes or undoes that",
    sqlite3.SQLITE_FULL: "cannot be copied, because the disk is full: free some space, or set work_dir to another directory",
}


@dataclass(frozen=True)
class SqlitePlace(Place):
    """A restored database file that nobody else knows of."""

    path: str
    server_version: str = sqlite3.sqlite_version


class _Deadline:
    """The moment by which a whole run must be over."""

    def __init__(self, seconds: float, run: str) -> None:
        self._end = time.monotonic() + seconds
        self._seconds = seconds
        self._run = run

    @property
    def passed(self) -> bool:
        return time.monotonic() > self._end

    def left(self) -> float:
        """Seconds that remain; ``TimedOut`` when there are none."""
        if self.passed:
            raise self.error()
        return self._end - time.monotonic()

    def error(self) -> TimedOut:
        return TimedOut(f"{self._run} did not finish within its timeout of {self._seconds:g} s and was ended.")


class SqliteEngine(Engine):
    """One database file on the host that the module runs on."""

    name = "sqlite"

    def __init__(
        self, instance: Instance, path: str, *, checks: Sequence[Check] = (), lock_timeout: float = 30.0,
        timeout: float = 14400.0, work_dir: str | None = None,
    ) -> None:  # fmt: skip
        self._instance = instance
        self._path = path
        self._checks = checks
        self._lock_timeout = lock_timeout
        self._timeout = timeout
        self._work_dir = work_dir or tempfile.gettempdir()

    @classmethod
    def declared(cls, variable: str, database: Mapping[str, Any], instance: Instance) -> Self:
        """From one entry of ``runbook_databases``; ``InputError`` names the variable and the key."""
        if not isinstance(instance, LocalInstance):
            raise Unsupported(
                f"{variable} is an SQLite file inside {instance.name}, and SQLite can be copied safely only where its locks "
                "are: mount the file's directory on the host, give the path there, and remove service."
            )
        path = database.get("path")
        if not path or not os.path.isabs(path):
            raise InputError(f"{variable}.path is {path!r}: give the absolute path of the SQLite database.")
        work_dir = database.get("work_dir")
        if work_dir and not os.path.isdir(work_dir):
            raise InputError(f"work_dir is {work_dir!r}, which is no directory: create it, or name another.")
        return cls(
            instance, os.path.normpath(path),
            checks=parse_checks(f"{variable}.checks", database.get("checks"), cls.name),
            lock_timeout=parse_duration(
                f"{variable}.lock_timeout", database.get("lock_timeout") or "30s"
            ).total_seconds(),
            timeout=parse_duration(f"{variable}.timeout", database.get("timeout") or "4h").total_seconds(),
            work_dir=work_dir,
        )  # fmt: skip

    def preflight(self) -> Facts:
        """Without SQLite, which would make files beside a database in WAL mode."""
        wal = self._inspected()
        size = os.path.getsize(self._path)
        with suppress(FileNotFoundError):
            size += os.path.getsize(self._beside("-wal"))
        require_space(self._work_dir, size, f"the copy of {self._path}")
        return Facts(sqlite3.sqlite_version, TOOL, size, {"journal_mode": "wal" if wal else "rollback"})

    def dump(self, open_artefact: OpenArtefact) -> Dump:
        deadline = _Deadline(self._timeout, f"The backup of {self._path}")
        with scratch_directory(self._work_dir) as directory:
            copy = os.path.join(directory, "copy.sqlite")
            consistent_at = utc_now()
            # In WAL mode a reader makes -wal and -shm where there are none, and only one that may write removes them. In the
            # older modes it makes none, and may not be the one that rolls a crashed transaction back.
            mode = "mode=rw" if self._inspected() else "mode=ro"
            with self._snapshot(mode, deadline) as source:
                require_space(self._work_dir, _size(source), f"the copy of {self._path}")
                observed, wrong = asked(source, self._checks, consistent_at)
                self._copy(source, copy, deadline)
            observed[_FOREIGN_KEYS] = self._proved(copy, deadline)
            with open_artefact("data.sqlite", "sqlite") as sink:
                self._instance.fetch(copy, sink, timeout=deadline.left())
        return Dump(sqlite3.sqlite_version, TOOL, consistent_at, observed, wrong)

    def doubts(self) -> Mapping[str, str]:
        """Asked only where reading makes no file and completes none: it tells no more than that a check is wrong."""
        files = [os.path.exists(self._beside(suffix)) for suffix in ("-wal", "-shm")]
        mode = "mode=ro"
        if self._inspected():
            if any(files) != all(files):  # a crash's, which whoever opens the database next completes
                return {}
            mode = "mode=ro&readonly_shm=1" if all(files) else "mode=ro&immutable=1"
        try:
            with self._snapshot(mode, _Deadline(self._timeout, f"Asking the checks of {self._path}")) as source:
                wrong = asked(source, self._checks, utc_now())[1]
        except EngineError:  # the backup itself opens it otherwise, and says what is wrong
            return {}
        if not any(files) and os.path.exists(self._beside("-shm")):
            return {}  # it came into use meanwhile, and what was read may be no one moment's
        return wrong

    def _beside(self, suffix: str) -> str:
        """One of SQLite's own files, which lie beside what a link leads to."""
        return os.path.realpath(self._path) + suffix

    @contextmanager
    def _snapshot(self, mode: str, deadline: _Deadline) -> Iterator[sqlite3.Connection]:
        """The source in a read transaction that has begun: from here on, nobody's writes are seen."""
        try:
            with closing(_open(self._path, mode, deadline, busy=self._lock_timeout)) as source:
                source.execute("BEGIN")
                source.execute("SELECT count(*) FROM sqlite_master").fetchone()
                yield source
        except sqlite3.Error as error:
            if deadline.passed:
                raise deadline.error() from None
            kind = NoSpace if code_of(error) == sqlite3.SQLITE_FULL else EngineError
            raise kind(f"{self._path} {_why(error)}.") from None

    def _inspected(self) -> bool:
        """Whether the file, which must be a database that this account can back up, is in WAL mode."""
        self._require_file()
        try:
            with open(self._path, "rb") as file:
                head = file.read(_HEADER)
        except OSError as error:
            raise EngineError(f"{self._path} {_NOT_ALLOWED} ({error.strerror}).") from None
        if not head.startswith(_MAGIC):
            raise EngineError(f"{self._path} {_WHY[sqlite3.SQLITE_NOTADB]}.")
        wal = head[_READ_VERSION : _READ_VERSION + 1] == _WAL
        if wal and not self._may_keep_wal():
            raise EngineError(
                f"{self._path} is in WAL mode and this account may not write it and its directory, so the files that "
                "SQLite makes there would stay and lock its application out: take the backup as root or as the file's owner."
            )
        return wal

    def _may_keep_wal(self) -> bool:
        """Whether SQLite can make its files beside the database, unless the application has them there, and remove them."""
        made = os.path.exists(self._beside("-shm"))
        needed = [self._path] if made else [self._path, os.path.dirname(self._beside(""))]
        return all(os.access(path, os.W_OK, effective_ids=True) for path in needed)

    def _require_file(self) -> None:
        try:
            status = os.stat(self._path)
        except OSError as error:
            raise EngineError(
                f"{self._path} cannot be reached ({error.strerror}): see whether path is right."
            ) from None
        if not stat.S_ISREG(status.st_mode):
            raise EngineError(f"{self._path} is no file: give the path of the SQLite database itself.")
        if status.st_size == 0:  # which SQLite takes for a sound database without tables
            raise EngineError(f"{self._path} is empty (0 bytes): the database was lost, or path is wrong.")

    def _copy(self, source: sqlite3.Connection, copy: str, deadline: _Deadline) -> None:
        def look_at_the_clock(_status: int, _remaining: int, _total: int) -> None:
            deadline.left()

        with closing(sqlite3.connect(copy, isolation_level=None)) as target:
            target.execute("PRAGMA synchronous = OFF")  # a copy that a crash tears is never published
            source.backup(target, pages=_PAGES_A_STEP, progress=look_at_the_clock)

    def _proved(self, path: str, deadline: _Deadline) -> int:
        """How many rows violate foreign keys, in a copy whose every page and index is sound."""
        try:
            with closing(_open(path, "immutable=1", deadline)) as database:
                return _prove(database)
        except (sqlite3.Error, Damaged) as error:
            if deadline.passed:
                raise deadline.error() from None
            raise EngineError(
                f"{self._path} is damaged ({error}), so no backup was taken: recover it, or restore the last good backup."
            ) from None

    def check(self, reader: ArtefactReader) -> None:
        for _data in _whole(reader):
            pass

    @contextmanager
    def scratch(self, reader: ArtefactReader, directory: str) -> Iterator[Place]:
        require_space(directory, reader.manifest.artefacts[0].raw_size, "the restored SQLite database")
        place = SqlitePlace(os.path.join(directory, "restored.sqlite"))
        try:
            yield place
        finally:
            with suppress(FileNotFoundError):
                os.unlink(place.path)

    def restore(self, reader: ArtefactReader, place: Place) -> None:
        path = _ours(place).path
        deadline = _Deadline(self._timeout, f"The restore of {reader.manifest.path}")
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                for data in _whole(reader):
                    file.write(data)
                    deadline.left()
        except OSError as error:
            kind = NoSpace if error.errno in (errno.ENOSPC, errno.EDQUOT) else EngineError
            raise kind(f"{path} could not be written ({error.strerror}).") from None
        name = f"{reader.names()[0]} of {reader.manifest.path}"
        try:
            with closing(_open(path, "immutable=1", deadline)) as database:
                violations = _prove(database)
        except (sqlite3.Error, Damaged) as error:
            if deadline.passed:
                raise deadline.error() from None
            raise Damaged(f"{name} is no sound SQLite database ({error}).") from None
        expected = reader.manifest.observed.get(_FOREIGN_KEYS, violations)
        if violations != expected:
            raise Damaged(f"{name} has {violations} foreign key violations, its source had {expected}.")

    def verify(self, reader: ArtefactReader, place: Place) -> list[CheckResult]:
        deadline = _Deadline(self._timeout, f"The verification of {reader.manifest.path}")
        with closing(_open(_ours(place).path, "immutable=1", deadline)) as database:
            return [_verified(database, check, reader, deadline) for check in self._checks]


def _ours(place: Place) -> SqlitePlace:
    if not isinstance(place, SqlitePlace):
        raise EngineError(f"{place!r} is no scratch file of SQLite's: restore into the place that scratch() gave.")
    return place


def _open(path: str, mode: str, deadline: _Deadline, *, busy: float = 0.0) -> sqlite3.Connection:
    """A connection that reads only, whatever SQL it is given, and stops when the time is up."""
    connection = sqlite3.connect(f"file:{quote(path)}?{mode}", uri=True, timeout=busy, isolation_level=None)
    connection.set_progress_handler(lambda: deadline.passed, _OPCODES)
    connection.text_factory = lambda data: data.decode(errors="replace")
    connection.execute("PRAGMA query_only = ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)  # ATTACH and VACUUM INTO would make files all the same
    return connection


def _size(source: sqlite3.Connection) -> int:
    (pages,) = source.execute("PRAGMA page_count").fetchone()
    (page_size,) = source.execute("PRAGMA page_size").fetchone()
    return int(pages) * int(page_size)


def _why(error: sqlite3.Error) -> str:
    return _WHY.get(code_of(error)) or _WHY.get(code_of(error) & 0xFF) or f"cannot be read ({error})"


def _prove(database: sqlite3.Connection) -> int:
    """The number of foreign key violations; ``Damaged`` unless ``integrity_check`` finds everything in order."""
    found = [row[0] for row in database.execute("PRAGMA integrity_check(3)")]
    if found != ["ok"]:
        raise Damaged("; ".join(line.splitlines()[-1] for line in found))
    return sum(1 for _violation in database.execute("PRAGMA foreign_key_check"))


def _whole(reader: ArtefactReader) -> Iterator[bytes]:
    """The bytes of the database, which must be as many as its own header says."""
    name = reader.names()[0]
    head, size = b"", 0
    for data in reader.read(name):
        head = (head + data[:100])[:100] if len(head) < 100 else head
        size += len(data)
        yield data
    page_size = int.from_bytes(head[16:18]) if head[16:18] != b"\0\1" else 65536
    pages = int.from_bytes(head[28:32])
    if not head.startswith(_MAGIC) or size == 0:
        raise Damaged(f"{name} is no SQLite database: it begins with {head[:16]!r}.")
    if size != page_size * pages:
        raise Damaged(f"{name} has {size} bytes, its header says {pages} pages of {page_size}.")


def _verified(database: sqlite3.Connection, check: Check, reader: ArtefactReader, deadline: _Deadline) -> CheckResult:
    try:
        observed = observe(database, check)
    except (sqlite3.Error, ValueError) as error:
        if deadline.passed:
            raise deadline.error() from None
        return check.judge_silence(str(error), reader.manifest.observed)
    return check.judge(observed, reader.manifest.observed, reader.manifest.consistent_at)
