# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL: dumped from an exported snapshot, restored in parallel into a scratch database."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from .._checks import Check, doubts, parse_checks
from .._durations import parse_duration
from .._errors import CommandFailed, Damaged, EngineError, InputError, NoSpace, TimedOut
from .._records import CheckResult, utc_now
from .._runtime.base import Instance, Limits, Sink
from .._runtime.local import LocalInstance
from .._scratch import require_space
from .._server import account
from ._limits import DEFAULT_LIMITS, limits_of
from ._postgresql_checks import observe
from ._postgresql_connection import Deadline, StatementFailed, Target, session
from ._postgresql_contents import (
    Names,
    encoding,
    extensions,
    has_role,
    read_through,
    require_ended,
    require_readable,
    roles,
    telling,
)
from ._postgresql_named import declared_server, named
from ._postgresql_programs import Programs
from ._postgresql_scratch import APPLICATION, ScratchDatabase, throw_away
from ._postgresql_session import DumpSession, Snapshot, dump_session
from ._postgresql_twin import in_twin
from .base import ArtefactReader, Dump, Engine, Facts, OpenArtefact, Place

_RESTORED_FACTOR = 2
"""A restored database per raw dump: tables take about as much as their text (numbers less, short rows more: each has
a header of 28 bytes), indexes up to as much again."""

_EMPTY_SERVER = 256 << 20
"""An empty cluster, its log and the WAL of small changes; bulk loads write none (``wal_level`` is minimal)."""

_OF_THE_DUMP = re.compile(
    r"ERROR: |could not read from input file|unexpected end of file|magic string|data block|in archive|uncompress"
)
"""What a server says of statements, and pg_restore of the file: evidence against a backup whose bytes are proved."""

_OF_THE_HOST = re.compile(
    r"out of (shared )?memory|too many (connections|clients)|connection slots|Cannot allocate|Too many open files"
    r"|could not (fork|resize shared memory|load library|access file)|terminating connection|canceling"
    r"|could not (open|create|write|extend|fsync)( to| temporary| extension control)? (file|directory)"
)
"""What an error says that the same backup would not meet elsewhere."""

_OF_THE_ACCOUNT = re.compile(r"permission denied|must be (an? )?(owner|superuser|member|able)")
"""The same, where the server and the account's rights in it are somebody else's."""

_UNABLE = ("53", "57P", "58")
"""SQLSTATEs of a server that lacks resources, is shut down, or is failed by its system."""

_NO_RIGHT = "42501"

_SERVER_ACCOUNT = "postgres"
"""Whom the server runs as in every image of it that there is."""


@dataclass(frozen=True)
class PostgresqlEngine(Engine):
    """One database of a PostgreSQL server."""

    name = "postgresql"

    instance: Instance
    target: Target
    bin_dir: str | None = None
    checks: tuple[Check, ...] = ()
    lock_timeout: float = 30.0
    timeout: float = 14400.0
    scratch_server: Target | None = None
    limits: Limits = DEFAULT_LIMITS
    run_as: str | None = None
    variable: str = "database"

    @classmethod
    def declared(cls, variable: str, database: Mapping[str, Any], instance: Instance) -> PostgresqlEngine:
        """From one entry of ``runbook_databases``."""
        target = Target.declared(variable, database, str(database.get("name") or ""))
        if not target.database:
            raise InputError(f"{variable}.name is empty: give the name of the PostgreSQL database.")
        return cls(
            instance=instance,
            target=target,
            bin_dir=database.get("bin_dir"),
            checks=parse_checks(f"{variable}.checks", database.get("checks"), cls.name),
            lock_timeout=_seconds(variable, database, "lock_timeout", "30s"),
            timeout=_seconds(variable, database, "timeout", "4h"),
            scratch_server=declared_server(f"{variable}.scratch", database.get("scratch"), target),
            limits=limits_of(f"{variable}.scratch", database.get("scratch")),
            run_as=database.get("run_as"),
            variable=variable,
        )

    @property
    def _programs(self) -> Programs:
        return Programs(self.instance, self.bin_dir)

    def _restoring_on(self, instance: Instance) -> Programs:
        """Those that restore: where the scratch database is, which is this host or a twin of the instance."""
        return Programs(instance, self.bin_dir)

    def _reached(self) -> Target:
        host, port = self.instance.endpoint(self.target.host, self.target.port)
        return replace(self.target, host=host, port=port)

    def preflight(self) -> Facts:
        reached = self._reached()
        with ThreadPoolExecutor() as pool:  # elsewhere each is a process to wait for: asked while the server is reached
            versions = [pool.submit(self._programs.version, program) for program in ("pg_dump", "pg_dumpall")]
            with session(reached, "runbook.ops preflight") as opened:
                for version in versions:
                    version.result()
                tool = self._require_client(opened.server_major, opened.server_version)
                size, recovering = opened.rows("SELECT pg_database_size(current_database()), pg_is_in_recovery()")[0]
                return Facts(opened.server_version, tool, size, {"in_recovery": recovering})

    def _require_client(self, major: int, version: str) -> str:
        server = f"the server's {version} at {self.target.host}:{self.target.port}"
        return str(self._programs.at_least("pg_dump", major, server))

    def dump(self, open_artefact: OpenArtefact) -> Dump:
        deadline = Deadline(self.timeout, f"The backup of {self.target}")
        with dump_session(self._reached(), self.lock_timeout) as source:
            tool = self._require_client(source.server_major, source.server_version)
            answers, silence = source.observe(self.checks, deadline)
            with open_artefact("data.pgc", "pg_custom") as sink:
                argv = self._programs.dump(self.target, source.snapshot, self.lock_timeout)
                self._stream(argv, sink, deadline, source)
            with open_artefact("globals.sql", "sql") as sink:
                self._stream(self._programs.dump_globals(self.target), sink, deadline, source)
            observed = {
                check.name: answers[check.name] for check in self.checks if check.observable and check.name in answers
            }
            wrong = doubts(self.checks, answers, silence, source.consistent_at)
            return Dump(source.server_version, tool, source.consistent_at, observed, wrong)

    def doubts(self) -> Mapping[str, str]:
        deadline = Deadline(self.timeout, f"Asking the checks of {self.target}")
        with session(self._reached(), "runbook.ops preflight") as opened:
            return doubts(self.checks, *Snapshot(opened, self.lock_timeout).observe(self.checks, deadline), utc_now())

    def _stream(self, argv: list[str], sink: Sink, deadline: Deadline, source: DumpSession) -> None:
        try:
            self.instance.stream(argv, sink, timeout=deadline.left(), env=self.target.environment)
        except TimedOut:
            raise TimedOut(
                f"{os.path.basename(argv[0])} of {self.target} did not finish within the backup's timeout of "
                f"{self.timeout:g} s{source.blockers()}: see whether the server hangs, or raise timeout."
            ) from None
        except CommandFailed as error:
            blockers = source.blockers()
            remedy = f"{blockers}: let that transaction end, or raise lock_timeout" if blockers else ""
            raise CommandFailed(f"{str(error).rstrip('.')}{remedy}.") from None

    def check(self, reader: ArtefactReader) -> None:
        require_readable(self._programs, reader)
        read_through(self._programs, reader, timeout=self.timeout)

    @contextmanager
    def scratch(self, reader: ArtefactReader, directory: str) -> Iterator[Place]:
        raw = sum(artefact.raw_size for artefact in reader.manifest.artefacts)
        room = raw if self.scratch_server else raw * (1 + _RESTORED_FACTOR) + _EMPTY_SERVER
        limits = replace(self.limits, files=room)
        twin = None if self.scratch_server else self.instance.twin(limits, self.run_as or _SERVER_ACCOUNT)
        with twin or nullcontext() as elsewhere:
            programs = self._restoring_on(elsewhere or LocalInstance())
            require_readable(programs, reader)
            if elsewhere is None:
                require_space(directory, room, f"restoring {reader.manifest.path}")
            wanted = extensions(programs, reader, timeout=self.timeout)
            about = {"backup_id": reader.manifest.id, "encoding": encoding(programs, reader, timeout=self.timeout)}
            # Left when the caller's `with` ends. pylint: disable-next=contextmanager-generator-missing-cleanup
            with self._empty(elsewhere, programs, directory, about) as place:
                place.require_major(reader.manifest.server_version)
                place.require_extensions(wanted)
                yield place

    def _empty(
        self, twin: Instance | None, programs: Programs, directory: str, about: Mapping[str, str]
    ) -> AbstractContextManager[ScratchDatabase]:
        if twin is not None:
            return in_twin(twin, programs, directory, limits=self.limits, **about)
        if self.scratch_server is not None:
            return named(self.scratch_server, self._reached, directory, variable=f"{self.variable}.scratch", **about)
        return throw_away(
            directory, bin_dir=self.bin_dir, account=account(self.run_as, f"{self.variable}.run_as"), **about
        )

    def restore(self, reader: ArtefactReader, place: Place) -> None:
        scratch = _ours(place)
        deadline = Deadline(self.timeout, f"The restore of {reader.manifest.path}")
        if scratch.private:
            self._load_roles(reader, scratch)
        programs = self._restoring_on(scratch.instance)
        with scratch.kept(reader.read(Names.of(reader).data), timeout=deadline.left()) as path:
            argv = programs.restore(path, scratch.inside, jobs=os.cpu_count() or 1, roles=scratch.private)
            ended = programs.instance.run(argv, timeout=deadline.left(), env=scratch.target.environment)
        require_ended(ended)
        if ended.returncode != 0:
            raise _why_not_restored(scratch, ended.stderr)

    def _load_roles(self, reader: ArtefactReader, scratch: ScratchDatabase) -> None:
        try:
            with session(scratch.target, APPLICATION) as opened:
                opened.rows(roles(reader), seconds=self.timeout)
        except StatementFailed as error:
            if error.sqlstate.startswith(_UNABLE):
                raise
            raise Damaged(f"{Names.of(reader).globals} cannot be restored: {error.said}.") from None

    def verify(self, reader: ArtefactReader, place: Place) -> list[CheckResult]:
        scratch = _ours(place)
        deadline = Deadline(self.timeout, f"The verification of {reader.manifest.path}")
        return [self._verified(check, reader, scratch, deadline) for check in self.checks]

    def _verified(
        self, check: Check, reader: ArtefactReader, scratch: ScratchDatabase, deadline: Deadline
    ) -> CheckResult:
        """A session for each check: no check can spoil the next one's."""
        manifest = reader.manifest
        try:
            if check.kind == "role" and not scratch.private:
                observed: Any = has_role(reader, check.subject)
            else:
                with session(scratch.target, APPLICATION) as opened:
                    opened.rows("SET default_transaction_read_only = on")
                    opened.limit_statements(deadline.left())
                    observed = observe(opened, check, seconds=deadline.left())
        except StatementFailed as error:
            if error.sqlstate.startswith(_UNABLE) or (error.sqlstate == _NO_RIGHT and not scratch.private):
                raise
            return check.judge_silence(error.said, manifest.observed)
        return check.judge(observed, manifest.observed, manifest.consistent_at)


def _ours(place: Place) -> ScratchDatabase:
    if not isinstance(place, ScratchDatabase):
        raise EngineError(
            f"{place!r} is no scratch database of PostgreSQL's: restore into the place that scratch() gave."
        )
    return place


def _why_not_restored(scratch: ScratchDatabase, stderr: str) -> Exception:
    """The backup's bytes are proved by now, so only what is evidence against it is for its verdict."""
    said = telling(stderr)
    if "No space left on device" in stderr:
        return NoSpace(
            f"The scratch server ran out of space while restoring ({said}): free some in {scratch.directory}."
        )
    elsewhere = _OF_THE_HOST.search(said) or (not scratch.private and _OF_THE_ACCOUNT.search(said))
    if elsewhere or not _OF_THE_DUMP.search(said) or not _serves(scratch):
        remedy = (
            "see whether memory ran out (in a container, raise scratch.memory_mib)"
            if scratch.private
            else f"see to the server and to the rights of {scratch.target.user!r}"
        )
        return EngineError(
            f"The scratch server at {scratch.target.host}:{scratch.target.port} could not take the dump, which tells nothing "
            f"about the backup ({said}): {remedy}, and verify again."
        )
    return Damaged(f"The dump cannot be restored: {said}.")


def _serves(scratch: ScratchDatabase) -> bool:
    try:
        with session(scratch.target, APPLICATION):
            return True
    except EngineError:
        return False


def _seconds(variable: str, database: Mapping[str, Any], key: str, default: str) -> float:
    return parse_duration(f"{variable}.{key}", database.get(key) or default).total_seconds()
