# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the benchmarks and prints their table; fails when a limit is broken.

usage: python -m benchmarks.run [--quick] [backup | restore | retention | nothing_due | archive | containers | pods]...

All of them, in full, write the table into docs/benchmarks.md. --quick takes little data and judges nothing: it shows
that the benchmarks work.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date

from . import archive, backup, containers, laboratory, nothing_due, pods, restore, retention
from .laboratory import FULL, QUICK, Scale
from .module import ROOT
from .rows import Row, table

BENCHMARKS: dict[str, Callable[[Scale], Iterator[Row]]] = {
    "backup": backup.measure,
    "restore": restore.measure,
    "retention": retention.measure,
    "nothing_due": nothing_due.measure,
    "archive": archive.measure,
    "containers": containers.measure,
    "pods": pods.measure,
}

_PAGE = ROOT / "docs" / "benchmarks.md"
_GENERATED = re.compile(r"(?<=<!-- begin make bench -->\n).*(?=<!-- end make bench -->)", re.DOTALL)


def conditions(scale: Scale) -> str:
    """What the figures depend on."""
    with laboratory.postgres() as server:
        version = _said(f"{server.bin_dir}/postgres", "--version")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    programs = ", ".join([
        version.replace(" (PostgreSQL)", ""), f"Python {platform.python_version()}",
        re.sub(r".*(v\S+),.*", r"zstd \1", _said("zstd", "--version")),
    ])  # fmt: skip
    return (
        f"{date.today().isoformat()}, {os.cpu_count()} cores, {memory:.0f} GiB of memory, {programs}; "
        f"two datasets of {scale.megabytes} MB."
    )


def _said(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, encoding="utf-8", check=True).stdout.strip()


def measured(names: Sequence[str], scale: Scale) -> list[Row]:
    rows = []
    for name in names:
        print(name, file=sys.stderr, flush=True)
        rows += BENCHMARKS[name](scale)
    return rows if scale.judged else [replace(row, held=None) for row in rows]


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.run", description="How fast, and whether fast enough.")
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], metavar="|".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="little data, no judgement")
    chosen = parser.parse_args()
    scale = QUICK if chosen.quick else FULL

    started = time.monotonic()
    rows = measured(chosen.names or list(BENCHMARKS), scale)
    text = f"{conditions(scale)}\n\n{table(rows)}\n"
    print(f"\n{text}\n{time.monotonic() - started:.0f} s")
    if scale.judged and not chosen.names:
        page = _PAGE.read_text(encoding="utf-8")
        _PAGE.write_text(_GENERATED.sub(lambda _: f"\n{text}\n", page), encoding="utf-8")
    return int(any(row.held is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
