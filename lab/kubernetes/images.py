# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images in the cluster's containerd: the two that are one program each, and whatever the Docker Engine has."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import subprocess
import tarfile
from contextlib import suppress

from ansible_collections.runbook.ops.plugins.module_utils._errors import CommandFailed

from . import build, components

IMPORT_SECONDS = 300.0
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def ensure_own(directory: str) -> None:
    """What pods begin with, and the cluster's DNS."""
    for image in (components.PAUSE, components.COREDNS):
        if not _present(directory, image):
            _import_archive(directory, image)


def ensure(directory: str, image: str) -> None:
    """An image of the Docker Engine's, as a stream; one that is there already is not sent again."""
    if _present(directory, image):
        return
    with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as save:
        importing = subprocess.run(
            ["ctr", "--address", components.socket(directory), "--namespace", "k8s.io", "images", "import", "-"],
            stdin=save.stdout, capture_output=True, text=True, timeout=IMPORT_SECONDS, check=False,
        )  # fmt: skip
    if save.returncode or importing.returncode:
        raise CommandFailed(
            f"{image} could not be brought into the cluster: "
            f"{importing.stderr.strip() or f'docker save ended with {save.returncode}'}"
        )


def name_in_cluster(image: str) -> str:
    """As containerd calls what Docker calls ``image``."""
    first, _slash, rest = image.partition("/")
    if not rest:
        return f"docker.io/library/{image}"
    return image if "." in first or ":" in first or first == "localhost" else f"docker.io/{image}"


def _present(directory: str, image: str) -> bool:
    return name_in_cluster(image) in components.ctr(directory, "images", "list", "--quiet").split()


def _import_archive(directory: str, image: str) -> None:
    """An image of one static program, in the form that ``docker save`` writes."""
    program = image.partition("/")[2].partition(":")[0]
    path = os.path.join(directory, f"{program}.tar")
    try:
        with open(path, "wb") as file:
            _write_archive(file, image, program)
        components.ctr(directory, "images", "import", path, timeout=IMPORT_SECONDS)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)


def _write_archive(file: io.BufferedWriter, image: str, program: str) -> None:
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as packed:
        with open(build.program(program), "rb") as binary:
            content = binary.read()
        _add(packed, program, content, 0o755)
    machine = platform.machine()
    told = {
        "architecture": _ARCHITECTURES.get(machine, machine), "os": "linux", "config": {"Entrypoint": [f"/{program}"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"]},
    }  # fmt: skip
    manifest = [{"Config": "config.json", "RepoTags": [image], "Layers": ["layer.tar"]}]
    with tarfile.open(fileobj=file, mode="w") as packed:
        _add(packed, "layer.tar", layer.getvalue())
        _add(packed, "config.json", json.dumps(told).encode())
        _add(packed, "manifest.json", json.dumps(manifest).encode())


def _add(packed: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    packed.addfile(member, io.BytesIO(content))
