# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WHAT is protected: the contract between the backup procedure and a kind of database.

An engine reads and restores through a runtime ``Instance``; it knows nothing of containers, stores, compression
or encryption: it writes raw bytes to sinks and reads raw bytes from an ``ArtefactReader``. One suite,
``tests/contract/test_engine.py``, holds every implementation to this text.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .._records import CheckResult, Manifest
from .._runtime.base import Sink

OpenArtefact = Callable[[str, str], AbstractContextManager[Sink]]
"""``open_artefact(stem, format)``: a sink for one artefact's raw bytes, e.g. ``("data.pgc", "pg_custom")``.
The artefact counts only when the context is left without an exception."""


@dataclass(frozen=True)
class Facts:
    """What ``preflight`` learned. ``estimated_bytes`` is an upper estimate of the raw artefact."""

    server_version: str
    tool: str
    estimated_bytes: int
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Dump:
    """What ``dump`` achieved. ``observed`` maps check names to their values in the very snapshot dumped; ``doubts`` are those
    that it would not pass, and why."""

    server_version: str
    tool: str
    consistent_at: datetime
    observed: Mapping[str, Any] = field(default_factory=dict)
    doubts: Mapping[str, str] = field(default_factory=dict)


class ArtefactReader(ABC):
    """The artefacts of one backup, decrypted and decompressed, each proved against the manifest while it is read."""

    manifest: Manifest

    @abstractmethod
    def names(self) -> list[str]:
        """Stored names, e.g. ``["data.pgc.zst", "globals.sql.zst"]``; the first is the data."""

    @abstractmethod
    def read(self, name: str) -> Iterator[bytes]:
        """Raw bytes. ``Damaged`` at the end at the latest, when size or sha256 differ from the manifest's."""


class Place(ABC):
    """A scratch place that a backup was restored into; only its engine knows what is inside."""

    server_version: str


class Engine(ABC):
    """One database (or key space, or set of files) and how to read and restore it."""

    name: str

    @abstractmethod
    def preflight(self) -> Facts:
        """Reach it, compare versions, estimate the size. Writes nothing. ``EngineError`` or ``InputError`` says why not."""

    def doubts(self) -> Mapping[str, str]:
        """By name, the declared checks that a backup taken now would not pass, and why: of an engine whose checks can be mistyped.
        Asks each, so check mode tells of it before a backup does. Writes nothing."""
        return {}

    @abstractmethod
    def dump(self, open_artefact: OpenArtefact) -> Dump:
        """Take a consistent copy. Holds the engine's own lock where it has one (``Busy`` if somebody else does)."""

    @abstractmethod
    def check(self, reader: ArtefactReader) -> None:
        """Whether the artefacts are sound as far as can be told without restoring; ``Damaged`` if not."""

    @abstractmethod
    def scratch(self, reader: ArtefactReader, directory: str) -> AbstractContextManager[Place]:
        """A place to restore into that is not production, inside the private ``directory`` where files are needed.
        Space, and what the place lacks (extensions), are checked before it is yielded; always dropped at the end."""

    @abstractmethod
    def restore(self, reader: ArtefactReader, place: Place) -> None:
        """Restore the whole backup into ``place``. ``Damaged`` if the backup cannot be restored."""

    @abstractmethod
    def verify(self, reader: ArtefactReader, place: Place) -> list[CheckResult]:
        """Run the declared checks on what was restored."""
