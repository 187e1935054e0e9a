# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects that run a system's jobs in its cluster. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..slots import covering, parse_slots
from . import places
from .names import JOB, OWNER, labels_of, name_of, owner_of

Manifest = dict[str, Any]

SLOTS, SINCE, SCRATCH = "runbook.ops/slots", "runbook.ops/since", "runbook.ops/scratch-namespace"
"""Annotations: what a CronJob was asked for, since when, and where rights were given beside the system's namespace."""

USER = 1000
"""The image's; no root."""

DEADLINE = 12 * 3600
"""Seconds: a slot that passed while the cluster was down is made up for within them, and a run that hangs is ended."""

GRACE = 60
"""Seconds to clean up in, when a run is ended."""

_RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True)
class Wanted:
    """What a description asks for; with no ``jobs``, that nothing is left of it. ``files`` hold credentials."""

    system: str
    namespace: str
    scratch_namespace: str
    image: str
    jobs: Mapping[str, Sequence[str]]
    files: Mapping[str, str]
    claim: str = ""
    volume_path: str = ""
    workloads: Sequence[str] = ()
    """Services that are named by what makes their pods, such as ``statefulset/postgres``."""

    @property
    def name(self) -> str:
        return name_of(self.system)

    @property
    def owner(self) -> str:
        return owner_of(self.system, self.namespace)

    @property
    def scratch_name(self) -> str:
        """Those of several namespaces share one for scratch."""
        return name_of(self.system, self.namespace)


def cronjob_name(system: str, job: str) -> str:
    return f"{name_of(system)}-{job}"


def manifests(wanted: Wanted, since: Mapping[str, str]) -> list[Manifest]:
    """In the order they are made: nothing runs before it has its rights. ``since`` says from when on each job's slots count."""
    if not wanted.jobs:
        return []
    rights = [*RIGHTS, *map(_to_look_up, wanted.workloads)]
    made = [_account(wanted), _secret(wanted), *_rights(wanted, wanted.namespace, wanted.name, rights)]
    if wanted.scratch_namespace:
        made += _rights(wanted, wanted.scratch_namespace, wanted.scratch_name, SCRATCH_RIGHTS)
    return [*made, *(_cronjob(wanted, job, slots, since[job]) for job, slots in wanted.jobs.items())]


def _rule(resource: str, *verbs: str) -> Manifest:
    return {"apiGroups": [""], "resources": [resource], "verbs": list(verbs)}


RIGHTS = [_rule("pods", "get", "list"), _rule("pods/exec", "create")]
"""Where the system is: to find its pods, and to run a dump in them."""


def _to_look_up(workload: str) -> Manifest:
    """Which labels its pods have."""
    kind, _slash, name = workload.partition("/")
    return {"apiGroups": ["apps"], "resources": [f"{kind}s"], "resourceNames": [name], "verbs": ["get"]}


SCRATCH_RIGHTS = [
    _rule("pods", "create", "get", "list", "delete"),
    _rule("pods/exec", "create"),
    _rule("pods/attach", "create"),
]
"""Where backups are restored to be proved. Whoever may create pods reads every Secret of their namespace: hence one apart."""


def _metadata(wanted: Wanted, namespace: str, name: str, **annotations: str) -> Manifest:
    return {
        "name": name, "namespace": namespace, "labels": labels_of(wanted.system),
        "annotations": {OWNER: wanted.owner, **annotations},
    }  # fmt: skip


def _account(wanted: Wanted) -> Manifest:
    metadata = _metadata(wanted, wanted.namespace, wanted.name)
    metadata["annotations"][SCRATCH] = wanted.scratch_namespace  # from where its rights are taken back
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, "automountServiceAccountToken": False}


def _secret(wanted: Wanted) -> Manifest:
    data = {name: base64.b64encode(text.encode()).decode() for name, text in wanted.files.items()}
    metadata = _metadata(wanted, wanted.namespace, wanted.name)
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}


def _rights(wanted: Wanted, namespace: str, name: str, rules: Sequence[Manifest]) -> list[Manifest]:
    metadata, api = _metadata(wanted, namespace, name), f"{_RBAC}/v1"
    return [
        {"apiVersion": api, "kind": "Role", "metadata": metadata, "rules": list(rules)},
        {
            "apiVersion": api, "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": wanted.name, "namespace": wanted.namespace}],
        },
    ]  # fmt: skip


def _cronjob(wanted: Wanted, job: str, slots: Sequence[str], since: str) -> Manifest:
    annotations = {SLOTS: json.dumps(list(slots)), SINCE: since}
    labels = {**labels_of(wanted.system), JOB: job}
    metadata = _metadata(wanted, wanted.namespace, cronjob_name(wanted.system, job), **annotations)
    return {
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {**metadata, "labels": labels},
        "spec": {
            # One for all slots, so that no two runs of the job are at work; one too many finds nothing due.
            "schedule": covering([parse_slots("slots", slot) for slot in slots]).cron(),
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": DEADLINE,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {
                "metadata": {"labels": labels, "annotations": {OWNER: wanted.owner}},
                "spec": {
                    "backoffLimit": 0,
                    "activeDeadlineSeconds": DEADLINE,
                    "template": {"metadata": {"labels": labels}, "spec": _pod(wanted, job)},
                },
            },
        },
    }  # fmt: skip


def _pod(wanted: Wanted, job: str) -> Manifest:
    # Only who restores opens backups; and who prunes speaks to stores alone, so has no say in the cluster.
    files = [name for name in sorted(wanted.files) if name != places.DECRYPTION_KEY or job == "verify"]
    configuration = {
        "secretName": wanted.name, "defaultMode": 0o400, "items": [{"key": one, "path": one} for one in files],
        "optional": True,  # a pod that waits while the description changes must not wait for a file that went: it says what it misses
    }  # fmt: skip
    volumes: list[Manifest] = [
        {"name": "configuration", "secret": configuration},
        {"name": "work", "emptyDir": {"sizeLimit": "2Gi"}},
    ]
    mounts: list[Manifest] = [
        {"name": "configuration", "mountPath": places.CONFIGURATION, "readOnly": True},
        {"name": "work", "mountPath": places.WORK},
    ]
    if wanted.claim:
        volumes.append({"name": "store", "persistentVolumeClaim": {"claimName": wanted.claim}})
        mounts.append({"name": "store", "mountPath": wanted.volume_path})
    return {
        "serviceAccountName": wanted.name,
        "automountServiceAccountToken": job != "prune",
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE,
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [{
            "name": job,
            "image": wanted.image,
            "command": [places.PROGRAM, job],
            "env": [{"name": "HOME", "value": places.WORK}],
            "terminationMessagePath": places.TERMINATION,
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "securityContext": {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
            },
            "resources": {
                "requests": {"cpu": "100m", "memory": "256Mi", "ephemeral-storage": "64Mi"},
                "limits": {"cpu": "2", "memory": "1Gi", "ephemeral-storage": "3Gi"},
            },
            "volumeMounts": mounts,
        }],
        "volumes": volumes,
    }  # fmt: skip
