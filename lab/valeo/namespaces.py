# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Namespaces that are the laboratory's, and known as such."""

from __future__ import annotations

import json

from ansible_collections.runbook.ops.plugins.module_utils._errors import InputError

from .. import kubernetes
from ..place import LABEL

SCRATCH = "valeo-scratch"
"""Where throw-away pods prove backups, of both releases."""

REMOVAL_SECONDS = 180.0


def make(name: str) -> None:
    """One of this name that is not the laboratory's is left alone."""
    if _there(name) and not ours(name):
        raise InputError(
            f"The cluster has a namespace {name} that is not the laboratory's: give a cluster without one."
        )
    told = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {LABEL: "1"}}}
    kubernetes.kubectl("apply", "--server-side", "--filename", "-", stdin=json.dumps(told))


def ours(name: str) -> bool:
    return bool(_there(name, "--selector", f"{LABEL}=1"))


def remove(name: str) -> None:
    """With all that is in it."""
    kubernetes.kubectl("delete", "namespace", name, timeout=REMOVAL_SECONDS)


def _there(name: str, *options: str) -> str:
    return kubernetes.kubectl(
        "get", "namespaces", "--field-selector", f"metadata.name={name}", "--output", "name", *options
    ).strip()
