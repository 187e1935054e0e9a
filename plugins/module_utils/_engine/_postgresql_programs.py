# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL's client programs: which version they are, and the argument lists this collection runs them with."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache

from .._errors import CommandFailed, EngineError, MissingLibrary
from .._runtime.base import Instance
from ._postgresql_connection import Target

_VERSION = re.compile(rb"\(PostgreSQL\) ((\d+)\S*)")
_CONTROL_SECONDS = 30.0


@dataclass(frozen=True)
class Version:
    """A client program's version."""

    program: str
    text: str
    major: int

    def __str__(self) -> str:
        return f"{self.program} {self.text}"


@dataclass(frozen=True)
class Programs:
    """The client programs in ``bin_dir`` of an instance, or on its PATH."""

    instance: Instance
    bin_dir: str | None

    @property
    def where(self) -> str:
        return self.bin_dir or "PATH"

    def path(self, program: str) -> str:
        return os.path.join(self.bin_dir, program) if self.bin_dir else program

    def version(self, program: str) -> Version:
        """``MissingLibrary`` where the program is not there."""
        return _version(self.instance, self.bin_dir, program)

    def at_least(self, program: str, major: int, what: str) -> Version:
        """The program's version; ``EngineError`` when it is too old for ``what``, which has ``major``."""
        version = self.version(program)
        if version.major < major:
            raise EngineError(
                f"{program} in {self.where} is version {version.text}, older than {what}: "
                f"set bin_dir to PostgreSQL programs of version {major} or newer."
            )
        return version

    def dump(self, target: Target, snapshot: str, lock_timeout: float) -> list[str]:
        """Uncompressed: one zstd over the whole stream on all cores is smaller and faster than pg_dump's own."""
        return [
            self.path("pg_dump"), "--format=custom", "--compress=0", f"--snapshot={snapshot}",
            f"--lock-wait-timeout={int(lock_timeout * 1000)}", "--no-password", f"--dbname={target.conninfo}",
        ]  # fmt: skip

    def dump_globals(self, target: Target) -> list[str]:
        """Roles, memberships and grants. No passwords: a backup is no place for them. No tablespaces: they are paths
        of the source's host, which no other host has; restores go to the default tablespace."""
        return [
            self.path("pg_dumpall"), "--roles-only", "--no-role-passwords", "--encoding=UTF8", "--no-password",
            f"--database={target.conninfo}",
        ]  # fmt: skip

    def contents(self) -> list[str]:
        """The table of contents of the dump on stdin; reads no further than that."""
        return [self.path("pg_restore"), "--list"]

    def preamble(self) -> list[str]:
        """The settings with which the dump on stdin begins, and none of its objects."""
        return [self.path("pg_restore"), "--schema-only", "--table=runbook no such table", "--file=-"]

    def read_through(self) -> list[str]:
        """Reads every byte of the dump on stdin and writes it nowhere: ``--list`` returns 0 on a dump cut to 1 %."""
        return [self.path("pg_restore"), "--file=/dev/null"]

    def restore(self, path: str, target: Target, *, jobs: int, roles: bool) -> list[str]:
        """Without ``roles``, owners and grants are left out. Publications and subscriptions always are: they speak to
        other servers, and a database with a subscription cannot be dropped."""
        without = [] if roles else ["--no-owner", "--no-acl"]
        return [
            self.path("pg_restore"), f"--jobs={jobs}", "--exit-on-error", "--no-tablespaces", "--no-publications",
            "--no-subscriptions", *without, "--no-password", f"--dbname={target.conninfo}", path,
        ]  # fmt: skip


@cache
def _version(instance: Instance, bin_dir: str | None, program: str) -> Version:
    """Asked before and during a dump, and each answer is a process in a container; ours lives for one job."""
    programs = Programs(instance, bin_dir)
    try:
        completed = instance.run([programs.path(program), "--version"], timeout=_CONTROL_SECONDS)
    except CommandFailed as error:
        raise MissingLibrary(
            f"{'Correct bin_dir, or install' if bin_dir else 'Install'} PostgreSQL's client programs on {instance.name}"
            f"{'' if bin_dir else ', or set bin_dir to where they are'}: {error}"
        ) from None
    match = _VERSION.search(completed.stdout)
    if completed.returncode != 0 or match is None:
        raise MissingLibrary(
            f"{programs.path(program)} on {instance.name} does not tell its version "
            f"({completed.stderr or completed.stdout[:80]!r}): set bin_dir to PostgreSQL's client programs."
        )
    return Version(program, match[1].decode(), int(match[2]))
