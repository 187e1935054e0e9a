# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The least that an engine can be dumped to and restored from: raw artefacts as files, proved while they are read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ansible_collections.runbook.ops.plugins.module_utils._engine.base import ArtefactReader, Dump, Engine
from ansible_collections.runbook.ops.plugins.module_utils._errors import Damaged
from ansible_collections.runbook.ops.plugins.module_utils._records import Artefact, Manifest, Scope, new_id, utc_now
from ansible_collections.runbook.ops.plugins.module_utils._runtime.base import Sink

CHUNK = 1 << 16


class Shelf(ArtefactReader):
    """Backups of one engine in a directory; ``manifest`` is the newest one's."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._complete: list[Artefact] = []
        self.interfere: Callable[[], object] | None = None
        """Called once, when the first bytes of a dump arrive."""

    @contextmanager
    def open(self, stem: str, format: str) -> Iterator[Sink]:
        path, digest = self._directory / stem, hashlib.sha256()
        with path.open("wb") as file:

            def sink(data: bytes) -> None:
                if self.interfere:
                    action, self.interfere = self.interfere, None
                    action()
                digest.update(data)
                file.write(data)

            yield sink
        size = path.stat().st_size
        self._complete.append(Artefact(stem, format, None, None, size, size, digest.hexdigest(), digest.hexdigest()))

    def take(self, engine: Engine) -> Dump:
        """A whole backup. What is complete afterwards is in ``names()``."""
        self._complete.clear()
        started_at = utc_now()
        dump = engine.dump(self.open)
        self.manifest = Manifest(
            id=new_id(started_at), scope=Scope("contract", engine.name, "subject"), label="manual",
            started_at=started_at, finished_at=utc_now(), consistent_at=dump.consistent_at,
            server_version=dump.server_version, tool=dump.tool, artefacts=tuple(self._complete),
            observed=dump.observed,
        )  # fmt: skip
        return dump

    def names(self) -> list[str]:
        return [artefact.name for artefact in self._complete]

    def read(self, name: str) -> Iterator[bytes]:
        artefact = next(artefact for artefact in self.manifest.artefacts if artefact.name == name)
        digest = hashlib.sha256()
        with (self._directory / name).open("rb") as file:
            while data := file.read(CHUNK):
                digest.update(data)
                yield data
        if digest.hexdigest() != artefact.sha256:
            raise Damaged(f"{name} has another sha256 than its manifest says.")

    def damage(self, name: str, change: Callable[[bytes], bytes], *, unnoticed: bool = False) -> None:
        """Change an artefact's bytes. ``unnoticed``: the manifest speaks of the changed ones, so no digest will tell."""
        path = self._directory / name
        data = change(path.read_bytes())
        path.write_bytes(data)
        if unnoticed:
            digest = hashlib.sha256(data).hexdigest()
            self.manifest = replace(
                self.manifest,
                artefacts=tuple(
                    replace(a, size=len(data), raw_size=len(data), sha256=digest, raw_sha256=digest)
                    if a.name == name
                    else a
                    for a in self.manifest.artefacts
                ),
            )
