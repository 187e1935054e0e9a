# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long restoring takes within a verification, against the same by hand into a server with the same settings."""

from __future__ import annotations

import os
import secrets
import shutil
import statistics
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
        floor = Contestant("zstd -d, pg_restore -j", verification.floor, scale.rounds)
        ours = Contestant("the module", verification.ours, scale.rounds)
        single = Contestant("zstd -dc | pg_restore", verification.single, scale.rare_rounds)
        take_turns("restore verification", floor, ours, single)
    what = "Restore verification, text:"
    yield slower(ours, floor, f"{what} as long as `zstd -d`, then `pg_restore -j{os.cpu_count()}`", _LIMIT)
    yield faster(ours, single, f"{what} faster than the documents' single stream, `zstd -dc \\| pg_restore`")
    apart = statistics.median(verification.serving)
    yield Row(f"{what} start and end of the throw-away server, not counted above", f"{apart:.1f} s")


class _Verification:
    """One backup, restored in three ways."""

    def __init__(self, server: PostgresServer, database: str, place: Path) -> None:
        self.serving: list[float] = []
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

    def floor(self) -> float:
        with self._server() as scratch:
            dump, started = os.path.join(scratch.directory, "dump"), time.monotonic()
            subprocess.run(["zstd", "-q", "-d", self._stored, "-o", dump], check=True)
            self._restore(scratch, [f"--jobs={os.cpu_count()}", dump])
            return time.monotonic() - started

    def ours(self) -> float:
        """Less what the same server took in the contestant before."""
        return run_module("restore_verification", self._described).seconds - self.serving[-1]

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
        """The very server that a verification starts; ``serving`` gets the time that its start and its end took."""
        directory = self._place / f"by-hand-{secrets.token_hex(4)}"
        directory.mkdir()
        account = _server.account(None)
        begun = time.monotonic()
        with throw_away(
            str(directory), bin_dir=self._bin_dir, account=account, backup_id="by-hand", encoding="UTF8"
        ) as scratch:
            started = time.monotonic()
            yield scratch
            restored = time.monotonic()
        self.serving.append(time.monotonic() - restored + started - begun)
        shutil.rmtree(directory)
