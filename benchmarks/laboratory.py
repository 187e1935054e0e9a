# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the benchmarks work, and the servers they work on. The directory, and the datasets in it, are kept."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.runbook.ops.plugins.module_utils._errors import CommandFailed

from lab import debian
from lab.embedded.servers import PostgresServer, start_postgres


@dataclass(frozen=True)
class Scale:
    """How much is measured: ``judged`` figures are held against their limits."""

    megabytes: int
    rounds: int
    rare_rounds: int
    planned_backups: int
    listed_backups: int
    archived_objects: int
    playbooks: int
    judged: bool


FULL = Scale(
    megabytes=640,
    rounds=5,
    rare_rounds=3,
    planned_backups=100_000,
    listed_backups=10_000,
    archived_objects=20_000,
    playbooks=7,
    judged=True,
)
QUICK = Scale(
    megabytes=20,
    rounds=1,
    rare_rounds=1,
    planned_backups=2_000,
    listed_backups=200,
    archived_objects=300,
    playbooks=1,
    judged=False,
)


def home() -> Path:
    """``RUNBOOK_BENCH_DIR``, or a directory of the user's own in /var/tmp, where servers' accounts can get to."""
    user = os.path.basename(os.path.expanduser("~"))
    directory = Path(os.environ.get("RUNBOOK_BENCH_DIR") or f"/var/tmp/runbook-bench-{user}")
    directory.mkdir(mode=0o711, exist_ok=True)
    if directory.is_symlink() or directory.stat().st_uid != os.geteuid():
        raise SystemExit(f"{directory} is not a directory of this account: set RUNBOOK_BENCH_DIR to another.")
    return directory


@contextmanager
def workplace() -> Iterator[Path]:
    """An empty directory on the datasets' disk."""
    with tempfile.TemporaryDirectory(prefix="run-", dir=home()) as directory:
        os.chmod(directory, 0o711)
        yield Path(directory)


@contextmanager
def postgres() -> Iterator[PostgresServer]:
    """The server that holds the datasets. Its password is made with its data, and kept beside it."""
    secret = home() / "postgres.password"
    if not secret.exists():
        with open(secret, "x", opener=lambda path, flags: os.open(path, flags, 0o600), encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(18))
    server = start_postgres(home() / "postgres", password=secret.read_text(encoding="utf-8"))
    try:
        yield server
    finally:
        server.stop()


def installed(program: str) -> bool:
    """Whether there is a program of that name; Debian's package of the same name is installed where it may be."""
    if shutil.which(program) is None and debian.available():
        with suppress(CommandFailed):
            debian.install([program])
    return shutil.which(program) is not None
