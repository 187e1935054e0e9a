# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an inventory's ``runbook_archive`` to index and places; everything wrong with it is said before anything is touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._description import instance_of
from .._engine._postgresql_connection import Target
from .._errors import InputError
from .._runtime.base import Runtime
from .._store.declared import store_of
from .._store.local import LocalStore
from .._store.s3 import S3Store
from .base import KINDS, Place
from .bucket import ArchiveBucket
from .directory import ArchiveDirectory
from .index import Index


@dataclass(frozen=True)
class Archive:
    """Documents: their index, where they lie, and where copies of them do, the nearest first. ``kind`` is of the checksums."""

    index: Index
    objects: Place
    sources: tuple[Place, ...]
    kind: str


def archive_of(variable: str, declared: Mapping[str, Any], runtime: Runtime) -> Archive:
    """The archive that ``variable`` describes; ``InputError`` names the key that is wrong and the remedy."""
    kind = declared.get("checksum") or "sha256"
    if kind not in KINDS:
        raise InputError(f"{variable}.checksum is {kind!r}: write one of {', '.join(KINDS)}.")
    objects = place_of(f"{variable}.objects", declared.get("objects") or {})
    sources = tuple(
        place_of(f"{variable}.sources[{number}]", source) for number, source in enumerate(declared.get("sources") or ())
    )
    labels = [objects.label, *(source.label for source in sources)]
    for number, label in enumerate(labels[1:]):
        if label in labels[: number + 1]:
            raise InputError(f"{variable}.sources[{number}] is {label}, which is named before it already: remove it.")
    return Archive(_index_of(variable, declared, runtime), objects, sources, kind)


def place_of(variable: str, declared: Mapping[str, Any]) -> Place:
    """A bucket or a directory, declared as a store is."""
    store = store_of(variable, declared)
    if isinstance(store, S3Store):
        return ArchiveBucket(store.bucket)
    if isinstance(store, LocalStore):
        return ArchiveDirectory(store.root)
    raise InputError(f"{variable}.type is {declared.get('type')!r}: an archive lies in s3 or local.")


def _index_of(variable: str, declared: Mapping[str, Any], runtime: Runtime) -> Index:
    database, columns = declared.get("database") or {}, declared.get("columns") or {}
    name = database.get("name")
    if not name:
        raise InputError(f"{variable}.database.name is empty: give the name of the PostgreSQL database.")
    table = str(declared.get("table") or "").split(".")
    if len(table) > 2 or not all(table):
        raise InputError(
            f"{variable}.table is {declared.get('table')!r}: write the table, or its schema, a dot and the table."
        )
    given = {column: columns.get(column) for column in ("key", "size", "checksum")}
    for column, called in given.items():
        if not called:
            raise InputError(
                f"{variable}.columns.{column} is empty: write what that column is called in {'.'.join(table)}."
            )
        if list(given.values()).count(called) > 1:
            raise InputError(f"{variable}.columns names {called!r} twice: key, size and checksum are three columns.")
    instance = instance_of(f"{variable}.database.service", database.get("service") or "", runtime)
    target = Target.declared(f"{variable}.database", database, str(name))
    return Index(
        instance, target, tuple(table), str(given["key"]), str(given["size"]), str(given["checksum"]), variable
    )
