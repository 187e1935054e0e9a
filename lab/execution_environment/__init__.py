# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image that jobs run in on Kubernetes: ``execution-environment.yml`` by ansible-builder, on a base made of Debian's
packages. No registry and no package index is asked while it is built: wheels are fetched here before, and come with the base.

A tag is a digest of what an image is made of, so one that is there is the right one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from ansible_collections.runbook.ops.plugins.module_utils._errors import CommandFailed
from ansible_collections.runbook.ops.plugins.module_utils._scheduling.collection import digest_of, pack

from .. import images, kubernetes, wheels
from ..command import docker, run
from ..embedded.configuration import write
from ..place import LABEL, held

NAME = "execution-environment"
PYTHON = "3.13.5"
"""Debian trixie's."""

BUILD_SECONDS = 600.0
ROOT = Path(__file__).resolve().parents[2]
_HERE = Path(__file__).resolve().parent
_DEFINITION = ("execution-environment.yml", "requirements.yml", "requirements.txt", "meta/bindep.txt")
_FITTED = {"PKGMGR": "/usr/bin/apt-get", "PYCMD": "/opt/python/bin/python3", "PKGMGR_PRESERVE_CACHE": "always"}
"""Build arguments that make ansible-builder's steps Debian's."""


def up() -> str:
    """The image's name in the cluster, which has it from then on; the laboratory's inventories read it from a file."""
    chosen = os.environ.get(images.variable_of(NAME))
    if kubernetes.given() and not chosen:
        raise kubernetes.Unavailable(
            f"A given cluster pulls its images by itself: name one that it can have in {images.variable_of(NAME)}."
        )
    name = chosen or kubernetes.image(ensure(kubernetes.program("kubectl")))
    with held(os.path.join("images", NAME)) as directory:
        write(os.path.join(directory, "name"), name.encode(), replace=True)
    return name


def ensure(kubectl: str) -> str:
    """The image's name in the Engine, which has it from then on; ``kubectl`` is the program that comes into it."""
    with held(os.path.join("images", NAME)):
        base = _base(kubectl)
        tag = f"runbook-lab/{NAME}:{_digest(base)}"
        if not _present(tag):
            _build(base, tag)
        return tag


def _digest(base: str) -> str:
    digest = hashlib.sha256(f"{base}\n{digest_of(pack(str(ROOT)))}\n{_FITTED}\n".encode())
    for name in _DEFINITION:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()[:12]


def _base(kubectl: str) -> str:
    """Debian with Python, client programs and the wheels."""
    below = images.ensure("trixie")
    fetched = wheels.fetched(
        _HERE / "requirements.in", PYTHON, "images", constraints=[ROOT / "requirements-dev.lock"]
    )  # fmt: skip
    made_of = [below.encode(), (_HERE / "base/Dockerfile").read_bytes(), os.path.basename(fetched).encode()]
    digest = hashlib.sha256(b"\n".join([*made_of, Path(kubectl).read_bytes()])).hexdigest()[:12]
    tag = f"runbook-lab/{NAME}-base:{digest}"
    if not _present(tag):
        with tempfile.TemporaryDirectory(prefix="runbook-lab-image-", dir="/var/tmp") as context:
            shutil.copy(_HERE / "base/Dockerfile", context)
            shutil.copytree(fetched, f"{context}/wheels")
            shutil.copy(kubectl, f"{context}/kubectl")
            _docker_build(context, tag, {"BASE": below})
    return tag


def _build(base: str, tag: str) -> None:
    """As the definition's own head says, in a directory of its own."""
    bin_dir = os.path.dirname(sys.executable)
    with tempfile.TemporaryDirectory(prefix="runbook-lab-image-", dir="/var/tmp") as place:
        for name in _DEFINITION:
            os.makedirs(os.path.dirname(f"{place}/{name}"), exist_ok=True)
            shutil.copy(ROOT / name, f"{place}/{name}")
        run(
            [f"{bin_dir}/ansible-galaxy", "collection", "build", "--output-path", place, str(ROOT)],
            timeout=BUILD_SECONDS,
        )
        create = [f"{bin_dir}/ansible-builder", "create", "--file", "execution-environment.yml", "--context", "context"]
        run([*create, "--output-filename", "Dockerfile"], timeout=BUILD_SECONDS, cwd=place)
        _docker_build(f"{place}/context", tag, {"EE_BASE_IMAGE": base, **_FITTED})


def _docker_build(context: str, tag: str, arguments: dict[str, str]) -> None:
    told = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    docker("build", "--quiet", "--tag", tag, *told, "--label", f"{LABEL}=1", context, timeout=BUILD_SECONDS)


def _present(tag: str) -> bool:
    try:
        return bool(docker("image", "inspect", "--format", "{{.Id}}", tag))
    except CommandFailed:
        return False
