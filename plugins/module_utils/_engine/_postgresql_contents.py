# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is inside a dump, told by ``pg_restore`` from its first bytes; and the roles beside it."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

from .._errors import CommandFailed, Damaged
from .._runtime.base import Completed
from ._postgresql_programs import Programs
from .base import ArtefactReader

_EXTENSION = re.compile(r"^\d+; 3079 \d+ EXTENSION - (.+?) *$", re.MULTILINE)
"""3079 is the OID of ``pg_extension`` in every version. Comments on extensions are listed under other names."""

_ENCODING = re.compile(rb"^SET client_encoding = '([^']+)';", re.MULTILINE)

_LIST_LIMIT = 32 << 20
"""Bytes of a table of contents: some 300,000 objects."""

_META = re.compile(rb"^\\(un)?restrict .*$", re.MULTILINE)
_GRANTOR = re.compile(rb'^(GRANT .*) GRANTED BY (?:"(?:[^"]|"")+"|[^\s";]+);$', re.MULTILINE)
_COMPLETE = b"-- PostgreSQL database cluster dump complete"


@dataclass(frozen=True)
class Names:
    """The artefacts of a PostgreSQL backup, as they are stored."""

    data: str
    globals: str

    @classmethod
    def of(cls, reader: ArtefactReader) -> Names:
        found = {name.split(".", maxsplit=1)[0]: name for name in reader.names()}
        if not {"data", "globals"} <= found.keys():
            raise Damaged(
                f"The backup has {', '.join(reader.names()) or 'no artefact'}, but PostgreSQL's has data and globals."
            )
        return cls(found["data"], found["globals"])


def extensions(programs: Programs, reader: ArtefactReader, *, timeout: float) -> list[str]:
    """The extensions a dump will create."""
    listed = _told(programs, programs.contents(), reader, timeout)
    return _EXTENSION.findall(listed.decode(errors="replace"))


def encoding(programs: Programs, reader: ArtefactReader, *, timeout: float) -> str:
    """The encoding of the database that was dumped."""
    match = _ENCODING.search(_told(programs, programs.preamble(), reader, timeout))
    return match[1].decode() if match else "UTF8"


def _told(programs: Programs, argv: list[str], reader: ArtefactReader, timeout: float) -> bytes:
    """What pg_restore says of a dump's beginning; no more of it is read than that takes."""
    name = Names.of(reader).data
    told = programs.instance.feed(argv, reader.read(name), timeout=timeout, limit=_LIST_LIMIT)
    require_ended(told)
    if told.returncode != 0:
        raise Damaged(f"{name} is no dump that pg_restore can read: {telling(told.stderr)}.")
    return told.stdout


def read_through(programs: Programs, reader: ArtefactReader, *, timeout: float) -> None:
    """Every byte of the backup read and, by pg_restore, understood; ``Damaged`` if one cannot be."""
    names = Names.of(reader)
    source = reader.read(names.data)
    read = programs.instance.feed(programs.read_through(), source, timeout=timeout)
    for _rest in source:  # pg_restore stops at the dump's end or at damage; the digest covers all there is
        pass
    require_ended(read)
    if read.returncode != 0:
        raise Damaged(f"{names.data} cannot be read through by pg_restore: {telling(read.stderr)}.")
    roles(reader)


def roles(reader: ArtefactReader) -> bytes:
    """The globals as statements a server takes as they are; their size is that of the list of roles.

    psql's own commands are dropped. So is who granted a membership: in the source that was mostly the superuser
    its cluster was made with, and no other may be named so in a cluster made by somebody else.
    """
    name = Names.of(reader).globals
    text = b"".join(reader.read(name))
    if _COMPLETE not in text[-4096:]:  # not the last line: \unrestrict follows it
        raise Damaged(f"{name} lacks pg_dumpall's closing line, so roles are missing from it.")
    return _GRANTOR.sub(rb"\1;", _META.sub(b"", text))


def has_role(reader: ArtefactReader, role: str) -> bool:
    """Whether the globals create ``role``: pg_dumpall quotes a name only where it must."""
    quoted = '"' + role.replace('"', '""') + '"'
    created = {f"CREATE ROLE {name};".encode() for name in (role, quoted)}
    return any(line in created for line in roles(reader).splitlines())


def require_readable(programs: Programs, reader: ArtefactReader) -> None:
    """``EngineError`` when pg_restore here is older than the pg_dump that wrote the backup: not the backup's fault."""
    wrote = reader.manifest.tool
    major = re.search(r" (\d+)", wrote)
    if major:
        programs.at_least("pg_restore", int(major[1]), f"the {wrote} that wrote this backup")


def require_ended(restore: Completed) -> None:
    """``CommandFailed`` when pg_restore did not come to an end of its own, which is 0 or 1: no verdict on any backup."""
    code = restore.returncode
    if code not in (0, 1):
        ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with return code {code}"
        raise CommandFailed(
            f"pg_restore {ended}, which tells nothing about the backup: see whether memory ran out, and run it again."
        )


def telling(stderr: str) -> str:
    """The lines of a program's report that say what is wrong. Not its DETAIL and CONTEXT: those quote rows."""
    lines = [line.strip() for line in stderr.splitlines() if "error:" in line or "ERROR:" in line or "FATAL:" in line]
    chosen = lines[:2] or stderr.splitlines()[-1:] or ["it said nothing"]
    return " ".join(line.rstrip(".") for line in chosen)
