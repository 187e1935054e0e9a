# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m lab up|status|down [engine|erni|sme]``, and ``load erni|sme``: the laboratory's own commands."""

from __future__ import annotations

import argparse
import shutil
import sys
import time

from ansible_collections.runbook.ops.plugins.module_utils._errors import RunbookError

from . import engine, load, s3
from .command import docker
from .erni import SYSTEM as ERNI
from .place import LABEL, home
from .sme import SYSTEM as SME
from .system import System, remove

SYSTEMS: dict[str, System] = {system.name: system for system in (ERNI, SME)}
PARTS = ("engine", *SYSTEMS)


def _systems(part: str | None) -> list[System]:
    """Those that a command is about."""
    return [system for system in SYSTEMS.values() if part in (None, system.name)]


def up(part: str | None) -> None:
    """The engine alone, one system, or all of them; what stands already is left as it is."""
    started = time.monotonic()
    engine.ensure()
    print(f"engine  Docker {engine.version()}")
    for system in _systems(part):
        done = "brought up" if system.up() else "stands already"
        print(f"{system.name:<7} {done}: {', '.join(system.services)} on {system.address}")
    print(f"{time.monotonic() - started:.1f} s")


def status(part: str | None) -> None:
    """One screen: what there is, and how it is."""
    found = engine.version()
    if part in (None, "engine"):
        print(f"engine  {f'Docker {found}' if found else 'does not answer'}")
        state = s3.known()
        print(f"s3      {state['endpoint_url'] if state and s3.running() else 'down'}")
    for system in _systems(part):
        containers = system.containers() if found else []
        print(f"{system.name:<7} {'up' if containers and system.stands() else 'down' if not containers else 'NOT WHOLE'}"
              f"  {system.directory}")  # fmt: skip
        for container in containers:
            print(f"        {container.name:<14} {container.state:<9} {container.health:<10} {container.ports}")


def down(part: str | None, *, data: bool) -> None:
    """Remove what runs; data and images stay unless they are asked for."""
    removed = [system.name for system in _systems(part) if system.down(data=data)]
    if part is None:
        if engine.version() and remove(f"label={LABEL}", data=data):  # what tests left
            removed.append("containers")
        if s3.down():
            removed.append("s3")
        if data and engine.version():
            images = sorted(set(docker("image", "ls", "--quiet", "--filter", f"label={LABEL}=1").split()))
            if images:
                docker("image", "rm", "--force", *images, timeout=120)
                removed.append("images")
    if part in (None, "engine") and engine.down():
        removed.append("engine")
    if part is None and data:
        shutil.rmtree(home(), ignore_errors=True)
    kept = "" if data else " Data and images are kept; --data deletes them, too."
    print(f"Removed: {', '.join(removed) or 'nothing'}.{kept}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("up", "status", "down"):
        command = verbs.add_parser(verb)
        command.add_argument("part", nargs="?", choices=PARTS, help="one alone")
        if verb == "down":
            command.add_argument("--data", action="store_true", help="delete volumes, backups and images as well")
    command = verbs.add_parser("load", help="a steady, seeded load; failed requests as JSON lines, then a summary")
    command.add_argument("part", choices=tuple(SYSTEMS))
    command.add_argument("--seconds", type=float, default=30.0)
    command.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    try:
        if given.verb == "load":
            return 0 if load.run(given.part, seconds=given.seconds, seed=given.seed) else 1
        if given.verb == "up":
            up(given.part)
        elif given.verb == "status":
            status(given.part)
        else:
            down(given.part, data=given.data)
    except RunbookError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
