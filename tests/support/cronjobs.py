# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A system whose jobs run in its cluster, the objects made of it, and what a cluster has of its runs."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from ansible_collections.runbook.ops.plugins.module_utils._scheduling._kubernetes.installation import CronJobs
from ansible_collections.runbook.ops.plugins.module_utils._scheduling._kubernetes.objects import Wanted, manifests
from ansible_collections.runbook.ops.plugins.module_utils._scheduling.declared import in_its_cluster

NOW = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)
SINCE = "2026-02-01T00:00:00Z"
SECRET = "of-the-shop"
TODAY, EARLIER = "2026-03-02T02:00:05Z", "2026-03-01T02:00:05Z"


def described(**changes: Any) -> dict[str, Any]:
    return {
        "system": "shop",
        "runtime": {
            "type": "kubernetes", "kubeconfig": "/root/.kube/config", "context": "far", "namespace": "production",
            "scratch_namespace": "scratch",
        },
        "databases": [{"engine": "postgresql", "name": "shop", "service": "app=postgres", "password": SECRET}],
        "stores": [{"type": "s3", "bucket": "b", "access_key": "known", "secret_key": "of-s3"}],
        "schedules": {"backup": "0 2 * * *", "verify": "0 4 1 * *"},
        **changes,
    }  # fmt: skip


def scheduled(
    description: dict[str, Any], *, image: str = "image", volume_claim: str = "", present: bool = True
) -> CronJobs:
    return in_its_cluster(description, present=present, image=image, volume_claim=volume_claim)


JOBS = {"backup": ["0 2 * * *", "30 3 * * 0"], "verify": ["0 4 1 * *"]}
WANTED = Wanted("shop", "production", "scratch", "image", JOBS, {"inventory.yml": SECRET})


def made(kind: str, wanted: Wanted = WANTED) -> list[dict[str, Any]]:
    return [one for one in manifests(wanted, dict.fromkeys(wanted.jobs, SINCE)) if one["kind"] == kind]


def metadata(name: str, job: str, **values: Any) -> dict[str, Any]:
    labels = {
        "runbook.ops/job": job,
        "runbook.ops/system": "runbook-shop",
        "app.kubernetes.io/managed-by": "runbook.ops",
    }
    return {"name": name, "namespace": "production", "uid": name, "labels": labels,
            "annotations": {"runbook.ops/owner": "production/shop"}, **values}  # fmt: skip


def cronjob(suspend: bool = False) -> dict[str, Any]:
    (backup, _verify) = made("CronJob")
    return {**backup, "spec": {**backup["spec"], "suspend": suspend}}


def job(began: str, condition: str = "", reason: str = "BackoffLimitExceeded", name: str = "j") -> dict[str, Any]:
    conditions = [{"type": condition, "status": "True", "lastTransitionTime": began, "reason": reason, "message": "m"}]
    return {"kind": "Job", "metadata": metadata(name, "backup", creationTimestamp=began),
            "status": {"conditions": conditions if condition else []}}  # fmt: skip


def pod(status: dict[str, Any], of: str = "j") -> dict[str, Any]:
    return {"kind": "Pod", "metadata": metadata("p", "backup", ownerReferences=[{"uid": of}]), "status": status}
