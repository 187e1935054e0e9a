# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs a system's jobs: its platform decides whether that is a host or a cluster. Only the one that is needed is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from .._result import Action
from .records import Run, read_runs


class Schedules(Protocol):
    """``plan`` only looks; ``apply`` does what it said."""

    @property
    def mechanism(self) -> str: ...

    def plan(self) -> list[Action]: ...

    def apply(self, actions: Sequence[Action]) -> None: ...

    def runs(self) -> list[Run]: ...


def is_in_cluster(runtime: Mapping[str, Any]) -> bool:
    return runtime.get("type") == "kubernetes"


def in_its_cluster(description: Mapping[str, Any], *, present: bool, image: str, volume_claim: str) -> Schedules:
    from ._kubernetes.declared import cronjobs

    return cronjobs(description, present=present, image=image, volume_claim=volume_claim)


def runs_of(system: str, runtime: Mapping[str, Any]) -> list[Run]:
    """The last run of each scheduled job, wherever the schedules are; none where none is installed."""
    if not is_in_cluster(runtime):
        return read_runs(system)
    from ._kubernetes.declared import runs_of as runs_in_cluster

    return runs_in_cluster(system, runtime)
