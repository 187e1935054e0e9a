# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files for the contract suite: a configuration directory with names and links of every kind."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._engine.files import FilesEngine
from ansible_collections.runbook.ops.plugins.module_utils._runtime.local import LocalInstance
from contract.subjects.base import Subject


class FilesSubject(Subject):
    secret = "PASSWORD=not-for-records"  # what the files hold, not what the declaration does

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.env = directory / "app" / ".env"
        self.tls = directory / "etc tls"
        (self.tls / "live").mkdir(parents=True)
        (self.tls / "archive").mkdir()
        self.env.parent.mkdir()
        self.env.write_text(self.secret + "\n")
        (self.tls / "archive" / "cert1.pem").write_bytes(os.urandom(100_000))
        (self.tls / "live" / "cert.pem").symlink_to("../archive/cert1.pem")
        (self.tls / "live" / "absolute.pem").symlink_to(self.tls / "archive" / "cert1.pem")
        (self.tls / "Schlüssel\nzwei.key").write_bytes(b"")
        (self.tls / "empty").mkdir()
        self.holding = (
            {"file": str(self.env)},
            {"file": str(self.tls / "live" / "cert.pem")},
            {"file": str(self.tls / "live" / "absolute.pem").lstrip("/")},
            {"file": str(self.tls / "Schlüssel\nzwei.key")},
            {"file": str(self.tls / "empty")},
        )
        self.failing = {"file": str(directory / "app" / "settings.toml")}

    def declaration(self, **also: Any) -> dict[str, Any]:
        return {
            "engine": "files", "name": "configuration", "paths": [str(self.env), str(self.tls)], "timeout": "60s", **also,
        }  # fmt: skip

    def engine(self, checks: Sequence[Mapping[str, Any]] = (), **also: Any) -> FilesEngine:
        return FilesEngine.declared("databases[0]", self.declaration(checks=checks, **also), LocalInstance())

    def unreachable(self) -> FilesEngine:
        return self.engine(paths=[str(self.directory / "gone")])

    def change(self) -> None:
        self.env.unlink()


@contextmanager
def subject(directory: Path, request: pytest.FixtureRequest) -> Iterator[Subject]:
    yield FilesSubject(directory)
