# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of the laboratory's systems: the official ones where a registry answers, else built from Debian's packages.

An image's tag is a digest of what it is made of, so one that is there is the right one. ``RUNBOOK_LAB_IMAGE_<NAME>``
names another to use in its place (``RUNBOOK_LAB_IMAGE_POSTGRES=postgres:15.14``).
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.runbook.ops.plugins.module_utils._errors import CommandFailed, InputError

from .. import debian, engine
from ..command import docker, run
from ..place import LABEL, held

RELEASE = "bookworm"
BUILD_SECONDS = 600.0
PULL_SECONDS = 120.0
_LAB = Path(__file__).resolve().parent.parent
_HERE = _LAB / "images"


@dataclass(frozen=True)
class Image:
    """``context`` is the directory with its Dockerfile, ``base`` the image of ours below it, ``official`` the public one;
    where there is none below it, it is made of the packages of a ``release`` of Debian's."""

    context: Path
    base: str | None = "base"
    official: str | None = None
    release: str = RELEASE


IMAGES = {
    "base": Image(_HERE / "base", None, f"debian:{RELEASE}-slim"),
    "trixie": Image(_HERE / "base", None, "debian:trixie-slim", release="trixie"),
    "postgres": Image(_HERE / "postgres", official="postgres:15"),
    "redis": Image(_HERE / "redis", official="redis:7"),
    "nginx": Image(_HERE / "nginx", official="nginx:stable"),
    "python": Image(_HERE / "python"),
    "busybox": Image(_HERE / "busybox"),
    "host": Image(_LAB / "hosts" / "image"),
    "erni-backend": Image(_LAB / "erni" / "backend", "python"),
    "erni-frontend": Image(_LAB / "erni" / "frontend", "python"),
    "valeo-app": Image(_LAB / "valeo" / "image", "python"),
    "sme-app": Image(_LAB / "sme" / "app", "python"),
}


def ensure(name: str) -> str:
    """The image's name in the Engine, which has it from then on."""
    if name not in IMAGES:
        raise InputError(f"There is no image {name!r} in the laboratory: it has {', '.join(sorted(IMAGES))}.")
    return _found(name) or _made(name)


def variable_of(name: str) -> str:
    """The environment variable that names another image in this one's place."""
    return f"RUNBOOK_LAB_IMAGE_{name.upper().replace('-', '_')}"


def _found(name: str) -> str | None:
    """What the Engine has already."""
    wanted = os.environ.get(variable_of(name)) or _tag(name)
    return wanted if _present(wanted) else None


def _made(name: str) -> str:
    """Pulled or built, those below it first, while whoever else wants the same one waits."""
    with held(os.path.join("images", name)):
        if found := _found(name):
            return found
        if chosen := os.environ.get(variable_of(name)):
            if not _pulled(chosen):
                raise InputError(
                    f"{variable_of(name)} is {chosen!r}, which cannot be had: name an image that can be pulled."
                )
            return chosen
        image, tag = IMAGES[name], _tag(name)
        if image.official and (_present(image.official) or _pulled(image.official)):
            return image.official
        if image.base is None:
            _bootstrap(image, tag)
        else:
            base = _found(image.base) or _made(image.base)
            options = ["--build-arg", f"BASE={base}", "--label", f"{LABEL}=1"]
            docker("build", "--quiet", "--tag", tag, *options, str(image.context), timeout=BUILD_SECONDS)
        return tag


def _tag(name: str) -> str:
    return f"runbook-lab/{name}:{_digest(name)}"


def _digest(name: str) -> str:
    """Of all that an image of ours is made of, the images below it included."""
    image = IMAGES[name]
    digest = hashlib.sha256(_digest(image.base).encode() if image.base else image.release.encode())
    for path in sorted(path for path in image.context.rglob("*") if path.is_file() and path.suffix != ".pyc"):
        digest.update(f"{path.relative_to(image.context)}\n{path.stat().st_mode & 0o111}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _present(image: str) -> bool:
    with suppress(CommandFailed):
        return bool(docker("image", "inspect", "--format", "{{.Id}}", image))
    return False


def _pulled(image: str) -> bool:
    """Whether a registry gave it to us; without one this is told within a moment."""
    with suppress(CommandFailed):
        return bool(docker("pull", "--quiet", image, timeout=PULL_SECONDS))
    return False


def _bootstrap(image: Image, tag: str) -> None:
    """A minimal Debian, from the packages themselves."""
    if not debian.available():
        raise engine.Unavailable(
            f"No registry has {image.official}, and only root on Debian can make it from packages: "
            f"name an image that is here in {variable_of('base' if image.release == RELEASE else image.release)}."
        )
    with tempfile.TemporaryDirectory(prefix="runbook-lab-base-", dir="/var/tmp") as scratch:
        root = Path(scratch, "root")
        (root / "etc/dpkg/dpkg.cfg.d").mkdir(parents=True)
        (root / "etc/dpkg/dpkg.cfg.d/laboratory").write_bytes((image.context / "dpkg.cfg").read_bytes())
        run(["debootstrap", "--variant=minbase", image.release, str(root), debian.mirror()], timeout=BUILD_SECONDS)
        for downloaded in (root / "var/cache/apt/archives").glob("*.deb"):
            downloaded.unlink()
        _import(root, tag)


def _import(root: Path, tag: str) -> None:
    """The directory as an image, streamed."""
    changes = ["--change", f"LABEL {LABEL}=1", "--change", 'CMD ["bash"]']
    with subprocess.Popen(["tar", "-C", str(root), "--numeric-owner", "-c", "."], stdout=subprocess.PIPE) as tar:
        ended = subprocess.run(
            ["docker", "import", *changes, "-", tag], stdin=tar.stdout, capture_output=True, text=True,
            timeout=BUILD_SECONDS, check=False,
        )  # fmt: skip
    if tar.returncode or ended.returncode:
        raise CommandFailed(
            f"{tag} could not be imported: {ended.stderr.strip() or f'tar ended with {tar.returncode}'}"
        )
