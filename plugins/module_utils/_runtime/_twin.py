# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A throw-away container with the programs of another one and nothing else of it: no data, no network, no secrets.

It lives as long as the connection to its stdin, which this process holds: when that ends, because the context was left
or the process was killed, its first process reads the end, and the Engine removes it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .._errors import EngineError, RunbookError
from .._scratch import require_space
from ._compose_services import PROJECT, SERVICE
from ._container import ContainerInstance
from ._docker import Docker, Refusal
from .base import Limits

LABEL = "runbook.ops.scratch"

_NO_SERVICE = {PROJECT: "", SERVICE: ""}
"""An image that compose built has them as labels, and a container of it would be taken for one more of the service."""

_UNTIL_ITS_STDIN_ENDS = ["sh", "-c", "read -r _"]
_PIDS = 512
_STARTING_SECONDS = 60.0
"""Nobody needs that long from making a container to starting it: one that only was made has lost its maker."""

_REMOVAL_SECONDS = 30.0


@contextmanager
def twin_of(docker: Docker, name: str, limits: Limits, user: str) -> Iterator[ContainerInstance]:
    """A twin of the container ``name``, all of whose programs run as ``user``."""
    sweep(docker)
    require_space(docker.get("/info")["DockerRootDir"], limits.files, "what is restored there")
    body = {
        "Image": docker.get(f"/containers/{name}/json")["Image"], "User": user, "WorkingDir": "/",
        "Entrypoint": _UNTIL_ITS_STDIN_ENDS, "Cmd": [], "Healthcheck": {"Test": ["NONE"]}, "Labels": {**_NO_SERVICE, LABEL: name},
        "OpenStdin": True, "StdinOnce": True, "AttachStdin": True, "Tty": False,
        "HostConfig": {
            "AutoRemove": True, "NetworkMode": "bridge", "Memory": limits.memory, "MemorySwap": limits.memory,
            "NanoCpus": int(limits.cpus * 1e9), "PidsLimit": _PIDS, "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
        },
    }  # fmt: skip
    named = f"runbook-scratch-{secrets.token_hex(4)}"
    made = docker.post("/containers/create", body, name=named)["Id"]
    try:
        held = docker.take_over(f"/containers/{made}/attach", stream=1, stdin=1)
        try:
            _start(docker, made, name, user)
            yield ContainerInstance(docker, named)
        finally:
            held.close()
    finally:
        with suppress(RunbookError):  # what went wrong first is what the operator must read
            _remove(docker, made)


def _start(docker: Docker, made: str, name: str, user: str) -> None:
    try:
        docker.post(f"/containers/{made}/start")
    except Refusal as refusal:
        raise EngineError(
            f"A throw-away container of {name}'s image cannot be started under the account {user} ({refusal}): "
            "set run_as to an account of the image that its server may run as."
        ) from None


def sweep(docker: Docker) -> None:
    """Remove what was made and, its maker killed, never started: all that started have removed themselves."""
    for found in docker.get("/containers/json", all="true", filters={"label": [LABEL], "status": ["created", "dead"]}):
        if found["Created"] < time.time() - _STARTING_SECONDS:
            with suppress(RunbookError):
                _remove(docker, found["Id"])


def _remove(docker: Docker, made: str) -> None:
    """Remove it with the volumes that the image declares, and see it gone."""
    deadline = time.monotonic() + _REMOVAL_SECONDS
    while time.monotonic() < deadline:
        try:
            docker.delete(f"/containers/{made}", force="true", v="true")
        except Refusal as refusal:
            if refusal.status == 404:
                return
            time.sleep(0.1)  # 409: the Engine removes it already
