# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs the laboratory runs: argv lists, time-limited, with the end of what a failed one said."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

from ansible_collections.runbook.ops.plugins.module_utils._errors import CommandFailed, TimedOut

SAID = 2_000
"""Characters of a failed program's output that are shown."""


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    stdin: str = "",
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """What the program wrote to stdout; anything but success is an error that names it. ``env`` is added to ours."""
    try:
        ended = subprocess.run(
            list(argv), input=stdin, capture_output=True, text=True, timeout=timeout, cwd=cwd, check=False,
            env={**os.environ, **(env or {})},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise TimedOut(f"`{' '.join(argv)}` did not end within {timeout:.0f} s.") from None
    except OSError as error:
        raise CommandFailed(f"{argv[0]} could not be started: {error.strerror}.") from None
    if ended.returncode:
        said = (ended.stderr.strip() or ended.stdout.strip())[-SAID:]
        raise CommandFailed(f"`{' '.join(argv)}` ended with {ended.returncode}: {said}")
    return ended.stdout


def docker(*arguments: str, timeout: float = 60, stdin: str = "", cwd: str | None = None) -> str:
    """The Docker CLI; an image is built by the Engine's own builder, which every Engine has."""
    return run(["docker", *arguments], timeout=timeout, stdin=stdin, cwd=cwd, env={"DOCKER_BUILDKIT": "0"})
