# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The laboratory's systems as tests use them: under load, and described by the real inventories with its own on top."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from command_line import HANGS, ROOT
from support.playbook import Run, play
from support.slots import FAR_FROM_SLOTS

from lab.system import System
from lab.valeo import Valeo

LAB = ROOT / "lab/inventories"
Load = Callable[..., subprocess.Popen[str]]


def loading(system: System | Valeo, *, seconds: float, seed: int) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "lab", "load", system.name, "--seconds", str(seconds), "--seed", str(seed)]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def told(process: subprocess.Popen[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The load's summary, and each failure, once it has ended."""
    output, _nothing = process.communicate(timeout=HANGS)
    *failures, last = [json.loads(line) for line in output.splitlines()]
    assert process.returncode == (1 if failures else 0)
    return last["summary"], failures


def protect(
    system: System | Valeo, playbook: str, *arguments: str, layers: tuple[Path, ...] = (), **environment: str
) -> Run:
    """A playbook on a system of the laboratory; ``layers`` are inventories of a test's own, on top of all."""
    over = [argument for layer in (LAB / system.name, FAR_FROM_SLOTS, *layers) for argument in ("-i", str(layer))]
    return play(playbook, *over, *arguments, inventory=ROOT / "inventories" / system.name, **environment)


def layer(directory: Path, host: str, values: Mapping[str, Any]) -> Path:
    """An inventory to lay on top, with other values for a host; in a file of its own, which wins over those below."""
    (directory / "host_vars").mkdir(parents=True)
    (directory / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {host: None}}}))
    (directory / "host_vars" / f"{host}.yml").write_text(yaml.safe_dump(dict(values)))
    return directory
