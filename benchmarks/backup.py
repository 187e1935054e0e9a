# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL backup against the least it could cost, the documents' script, and restic."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lab.embedded.servers import PostgresServer

from . import datasets, laboratory
from .laboratory import Scale
from .module import run_module
from .pairs import Contestant, take_turns
from .rows import Row, at_most, faster, slower

_FLOOR, _SCRIPT, _PEAK = 1.25, 2.5, 120.0


def measure(scale: Scale) -> Iterator[Row]:
    with laboratory.postgres() as server:
        peaks: list[float] = []
        for dataset in (datasets.TEXT, datasets.NOISE):
            database = datasets.seeded(server, dataset, scale.megabytes)
            with laboratory.workplace() as place:
                yield from _contest(_Backup(server, database, place, peaks), dataset.kind, scale)
        yield at_most("PostgreSQL backup: peak memory of the module's process", max(peaks), _PEAK, " MiB")


def _contest(backup: _Backup, kind: str, scale: Scale) -> Iterator[Row]:
    ours = Contestant("the module", backup.ours, scale.rounds)
    floor = Contestant("pg_dump -Z0 | zstd", backup.floor, scale.rounds)
    script = Contestant("pg_dump, then gzip", backup.script, scale.rare_rounds)
    restic = Contestant("pg_dump -Z0 | restic", backup.restic, scale.rare_rounds)
    present = laboratory.installed("restic")
    take_turns(f"backup, {kind}", ours, floor, script, *[restic] * present)
    what = f"PostgreSQL backup, {kind}:"
    yield slower(ours, floor, f"{what} as long as the floor, `pg_dump -Fc -Z0 \\| zstd -T0 -3 > file`", _FLOOR)
    yield faster(ours, script, f"{what} faster than the documents' script, `pg_dump -Fc` and then `gzip`", _SCRIPT)
    against = f"{what} faster than `pg_dump -Fc -Z0 \\| restic backup --stdin`"
    yield (
        faster(ours, restic, against) if present else Row(against, "NOT RUN: restic is not installed, and could not be")
    )


class _Backup:
    """One database, backed up in four ways into an empty place each time."""

    def __init__(self, server: PostgresServer, database: str, place: Path, peaks: list[float]) -> None:
        self._declared = {
            "engine": "postgresql", "name": database, "host": server.host, "port": server.port, "user": server.user,
            "password": server.password, "bin_dir": server.bin_dir,
        }  # fmt: skip
        self._place = place
        self._peaks = peaks
        self._environment = {
            **os.environ, "PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": server.user,
            "PGPASSWORD": server.password, "PGDATABASE": database, "RESTIC_PASSWORD": "benchmark",
            "RESTIC_REPOSITORY": str(place / "restic"), "RESTIC_CACHE_DIR": str(place / "cache"),
        }  # fmt: skip
        self._dump = [os.path.join(server.bin_dir, "pg_dump"), "--format=custom"]

    def ours(self) -> float:
        store = self._place / "store"
        ran = run_module("backup", {
            "system": "bench", "database": self._declared, "store": {"type": "local", "path": str(store)},
            "work_dir": str(self._place),
        })  # fmt: skip
        self._peaks.append(ran.peak)
        shutil.rmtree(store)
        return ran.seconds

    def floor(self) -> float:
        return self._timed(lambda: self._piped([*self._dump, "--compress=0"], ["zstd", "-q", "-T0", "-3"]))

    def script(self) -> float:
        def both() -> None:
            with open(self._place / "dump", "wb") as file:
                subprocess.run(self._dump, stdout=file, env=self._environment, check=True)
            subprocess.run(["gzip", self._place / "dump"], check=True)

        return self._timed(both)

    def restic(self) -> float:
        subprocess.run(["restic", "--quiet", "init"], env=self._environment, check=True)
        save = ["restic", "--quiet", "backup", "--stdin", "--stdin-filename", "dump"]
        seconds = self._timed(lambda: self._piped([*self._dump, "--compress=0"], save))
        shutil.rmtree(self._place / "restic")
        return seconds

    def _timed(self, run: Callable[[], None]) -> float:
        started = time.monotonic()
        run()
        seconds = time.monotonic() - started
        for name in ("dump", "dump.gz"):
            (self._place / name).unlink(missing_ok=True)
        return seconds

    def _piped(self, first: Sequence[str], second: Sequence[str]) -> None:
        with (
            open(self._place / "dump", "wb") as file,
            subprocess.Popen(first, stdout=subprocess.PIPE, env=self._environment) as dump,
            subprocess.Popen(second, stdin=dump.stdout, stdout=file, env=self._environment) as packer,
        ):
            if dump.stdout:
                dump.stdout.close()  # so that pg_dump hears of it when the other ends
        if dump.returncode or packer.returncode:
            raise SystemExit(f"{first[0]} ended with {dump.returncode}, {second[0]} with {packer.returncode}")
