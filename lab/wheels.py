# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lock pins, as wheels for a Python that is elsewhere and has no network: fetched here, by their hashes."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from .command import run
from .place import home

SECONDS = 300.0
_GLIBC = (5, 12, 17, 24, 26, 27, 28, 31, 34, 35, 36)
"""Of manylinux tags that Debian 12 and newer satisfy."""


def fetched(requirements: Path, python: str, *places: str, constraints: Sequence[Path] = ()) -> str:
    """The directory below ``places`` of the laboratory that has a wheel for each line, for ``python`` such as 3.11.2."""
    told = b"".join(path.read_bytes() for path in (requirements, *constraints))
    digest = hashlib.sha256(python.encode() + told).hexdigest()[:12]
    directory = home(*places, f"wheels-{digest}")
    if os.path.isdir(directory):
        return directory
    partial = f"{directory}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(partial)
    bin_dir = os.path.dirname(sys.executable)
    given = [f"--constraints={path}" for path in constraints] or ["--no-deps"]
    # pip evaluates a lock's markers for the Python that runs it; uv does so for another.
    run(
        [f"{bin_dir}/uv", "pip", "compile", "--quiet", *given, "--generate-hashes", "--python-version", python,
         "--python-platform", "x86_64-manylinux_2_28", "--no-build",
         str(requirements), "--output-file", f"{partial}/requirements.txt"],
        timeout=SECONDS,
    )  # fmt: skip
    platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in _GLIBC] + ["--platform=manylinux2014_x86_64"]
    version = ".".join(python.split(".")[:2])
    run(
        [f"{bin_dir}/pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:",
         f"--python-version={version}", *platforms, "--requirement", f"{partial}/requirements.txt", "--dest", partial],
        timeout=SECONDS,
    )  # fmt: skip
    os.rename(partial, directory)
    return directory
