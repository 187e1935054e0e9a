# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The records of backup format 1: manifest, verification, hold and lease, as frozen values.

``docs/backup_format.md`` is the contract. Parsers ignore keys they do not know and refuse another
``format`` rather than guess. Times are aware UTC datetimes in memory and RFC 3339 on disk.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from ._errors import InputError, Unreadable

FORMAT = 1
VERSION = "1.0.0"
PRODUCER = {"collection": "runbook.ops", "version": VERSION}

MANIFEST = "manifest.json"
VERIFICATION = "verification.json"
HOLD = "hold.json"
LEASE = "lease.json"

LABELS = ("scheduled", "manual", "pre_deploy", "pre_restore", "pre_rotation")

_ID = re.compile(r"\A(\d{8}T\d{6}Z)-[0-9a-f]{8}\Z")
_NAME = re.compile(r"\A[A-Za-z0-9_.-]+\Z")


def utc_now() -> datetime:
    """The present moment, to the second, as the records hold it."""
    return datetime.now(timezone.utc).replace(microsecond=0)


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with a ``Z``."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: object) -> datetime:
    """RFC 3339 with a zone; ``ValueError`` otherwise."""
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is no RFC 3339 time")
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    try:
        return moment.astimezone(timezone.utc)
    except OverflowError:
        raise ValueError(f"{text!r} is beyond the calendar") from None


def new_id(started_at: datetime) -> str:
    """``YYYYMMDDThhmmssZ-xxxxxxxx``: sortable by time, unique by 32 random bits."""
    return f"{started_at.astimezone(timezone.utc):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def is_id(text: str) -> bool:
    """Whether a directory name has the shape of a backup id."""
    match = _ID.match(text)
    if not match:
        return False
    try:
        datetime.strptime(match[1], "%Y%m%dT%H%M%SZ")
    except ValueError:
        return False
    return True


def check_id(variable: str, value: str) -> str:
    """A backup's id, or ``InputError``."""
    if is_id(value):
        return value
    raise InputError(f"{variable} is {value!r}, which is no backup id: take one that list_backups.yml shows.")


def check_name(variable: str, value: object) -> str:
    """A system, database or artefact name that is safe as one path segment, or ``InputError``."""
    if isinstance(value, str) and _NAME.match(value) and value not in (".", ".."):
        return value
    raise InputError(
        f"{variable} is {value!r}, which cannot name a directory in a store: "
        "use letters, digits, '_', '.' and '-' only, and neither '.' nor '..'."
    )


@dataclass(frozen=True, order=True)
class Scope:
    """What retention, listing and verification group by: exact names, never a prefix."""

    system: str
    engine: str
    database: str

    @property
    def path(self) -> str:
        """The scope's directory, relative to the store's root."""
        return f"{self.system}/{self.engine}/{self.database}"

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True)
class Artefact:
    """One file of a backup. ``raw_*`` speak of the bytes before compression and encryption."""

    name: str
    format: str
    compression: str | None
    encryption: Mapping[str, Any] | None
    size: int
    raw_size: int
    sha256: str
    raw_sha256: str | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name, "format": self.format, "compression": self.compression,
            "encryption": dict(self.encryption) if self.encryption else None,
            "size": self.size, "raw_size": self.raw_size,
            "sha256": self.sha256, "raw_sha256": self.raw_sha256,
        }  # fmt: skip


@dataclass(frozen=True)
class Manifest:
    """What a backup is; published last, so its presence is what makes a backup."""

    id: str
    scope: Scope
    label: str
    started_at: datetime
    finished_at: datetime
    consistent_at: datetime
    server_version: str
    tool: str
    artefacts: tuple[Artefact, ...]
    observed: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    producer: Mapping[str, Any] = field(default_factory=lambda: dict(PRODUCER))

    @property
    def path(self) -> str:
        """The backup's directory, relative to the store's root."""
        return f"{self.scope.path}/{self.id}"

    @property
    def size(self) -> int:
        """Stored bytes of all artefacts."""
        return sum(artefact.size for artefact in self.artefacts)

    @property
    def encrypted(self) -> bool:
        return any(artefact.encryption for artefact in self.artefacts)

    def to_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT, "id": self.id,
            "system": self.scope.system, "engine": self.scope.engine, "database": self.scope.database,
            "label": self.label,
            "started_at": format_time(self.started_at), "finished_at": format_time(self.finished_at),
            "consistent_at": format_time(self.consistent_at),
            "server_version": self.server_version, "tool": self.tool,
            "artefacts": [artefact.to_dict() for artefact in self.artefacts],
            "observed": [{"name": name, "value": value} for name, value in self.observed.items()],
            "source": dict(self.source), "producer": dict(self.producer),
        }  # fmt: skip


@dataclass(frozen=True)
class CheckResult:
    """One assertion of a verification: what was demanded and what was seen. One that was not ``answered``, here nor when the
    backup was taken, is no evidence against it, and is in no record."""

    name: str
    expected: Any
    observed: Any
    passed: bool
    answered: bool = True

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "expected": self.expected, "observed": self.observed, "passed": self.passed}


@dataclass(frozen=True)
class Verification:
    """The newest verdict on a backup. ``method``: ``restore``, or ``checksum`` where the host has no key."""

    id: str
    verified_at: datetime
    passed: bool
    method: str
    restored_from: str
    restore_seconds: float | None = None
    server_version: str | None = None
    checks: tuple[CheckResult, ...] = ()
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        record: dict[str, Any] = {
            "format": FORMAT, "id": self.id, "verified_at": format_time(self.verified_at),
            "result": "passed" if self.passed else "failed", "method": self.method,
            "restored_from": self.restored_from, "restore_seconds": self.restore_seconds,
            "server_version": self.server_version, "checks": [check.to_dict() for check in self.checks],
        }  # fmt: skip
        if self.reason:
            record["reason"] = self.reason
        return record


@dataclass(frozen=True)
class Hold:
    """A held backup is never deleted; ``until`` ``None`` holds for ever."""

    reason: str
    until: datetime | None
    by: str

    def active(self, now: datetime) -> bool:
        return self.until is None or self.until > now


@dataclass(frozen=True)
class Lease:
    """Who is writing or deleting a backup's directory, and until when others must keep off it.

    ``done_bytes`` tells onlookers how far a writer has come.
    """

    owner: str
    purpose: str
    expires_at: datetime
    done_bytes: int = 0

    def live(self, now: datetime) -> bool:
        return self.expires_at > now

    def to_dict(self) -> dict[str, Any]:
        return {
            "owner": self.owner,
            "purpose": self.purpose,
            "expires_at": format_time(self.expires_at),
            "done_bytes": self.done_bytes,
        }


def encode(record: Mapping[str, Any]) -> bytes:
    """The bytes a record is stored as: UTF-8 JSON, indented because people read it at night."""
    return (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()


def _load(data: bytes, where: str, *, versioned: bool) -> dict[str, Any]:
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{where} is not JSON ({error}).") from None
    if not isinstance(record, dict):
        raise Unreadable(f"{where} is not a JSON object.")
    if versioned and record.get("format") != FORMAT:
        raise Unreadable(f"{where} has format {record.get('format')!r}; this release reads format {FORMAT} only.")
    return record


def _artefact(record: Mapping[str, Any]) -> Artefact:
    encryption = record.get("encryption")
    if encryption is not None and not isinstance(encryption, dict):
        raise ValueError("encryption is neither null nor an object")
    for key in ("size", "raw_size"):
        if not isinstance(record[key], int) or isinstance(record[key], bool) or record[key] < 0:
            raise ValueError(f"{key} is {record[key]!r}")
    return Artefact(
        name=check_name("artefact name", record["name"]), format=str(record["format"]),
        compression=record.get("compression"), encryption=encryption,
        size=record["size"], raw_size=record["raw_size"],
        sha256=str(record["sha256"]), raw_sha256=record.get("raw_sha256"),
    )  # fmt: skip


def _manifest(record: Mapping[str, Any], where: str) -> Manifest:
    try:
        return Manifest(
            id=record["id"],
            scope=Scope(record["system"], record["engine"], record["database"]),
            label=str(record["label"]),
            started_at=parse_time(record["started_at"]),
            finished_at=parse_time(record["finished_at"]),
            consistent_at=parse_time(record.get("consistent_at", record["started_at"])),
            server_version=str(record.get("server_version", "")),
            tool=str(record.get("tool", "")),
            artefacts=tuple(_artefact(artefact) for artefact in record["artefacts"]),
            observed={entry["name"]: entry["value"] for entry in record.get("observed", [])},
            source=dict(record.get("source", {})),
            producer=dict(record.get("producer", {})),
        )
    except (KeyError, TypeError, ValueError, AttributeError, InputError) as error:
        raise Unreadable(f"{where} is not a manifest of format {FORMAT} ({error!r}).") from None


def manifest_from(variable: str, record: Mapping[str, Any]) -> Manifest:
    """The manifest that another module returned."""
    return _manifest(record, variable)


def parse_manifest(data: bytes, path: str) -> Manifest:
    """The manifest found in the backup directory ``path`` (``system/engine/database/id``).

    ``Unreadable`` if it does not parse, has another format, or says something else than its path.
    """
    where = f"{path}/{MANIFEST}"
    record = _load(data, where, versioned=True)
    manifest = _manifest(record, where)
    if not manifest.artefacts:
        raise Unreadable(f"{where} names no artefact, so there is nothing to restore.")
    if manifest.path != path:
        raise Unreadable(f"{where} says it is {manifest.path}; path and content disagree.")
    return manifest


def _check(record: Mapping[str, Any]) -> CheckResult:
    return CheckResult(str(record["name"]), record.get("expected"), record.get("observed"), record["passed"] is True)


def parse_verification(data: bytes, path: str) -> Verification:
    """The verification beside the manifest in ``path``; ``Unreadable`` if it is not one."""
    where = f"{path}/{VERIFICATION}"
    record = _load(data, where, versioned=True)
    try:
        if record["id"] != path.rpartition("/")[2] or record["result"] not in ("passed", "failed"):
            raise ValueError(f"id {record['id']!r}, result {record['result']!r}")
        if not isinstance(record.get("restore_seconds"), int | float | None):
            raise ValueError(f"restore_seconds is {record['restore_seconds']!r}")
        return Verification(
            id=record["id"], verified_at=parse_time(record["verified_at"]), passed=record["result"] == "passed",
            method=str(record["method"]), restored_from=str(record.get("restored_from", "")),
            restore_seconds=record.get("restore_seconds"), server_version=record.get("server_version"),
            checks=tuple(_check(check) for check in record.get("checks", [])), reason=record.get("reason"),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(f"{where} is not a verification of format {FORMAT} ({error!r}).") from None


def parse_hold(data: bytes, path: str) -> Hold:
    """The hold in ``path``; ``Unreadable`` if it is not one."""
    where = f"{path}/{HOLD}"
    record = _load(data, where, versioned=False)
    try:
        until = record.get("until")
        return Hold(str(record["reason"]), None if until is None else parse_time(until), str(record.get("by", "")))
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"{where} is not a hold ({error!r}).") from None


def parse_lease(data: bytes, path: str) -> Lease:
    """The lease in ``path``; ``Unreadable`` if it is not one."""
    where = f"{path}/{LEASE}"
    record = _load(data, where, versioned=False)
    try:
        done = int(record.get("done_bytes", 0))
        return Lease(str(record["owner"]), str(record["purpose"]), parse_time(record["expires_at"]), done)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Unreadable(f"{where} is not a lease ({error!r}).") from None
