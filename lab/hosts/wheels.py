# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role ``host`` installs, as wheels for hosts without network: fetched here, for the Python that they have."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

from ..command import run
from ..place import home

PYTHON = "3.11.2"
"""Debian bookworm's."""

SECONDS = 300.0
_LOCK = Path(__file__).resolve().parents[2] / "roles/host/files/requirements.lock"
_GLIBC = (5, 12, 17, 24, 26, 27, 28)
"""Of manylinux tags that bookworm's glibc 2.36 satisfies."""


def wheels() -> str:
    """The directory that has a wheel for each line of the lock."""
    digest = hashlib.sha256(PYTHON.encode() + _LOCK.read_bytes()).hexdigest()[:12]
    directory = home("hosts", f"wheels-{digest}")
    if os.path.isdir(directory):
        return directory
    partial = f"{directory}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(partial)
    bin_dir = os.path.dirname(sys.executable)
    # pip evaluates a lock's markers for the Python that runs it; uv does so for another.
    run(
        [f"{bin_dir}/uv", "pip", "compile", "--quiet", "--no-deps", "--generate-hashes", "--python-version", PYTHON,
         "--python-platform", "x86_64-manylinux_2_28", str(_LOCK), "--output-file", f"{partial}/requirements.txt"],
        timeout=SECONDS,
    )  # fmt: skip
    platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in _GLIBC] + ["--platform=manylinux2014_x86_64"]
    run(
        [f"{bin_dir}/pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:",
         f"--python-version={PYTHON[:4]}", *platforms, "--requirement", f"{partial}/requirements.txt", "--dest", partial],
        timeout=SECONDS,
    )  # fmt: skip
    os.rename(partial, directory)
    return directory
