# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a system's CronJobs went, from what the cluster has of them, their Jobs and their pods. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from ..._records import parse_time
from ..records import JOBS, Run
from .names import JOB
from .objects import SINCE, SLOTS

Found = Mapping[str, Any]

_STUCK = frozenset({
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError",
    "CreateContainerError", "RunContainerError",
})  # fmt: skip
"""Why a container waits that will not begin by itself."""

_SIGKILLED = 137
"""The kubelet does not always say that it was for want of memory."""


def runs_of(system: str, found: Iterable[Found]) -> list[Run]:
    """The last run of each scheduled job, in the order of ``JOBS``; ``found`` are CronJobs, Jobs and pods alike."""
    by_kind: dict[str, list[Found]] = {"CronJob": [], "Job": [], "Pod": []}
    for one in found:
        by_kind.get(one["kind"], []).append(one)
    cronjobs = {_job(one): one for one in by_kind["CronJob"]}
    return [_run(system, job, cronjobs[job], by_kind["Job"], by_kind["Pod"]) for job in JOBS if job in cronjobs]


def running(found: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The Jobs that are at work."""
    pods = [one for one in found if one["kind"] == "Pod"]
    return (one for one in found if one["kind"] == "Job" and not _ended(one) and not _stuck(_pod_of(one, pods)))


def _run(system: str, job: str, cronjob: Found, jobs: Sequence[Found], pods: Sequence[Found]) -> Run:
    annotations = cronjob["metadata"]["annotations"]
    scheduled = Run(
        system, job, tuple(json.loads(annotations[SLOTS])), parse_time(annotations[SINCE]),
        suspended=bool(cronjob["spec"].get("suspend")),
    )  # fmt: skip
    newest = max((one for one in jobs if _job(one) == job), key=_began, default=None)
    return _went(scheduled, newest, _pod_of(newest, pods)) if newest else scheduled


def _went(scheduled: Run, job: Found, pod: Found | None) -> Run:
    began, ended, log = _began(job), _ended(job), f"kubectl -n {job['metadata']['namespace']} logs job/{_name(job)}"
    values: dict[str, Any] = {**vars(scheduled), "started_at": began, "log": log}
    if not ended:
        if not (why := _stuck(pod)):
            return Run(**{**values, "running": True})
        return Run(**{**values, "finished_at": began, "exit_code": 1, "reason": f"the pod does not start: {why}"})
    when = parse_time(ended["lastTransitionTime"])
    if ended["type"] == "Complete":
        return Run(**{**values, "finished_at": when, "exit_code": 0})
    code, reason = _fault(ended, pod)
    return Run(**{**values, "finished_at": when, "exit_code": code, "reason": f"{reason} ({log})"})


def _fault(condition: Found, pod: Found | None) -> tuple[int, str]:
    """The exit code, and why: the job's own last words before what the kubelet says before what the Job says."""
    of_job = f"{condition.get('reason')}: {condition.get('message')}"
    if pod is None:
        return 1, of_job
    if pod["status"].get("reason"):  # evicted, or its node was shut down
        return 1, f"the pod was ended, {pod['status']['reason']}: {pod['status'].get('message', '').strip()}"
    for container in pod["status"].get("containerStatuses", []):
        if told := container.get("state", {}).get("terminated"):
            code, words = int(told.get("exitCode", 1)) or 1, (told.get("message") or "").strip()
            if told.get("reason") == "OOMKilled":
                return code, "the pod used more memory than its limit and was killed (OOMKilled)"
            if condition.get("reason") == "DeadlineExceeded":
                return code, f"{of_job}. {words}".strip()
            killed = " (killed, mostly for want of memory)" if code == _SIGKILLED else ""
            return code, words or f"the pod ended with {code}{killed}"
    return 1, of_job


def _stuck(pod: Found | None) -> str:
    """Why its container will not begin, if so."""
    for container in (pod or {}).get("status", {}).get("containerStatuses", []):
        waiting = container.get("state", {}).get("waiting", {})
        if waiting.get("reason") in _STUCK:
            return f"{waiting['reason']}: {waiting.get('message', '').strip()}"
    for condition in (pod or {}).get("status", {}).get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"{condition.get('reason')}: {condition.get('message', '').strip()}"
    return ""


def _ended(job: Found) -> Found | None:
    for condition in job.get("status", {}).get("conditions", []):
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return dict(condition)
    return None


def _pod_of(job: Found, pods: Sequence[Found]) -> Found | None:
    uid = job["metadata"]["uid"]
    owned = (pod for pod in pods if uid in (owner["uid"] for owner in pod["metadata"].get("ownerReferences", [])))
    return next(owned, None)


def _began(job: Found) -> datetime:
    return parse_time(job["metadata"]["creationTimestamp"])


def _job(found: Found) -> str:
    return str(found["metadata"].get("labels", {}).get(JOB, ""))


def _name(found: Found) -> str:
    return str(found["metadata"]["name"])
