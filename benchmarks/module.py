# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One module in a process of its own, as Ansible runs it: arguments as JSON on stdin, never in argv.

``python -m benchmarks.module NAME`` is that process; it tells its peak memory, its children's not counted, on stderr.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True)
class Ran:
    """What a module returned, the wall time of its whole process and the most memory it held, in MiB."""

    result: Mapping[str, Any]
    seconds: float
    peak: float


def run_module(name: str, arguments: Mapping[str, Any]) -> Ran:
    """Run it; its failure is the benchmark's."""
    started = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.module", name],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}), capture_output=True, encoding="utf-8", cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "collections")}, check=False,
    )  # fmt: skip
    seconds = time.monotonic() - started
    peak = _PEAK.search(ended.stderr)
    if ended.returncode != 0 or peak is None:
        raise SystemExit(f"{name} failed: {ended.stdout}{ended.stderr}")
    return Ran(json.loads(ended.stdout), seconds, int(peak[1]) / 1024)


def main(name: str) -> None:
    module = importlib.import_module(f"ansible_collections.runbook.ops.plugins.modules.{name}")
    del sys.argv[1:]  # Ansible would take it for a file of arguments
    try:
        module.main()
    finally:
        # Not getrusage: after an exec that still counts the memory of the process that was forked.
        print(Path("/proc/self/status").read_text(encoding="ascii"), file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1])
