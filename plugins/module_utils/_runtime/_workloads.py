# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workloads of a namespace: what makes pods and keeps them running."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ._kubectl import Kubectl
from ._selector import Selector

KINDS = {"deployment": "deployments", "statefulset": "statefulsets", "daemonset": "daemonsets"}
"""As ``kubectl`` takes them, and as the API calls them."""


@dataclass(frozen=True)
class Workload:
    """``name`` is such as ``statefulset/postgres``; ``wanted`` is how many pods it is to have."""

    name: str
    selector: Selector
    wanted: int


def workloads(kubectl: Kubectl, namespace: str) -> list[Workload]:
    found = [
        _workload(kind, item)
        for kind, plural in KINDS.items()
        for item in kubectl.get(f"/apis/apps/v1/namespaces/{namespace}/{plural}")["items"]
    ]
    return sorted(found, key=lambda workload: workload.name)


def selector_of(kubectl: Kubectl, namespace: str, kind: str, name: str) -> Selector:
    return _workload(kind, kubectl.get(f"/apis/apps/v1/namespaces/{namespace}/{KINDS[kind]}/{name}")).selector


def _workload(kind: str, item: Mapping[str, Any]) -> Workload:
    spec, status = item["spec"], item["status"]
    wanted = status.get("desiredNumberScheduled", 0) if kind == "daemonset" else spec.get("replicas", 1)
    return Workload(f"{kind}/{item['metadata']['name']}", Selector.of(spec["selector"]), wanted)
