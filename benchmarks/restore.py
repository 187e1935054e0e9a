# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long restoring takes within a verification, against the same by hand into a server with the same settings."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.runbook.ops.plugins.module_utils import _server
from ansible_collections.runbook.ops.plugins.module_utils._engine._postgresql_scratch import ScratchDatabase, throw_away

from lab.embedded.servers import PostgresServer

from . import datasets, laboratory
from .laboratory import Scale
from .module import run_module
from .pairs import Contestant, take_turns
from .rows import Row, faster, slower

_LIMIT = 1.25


def measure(scale: Scale) -> Iterator[Row]:
    with laboratory.postgres() as server, laboratory.workplace() as place:
        verification = _Verification(server, datasets.seeded(server, datasets.TEXT, scale.megabytes), place)
        starting = Contestant("its server's start and end", verification.starting, scale.rounds)
        ours = Contestant("the module without them", lambda: verification.ours() - starting.seconds[-1], scale.rounds)
        floor = Contestant("zstd -d, pg_restore -j", verification.floor, scale.rounds)
        single = Contestant("zstd -dc | pg_restore", verification.single, scale.rare_rounds)
        take_turns("restore verification", starting, ours, floor, single)
    what = "Restore verification, text:"
    yield slower(ours, floor, f"{what} as long as `zstd -d`, then `pg_restore -j{os.cpu_count()}`", _LIMIT)
    yield faster(ours, single, f"{what} faster than the documents' single stream, `zstd -dc \\| pg_restore`")
    yield Row(f"{what} start and end of the throw-away server, not counted above", f"{starting.median:.1f} s")


class _Verification:
    """One backup, restored in three ways."""

    def __init__(self, server: PostgresServer, database: str, place: Path) -> None:
        self._bin_dir = server.bin_dir
        self._place = place
        self._declared = {
            "engine": "postgresql", "name": database, "host": server.host, "port": server.port, "user": server.user,
            "password": server.password, "bin_dir": server.bin_dir, "checks": [{"table": "pages_0", "rows": "source"}],
        }  # fmt: skip
        self._store = {"type": "local", "path": str(place / "store")}
        described = {"system": "bench", "database": self._declared, "work_dir": str(place)}
        run_module("backup", {**described, "store": self._store})
        self._described = {**described, "stores": [self._store], "cache_dir": str(place / "cache")}
        (self._stored,) = (place / "store").glob("*/*/*/*/data.pgc.zst")

    def ours(self) -> float:
        return run_module("restore_verification", self._described).seconds

    def starting(self) -> float:
        started = time.monotonic()
        with self._server():
            pass
        return time.monotonic() - started

    def floor(self) -> float:
        with self._server() as scratch:
            dump, started = os.path.join(scratch.directory, "dump"), time.monotonic()
            subprocess.run(["zstd", "-q", "-d", self._stored, "-o", dump], check=True)
            self._restore(scratch, [f"--jobs={os.cpu_count()}", dump])
            return time.monotonic() - started

    def single(self) -> float:
        with self._server() as scratch:
            started = time.monotonic()
            with subprocess.Popen(["zstd", "-dc", self._stored], stdout=subprocess.PIPE) as unpacked:
                self._restore(scratch, [], stdin=unpacked.stdout)
            return time.monotonic() - started

    def _restore(self, scratch: ScratchDatabase, options: list[str], stdin: object = None) -> None:
        target = scratch.target
        program = os.path.join(self._bin_dir, "pg_restore")
        argv = [program, f"--dbname={target.conninfo}", "--no-owner", "--exit-on-error", *options]
        subprocess.run(argv, stdin=stdin, env={**os.environ, **target.environment}, check=True)  # type: ignore[call-overload]

    @contextmanager
    def _server(self) -> Iterator[ScratchDatabase]:
        """The very server that a verification starts."""
        directory = self._place / f"by-hand-{secrets.token_hex(4)}"
        directory.mkdir()
        account = _server.account(None)
        with throw_away(
            str(directory), bin_dir=self._bin_dir, account=account, backup_id="by-hand", encoding="UTF8"
        ) as scratch:
            yield scratch
        for left in directory.iterdir():
            left.unlink()
