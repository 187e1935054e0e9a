# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's programs, run as a user runs them: from a directory, with nobody else's settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = ("-i", "localhost,", "-c", "local")
"""This machine as an inventory, which every run has to name."""

HANGS = 1200.0
"""What takes so many seconds is not slow but stuck, on a machine that runs every tier at once."""

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


def ended(*argv: str, cwd: Path = ROOT, seconds: float = HANGS, **environment: str) -> subprocess.CompletedProcess[str]:
    """What the program did."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return subprocess.run(
        [str(BIN / argv[0]), *argv[1:]],
        cwd=cwd,
        env={**inherited, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=seconds,
        check=False,
    )


def said(*argv: str, cwd: Path = ROOT, seconds: float = HANGS, **environment: str) -> str:
    """What a program printed that must succeed."""
    result = ended(*argv, cwd=cwd, seconds=seconds, **environment)
    assert result.returncode == 0, f"{' '.join(argv)} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}"
    return result.stdout


def repository_files() -> list[str]:
    """The files of a fresh clone of what is here, with what is not committed yet."""
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(argv, cwd=ROOT, capture_output=True, check=True, encoding="utf-8").stdout
    return [path for path in listed.split("\0") if path and os.path.lexists(ROOT / path)]
