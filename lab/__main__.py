# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m lab up|status|down [engine|kubernetes|minio|erni|sme|valeo]``, ``up image``, and ``load erni|sme|valeo``."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from contextlib import nullcontext, suppress

from ansible_collections.runbook.ops.plugins.module_utils._errors import CommandFailed, RunbookError

from . import engine, execution_environment, kubernetes, load, s3
from .command import docker
from .erni import SYSTEM as ERNI
from .place import LABEL, home
from .sme import SYSTEM as SME
from .system import System, remove
from .valeo import SYSTEM as VALEO
from .valeo import Valeo

SYSTEMS: dict[str, System | Valeo] = {ERNI.name: ERNI, SME.name: SME, VALEO.name: VALEO}
PARTS = ("engine", "kubernetes", s3.MINIO.name, *SYSTEMS)
IMAGE = "image"
"""The one that jobs run in on Kubernetes."""


def _systems(part: str | None) -> list[System | Valeo]:
    """Those that a command is about."""
    return [system for system in SYSTEMS.values() if part in (None, system.name)]


def up(part: str | None) -> None:
    """One part alone with what it needs, or all of them; what stands already is left as it is."""
    started = time.monotonic()
    if part not in ("kubernetes", s3.MINIO.name):
        engine.ensure()
        print(f"{'engine':<11} Docker {engine.version()}", flush=True)
    for system in _systems(part):
        if system is VALEO:
            _cluster_up()
            _minio_up()
        done = "brought up" if system.up() else "stands already"
        print(f"{system.name:<11} {done}: {', '.join(system.services)} on {system.address}", flush=True)
    if part in ("kubernetes", IMAGE):
        _cluster_up()
    if part == s3.MINIO.name:
        _minio_up()
    if part == IMAGE:
        print(f"{IMAGE:<11} {execution_environment.up()}", flush=True)
    print(f"{time.monotonic() - started:.1f} s")


def _cluster_up() -> None:
    done = "brought up" if kubernetes.ensure() else "stands already"
    print(f"{'kubernetes':<11} {done}: {kubernetes.version()}, {kubernetes.kubeconfig()}", flush=True)


def _minio_up() -> None:
    done = "brought up" if s3.MINIO.up() else "stands already"
    print(f"{s3.MINIO.name:<11} {done}: {_address(s3.MINIO)}", flush=True)


def _address(server: s3.Shared) -> str:
    state = server.known()
    return state["endpoint_url"] if state and server.running() else "down"


def status(part: str | None) -> None:
    """One screen: what there is, and how it is."""
    found = engine.version()
    if part in (None, "engine"):
        print(f"{'engine':<11} {f'Docker {found}' if found else 'does not answer'}")
        print(f"{s3.MOTO.name:<11} {_address(s3.MOTO)}")
    if part in (None, s3.MINIO.name):
        print(f"{s3.MINIO.name:<11} {_address(s3.MINIO)}")
    if part in (None, "kubernetes"):
        _cluster_status()
    for system in _systems(part):
        containers = system.containers() if found or system is VALEO else []
        print(f"{system.name:<11} {'up' if containers and system.stands() else 'down' if not containers else 'NOT WHOLE'}"
              f"  {system.directory}")  # fmt: skip
        for container in containers:
            print(f"            {container.name:<14} {container.state:<9} {container.health:<10} {container.ports}")


def _cluster_status() -> None:
    """The cluster, and each server of it that is ours."""
    servers = kubernetes.status()
    version = kubernetes.version()
    well = version and all(good for _name, good in servers)
    state = f"up, {version}" if well else "down" if not any(good for _name, good in servers) else "NOT WHOLE"
    print(f"{'kubernetes':<11} {state}  {kubernetes.kubeconfig()}")
    for name, good in servers:
        print(f"            {name:<24} {'well' if good else 'down'}")


def down(part: str | None, *, data: bool) -> None:
    """Remove what runs; data and images stay unless they are asked for."""
    removed = ["kubernetes"] if part in (None, "kubernetes") and kubernetes.down(data=data) else []
    removed += [system.name for system in _systems(part) if system.down(data=data)]
    if part is None:
        if engine.version() and remove(f"label={LABEL}", data=data):  # what tests left
            removed.append("containers")
        if s3.MOTO.down():
            removed.append(s3.MOTO.name)
        if data and engine.version() and _remove_images():
            removed.append("images")
    if part in (None, s3.MINIO.name) and s3.MINIO.down(data=data):
        removed.append(s3.MINIO.name)
    if part in (None, "engine") and engine.down():
        removed.append("engine")
    if part is None and data:
        shutil.rmtree(home(), ignore_errors=True)
    kept = "" if data else " Data and images are kept; --data deletes them, too."
    print(f"Removed: {', '.join(removed) or 'nothing'}.{kept}")


def _remove_images() -> bool:
    """Whether there were any. One that others were made from goes once they are gone, so it takes a few passes."""
    before: set[str] = set()
    while images := set(docker("image", "ls", "--quiet", "--filter", f"label={LABEL}=1").split()):
        removing = suppress(CommandFailed) if images != before else nullcontext()
        with removing:
            docker("image", "rm", "--force", *sorted(images), timeout=120)
        if images == before:
            break
        before = images
    return bool(before)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("up", "status", "down"):
        command = verbs.add_parser(verb)
        command.add_argument("part", nargs="?", choices=(*PARTS, IMAGE) if verb == "up" else PARTS, help="one alone")
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
