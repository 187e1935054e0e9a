# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compose projects of one container each, made by their labels alone."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from ansible_collections.runbook.ops.plugins.module_utils._runtime._compose_services import PROJECT, SERVICE
from ansible_collections.runbook.ops.plugins.module_utils._runtime._docker import DEFAULT
from ansible_collections.runbook.ops.plugins.module_utils._runtime.compose import ComposeRuntime

from lab import images
from lab.command import docker
from lab.place import LABEL


def container(
    project: str, service: str, *options: str, image: str = "base", argv: tuple[str, ...] = ("sleep", "infinity")
) -> str:
    """A running container of a service; its name."""
    labels = [f"--label={label}" for label in (f"{PROJECT}={project}", f"{SERVICE}={service}", f"{LABEL}=1")]
    name = f"{project}-{service}-{secrets.token_hex(2)}"
    docker("run", "--detach", "--name", name, "--init", *labels, *options, images.ensure(image), *argv)
    return name


def remove(*names: str) -> None:
    docker("rm", "--force", "--volumes", *names)


@contextmanager
def project(*options: str, docker_host: str = DEFAULT) -> Iterator[ComposeRuntime]:
    """A project with one idle container, of the service ``service``."""
    name = f"test-{secrets.token_hex(4)}"
    made = container(name, "service", *options)
    try:
        yield ComposeRuntime.declared({"type": "compose", "project": name, "docker_host": docker_host})
    finally:
        remove(made)
