# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A system's objects in its cluster: found, compared by the cluster itself, applied, deleted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ..._runtime._kubectl import Kubectl
from .names import MANAGER
from .objects import Manifest

Found = dict[str, Any]


class Program(Protocol):
    """Runs ``kubectl``; anything but success is a ``RunbookError``. Objects go in by stdin, credentials among them."""

    def __call__(self, *arguments: str, stdin: bytes = b"") -> bytes: ...


class Cluster:
    """By ``kubectl``'s own apply, which says of a whole what would come of it: nothing here knows the cluster's defaults."""

    def __init__(self, kubectl: Program) -> None:
        self._kubectl = kubectl

    def named(self, namespace: str, names: Sequence[str]) -> list[Found]:
        """Those of ``kind/name`` that are there."""
        return self._get(namespace, *names, "--ignore-not-found")

    def labelled(self, namespace: str, kinds: Sequence[str], selector: str) -> list[Found]:
        return self._get(namespace, ",".join(kinds), "--selector", selector)

    def _get(self, namespace: str, *arguments: str) -> list[Found]:
        said = self._kubectl("--namespace", namespace, "get", *arguments, "--output", "json")
        if not said.strip():
            return []
        read = json.loads(said)
        return list(read["items"]) if read["kind"] == "List" else [read]

    def would_be(self, manifests: Sequence[Manifest]) -> list[Found]:
        """What would come of applying them, told by the cluster."""
        return self._apply(manifests, "--dry-run=server") if manifests else []

    def apply(self, manifests: Sequence[Manifest]) -> None:
        """In their order; what others have set besides stays."""
        if manifests:
            self._apply(manifests)

    def _apply(self, manifests: Sequence[Manifest], *options: str) -> list[Found]:
        together = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        said = self._kubectl(
            "apply", "--server-side", "--force-conflicts", f"--field-manager={MANAGER}", *options,
            "--output", "json", "--filename", "-", stdin=json.dumps(together).encode(),
        )  # fmt: skip
        read = json.loads(said)
        return list(read["items"]) if read["kind"] == "List" else [read]

    def delete(self, found: Mapping[str, Any], *, cascade: str = "background") -> None:
        """One that is gone already is no fault; with ``orphan``, what it has made stays."""
        metadata = found["metadata"]
        self._kubectl(
            "--namespace", metadata["namespace"], "delete", f"{found['kind']}/{metadata['name']}",
            f"--cascade={cascade}", "--ignore-not-found", "--wait=false",
        )  # fmt: skip


def cluster_of(runtime: Mapping[str, Any]) -> Cluster:
    """The one that a description names."""
    return Cluster(Kubectl(runtime.get("kubeconfig"), runtime.get("context")).done)
