# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a system's objects are called in a cluster, and by what they are known to be ours. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

MANAGER = "runbook.ops"
MANAGED_BY = "app.kubernetes.io/managed-by"
SYSTEM, JOB = "runbook.ops/system", "runbook.ops/job"
"""Labels: objects are found by them, so they have the form that labels must have."""

OWNER = "runbook.ops/owner"
"""An annotation: the namespace and the exact name of the system that an object is there for."""

LONGEST = 44
"""Of a name, so that a CronJob's, which ends with the job, is within the 52 characters that Kubernetes gives it."""

_UNFIT = re.compile(r"[^a-z0-9-]")


def name_of(system: str, namespace: str = "") -> str:
    """One name for one system, or for one of a ``namespace`` where those of several namespaces lie beside each other."""
    plain = "-".join(part for part in ("runbook", system, namespace) if part)
    fit = _UNFIT.sub("-", plain.lower()).strip("-")
    if fit == plain and len(fit) <= LONGEST and not namespace:
        return fit
    digest = hashlib.sha256(f"{system}\0{namespace}".encode()).hexdigest()[:8]
    return f"{fit[: LONGEST - 9].rstrip('-')}-{digest}"


def labels_of(system: str) -> dict[str, str]:
    return {MANAGED_BY: MANAGER, SYSTEM: name_of(system)}


def selector(system: str) -> str:
    return ",".join(f"{label}={value}" for label, value in labels_of(system).items())


def owner_of(system: str, namespace: str) -> str:
    return f"{namespace}/{system}"


def is_ours(found: Mapping[str, Any], owner: str) -> bool:
    metadata = found["metadata"]
    return bool(
        metadata.get("labels", {}).get(MANAGED_BY) == MANAGER and metadata.get("annotations", {}).get(OWNER) == owner
    )


def called(found: Mapping[str, Any]) -> str:
    """As people name it."""
    return f"{found['kind']} {found['metadata']['namespace']}/{found['metadata']['name']}"
