# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects of a namespace as ``kubectl apply`` takes them back."""

from __future__ import annotations

import json

from .._errors import InputError
from ._kubectl import Kubectl
from ._kubectl_errors import Refusal
from ._pods import Answer

_KINDS = {"secret": "secrets", "configmap": "configmaps"}
"""What configuration is kept in."""

_KEPT = ("name", "namespace", "labels", "annotations")
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def manifest(kubectl: Kubectl, namespace: str, name: str, variable: str) -> bytes:
    """``secret/NAME`` or ``configmap/NAME``; ``InputError`` names the ``variable`` where there is no such one."""
    kind, _slash, object_name = name.partition("/")
    if kind not in _KINDS or not object_name or "/" in object_name:
        raise InputError(f"{variable} has {name!r}: give objects as {', '.join(f'{kind}/NAME' for kind in _KINDS)}.")
    try:
        return bare(kubectl.get(f"/api/v1/namespaces/{namespace}/{_KINDS[kind]}/{object_name}"))
    except Refusal as refusal:
        if refusal.reason != "NotFound":
            raise
        raise InputError(
            f"{variable} has {name!r}, which the namespace {namespace} does not have: correct it, or create it."
        ) from None


def bare(found: Answer) -> bytes:
    """Without what the API server adds of its own, in a fixed order. Pure."""
    metadata = {
        key: dict(value) if isinstance(value, dict) else value
        for key, value in found["metadata"].items()
        if key in _KEPT
    }
    metadata.get("annotations", {}).pop(_LAST_APPLIED, None)
    kept = {key: value for key, value in found.items() if key not in ("metadata", "status")}
    return (json.dumps({**kept, "metadata": metadata}, indent=2, sort_keys=True) + "\n").encode()
