# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a description to what runs its jobs in its cluster; everything wrong with what a cluster needs is said here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..._errors import InputError
from ..._runtime.kubernetes import KubernetesRuntime
from ..inventory import require_credentials
from ..jobs import jobs_of
from ..records import Run
from .cluster import cluster_of
from .description import files_of, volume_path, workloads_of
from .installation import CronJobs
from .installation import runs_of as runs_in
from .objects import Wanted


def cronjobs(description: Mapping[str, Any], *, present: bool, image: str, volume_claim: str) -> CronJobs:
    system, runtime = description["system"], description["runtime"]
    namespace, scratch = KubernetesRuntime.declared(runtime).namespace, str(runtime.get("scratch_namespace") or "")
    if not present:
        return CronJobs(Wanted(system, namespace, scratch, "", {}, {}), cluster_of(runtime))
    if not image:
        raise InputError(
            "image is empty, and jobs of a system on kubernetes run in one: name the execution environment's in schedule_image."
        )
    require_credentials(description)
    jobs = jobs_of(description)
    if "verify" in jobs and not scratch:
        raise InputError(
            "runtime.scratch_namespace is not set, and verifications restore into pods there: "
            "name a namespace that is there for nothing else, or schedule no verify."
        )
    wanted = Wanted(
        system, namespace, scratch, image, jobs, files_of(description, jobs), volume_claim,
        volume_path(description, volume_claim), workloads_of(description),
    )  # fmt: skip
    return CronJobs(wanted, cluster_of(runtime))


def runs_of(system: str, runtime: Mapping[str, Any]) -> list[Run]:
    """The last run of each scheduled job; none where none is installed."""
    return runs_in(system, KubernetesRuntime.declared(runtime).namespace, cluster_of(runtime))
