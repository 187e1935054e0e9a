# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Kubernetes: the one whose kubeconfig is given, else one of our own on this machine, real and whole.

``ensure()`` brings it up or says in one sentence why none can stand here. Nothing of a given one is touched outside of
the namespaces that the laboratory's systems have in it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import suppress

from ansible_collections.runbook.ops.plugins.module_utils._errors import CommandFailed, RunbookError

from .. import debian
from ..command import run
from ..go import Unavailable
from ..place import held, home
from . import build, cluster, images, network

__all__ = [
    "NAME", "Unavailable", "down", "ensure", "given", "helm", "image", "kubeconfig", "kubectl", "program",
    "publish", "status", "version",
]  # fmt: skip

NAME = "kubernetes"
GIVEN = "RUNBOOK_LAB_KUBECONFIG"
CONTEXT = "RUNBOOK_LAB_CONTEXT"


def given() -> str | None:
    """The kubeconfig of a cluster that somebody else keeps."""
    return os.environ.get(GIVEN) or None


def kubeconfig() -> str:
    return given() or home(NAME, "kubeconfig")


def context() -> list[str]:
    """The given kubeconfig's context to use, where it is not the current one."""
    chosen = os.environ.get(CONTEXT) if given() else None
    return [chosen] if chosen else []


def kubectl(*arguments: str, timeout: float = 60, stdin: str = "") -> str:
    chosen = [f"--context={name}" for name in context()]
    return run([program("kubectl"), "--kubeconfig", kubeconfig(), *chosen, *arguments], timeout=timeout, stdin=stdin)


def helm(*arguments: str, timeout: float = 300, stdin: str = "") -> str:
    chosen = [f"--kube-context={name}" for name in context()]
    return run([program("helm"), "--kubeconfig", kubeconfig(), *chosen, *arguments], timeout=timeout, stdin=stdin)


def program(name: str) -> str:
    """``kubectl`` or ``helm``: what was built with our cluster, else what is installed beside a given one."""
    if build.ready() and not given():
        return build.program(name)
    if found := shutil.which(name):
        return found
    raise Unavailable(f"{name} is not installed, and the cluster of {GIVEN} is spoken to by it: install it.")


def image(name: str) -> str:
    """An image of the Docker Engine's, which our cluster has from then on; a given cluster pulls it by its name."""
    if not given():
        images.ensure(home(NAME), name)
    return name


def publish(port: int) -> str:
    """The URL by which pods of our cluster reach what listens on this machine's loopback."""
    network.publish(port)
    return f"http://{network.ADDRESS}:{port}"


def version() -> str | None:
    """The version of the cluster that answers."""
    if not given() and not (build.ready() and os.path.exists(kubeconfig())):
        return None
    with suppress(RunbookError, KeyError):
        told = json.loads(kubectl("version", "--output", "json", timeout=20))
        return str(told["serverVersion"]["gitVersion"])
    return None


def ensure() -> bool:
    """Return once a cluster answers; whether anything had to be done."""
    if path := given():
        if not os.path.exists(path):
            raise Unavailable(f"{GIVEN} is {path}, which is not there: give the path of a kubeconfig.")
        try:
            kubectl("version", timeout=20)
        except CommandFailed as error:
            raise Unavailable(f"{GIVEN} is {path}, where no cluster answers: {error}") from None
        return False
    if not debian.available():
        raise Unavailable(
            f"Only root on Debian can have a Kubernetes made here: name a cluster's kubeconfig in {GIVEN}."
        )
    if not build.ready():
        build.possible()
    with held(NAME) as directory:
        try:
            done = cluster.up(directory)
            _offer()
            return done
        except Unavailable:
            raise
        except RunbookError as error:
            raise Unavailable(f"Kubernetes could not be brought up: {error}") from None


def _offer() -> None:
    """Clients of the cluster's own version beside the Python of this environment, for playbooks that run by it."""
    programs = os.path.dirname(sys.executable)
    for name in ("kubectl", "helm") if sys.prefix != sys.base_prefix else ():
        link = os.path.join(programs, name)
        if not os.path.islink(link) or os.readlink(link) != build.program(name):
            os.symlink(build.program(name), f"{link}.partial")
            os.replace(f"{link}.partial", link)


def status() -> list[tuple[str, bool]]:
    """Each server of our own cluster, and whether it is well."""
    if given() or not build.ready():
        return []
    return cluster.status(home(NAME))


def down(*, data: bool) -> bool:
    """Stop a cluster that ``ensure`` made; whether there was any. One that was given is not ours to stop."""
    if given() or not os.path.isdir(home(NAME)):
        return False
    with held(NAME) as directory:
        return cluster.down(directory, data=data)
