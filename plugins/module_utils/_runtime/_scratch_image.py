# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which image a throw-away pod has, so that it is the one that its source runs. Pure.

The name in a pod's spec says too little: since the pod began, its tag may have moved to another server. What the node says
that it runs (``imageID``) is one of three things:

- ``repo@sha256:...`` of the repository that the spec names: that is asked for, and nothing else can come of it.
- ``sha256:...``, the image's own id, where it was loaded into the node and never pulled. One node finds it by that, another would
  look for a repository called ``sha256``.
- a digest under another name, such as ``import-2026-03-01@sha256:...``, which loading invents, or a second repository of the same
  image: nobody knows whether it can be pulled, nor with whose password.

For the latter two the spec's name is asked for, which is how every node comes by the image, and once the pod runs its ``imageID``
must be the source's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._errors import PlatformError
from ._pods import Answer, container_status


@dataclass(frozen=True)
class Image:
    """``name`` is what is asked for, ``running`` what the source's node says; ``secrets`` are those that it was pulled with."""

    name: str
    policy: str
    running: str
    secrets: tuple[str, ...] = ()

    @classmethod
    def of(cls, source: Answer, container: str) -> Image:
        declared: Mapping[str, Any] = next(each for each in source["spec"]["containers"] if each["name"] == container)
        named, policy = declared["image"], declared.get("imagePullPolicy", "IfNotPresent")
        running = container_status(source, container).get("imageID", "").removeprefix("docker-pullable://")
        secrets = tuple(each["name"] for each in source["spec"].get("imagePullSecrets") or ())
        if "@" in running and "@" not in named and _repository(running) == _repository(named):
            return cls(running, "IfNotPresent", running, secrets)  # a digest that is there need not be asked about
        return cls(named, policy, running, secrets)

    def require_same(self, scratch: Answer, container: str) -> None:
        """``PlatformError`` unless the pod got what was asked for by its name, too."""
        got = container_status(scratch, container).get("imageID", "")
        if "@" not in self.name and _digest(got) != _digest(self.running):
            raise PlatformError(
                f"{self.name} is another image now ({_digest(got)}) than the service's pod runs ({_digest(self.running)}), so that a "
                "throw-away pod would prove nothing about it: restart the service, or load the same image into every node."
            )


def _digest(image_id: str) -> str:
    return image_id.rpartition("@")[2]


def _repository(name: str) -> str:
    """With all that Docker lets one leave out, without tag and digest."""
    path, _at, _digest_of_it = name.partition("@")
    if ":" in path.rpartition("/")[2]:
        path = path.rpartition(":")[0]
    host, slash, rest = path.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        host, rest = "docker.io", path
    host = host.removeprefix("index.")
    return f"{host}/{rest}" if "/" in rest or host != "docker.io" else f"{host}/library/{rest}"
