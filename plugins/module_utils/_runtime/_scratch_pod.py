# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A throw-away pod with the programs of another one and nothing else of it: no data, no secrets, no service account.

It is made in a namespace of its own and lives as long as the connection to its stdin, which this process holds: when that
ends, because the context was left or the process was killed, its first process reads the end, and its containers are gone.
The pod's empty shell is what the next run sweeps.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .._errors import EngineError, InputError, NoSpace, PlatformError, RunbookError, TimedOut
from .._records import parse_time
from . import _child
from ._kubectl import Kubectl
from ._kubectl_errors import Refusal
from ._pod import PodInstance
from ._pods import Answer, Pod, container_status, state
from ._scratch_image import Image
from .base import STDERR_LIMIT, Limits

LABEL = "runbook.ops/scratch"
SOURCE = "runbook.ops/source-namespace"
ORIGIN = "runbook.ops/source-pod"

_CONTAINER = "scratch"
_FILES = "/var/tmp"  # noqa: S108 - where engines keep the files of a throw-away place
_FIRST_LINE_SECONDS = 60
_UNTIL_ITS_STDIN_ENDS = """
exec 3<&0
sleep "$1" &
timer=$!
{ read -r _ <&3 && kill "$timer" && echo held && read -r _ <&3; } &
reader=$!
wait "$timer" || wait "$reader"
"""
"""Given a number of seconds in which somebody must come to hold it: he writes a line, and is answered."""

_DEADLINE_SECONDS = 86_400
"""No verification takes a day: the cluster itself ends what nobody else could."""

_START_SECONDS = 180.0
_UNSCHEDULED_SECONDS = 20.0
"""How long a pod that the scheduler found no node for may wait for one: a cluster that adds a node takes longer than we may."""

_AUTOSCALED = "where the cluster adds nodes by itself, it has been asked to: verify again in some minutes"

_STALE_SECONDS = 600.0
_GONE_SECONDS = 60.0
_IDENTITY_SECONDS = 30.0

_SPARE = 2 << 30
"""Bytes that a server writes beside its data: logs of transactions, sorts."""

_UNPULLED = ("ErrImagePull", "ImagePullBackOff")
_UNSTARTABLE = (
    *_UNPULLED, "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "CreateContainerError",
    "RunContainerError",
)  # fmt: skip


@contextmanager
def twin_of(source: PodInstance, namespace: str | None, limits: Limits, user: str) -> Iterator[PodInstance]:
    """A twin of ``source`` in ``namespace``, all of whose programs run as ``user``."""
    pod = source.pod
    if not namespace or namespace == pod.namespace:
        raise InputError(
            f"runtime.scratch_namespace is {namespace!r}: name a namespace in which a throw-away pod may restore backups to prove "
            f"them, other than {pod.namespace}, where production runs."
        )
    sweep(pod.kubectl, namespace, pod.namespace)
    found = pod.kubectl.get(pod.path)
    image = Image.of(found, pod.container)
    body = _described(pod, found["spec"], image, _identity(source, user), limits)
    name, path = body["metadata"]["name"], f"/api/v1/namespaces/{namespace}/pods"
    made = _created(pod.kubectl, namespace, path, body)
    scratch = Pod(pod.kubectl, namespace, name, _CONTAINER, made["metadata"]["uid"], 0)
    try:
        image.require_same(_started(scratch, image, limits), _CONTAINER)
        with _held(scratch):
            twin = PodInstance(scratch)
            try:
                yield twin
            finally:
                twin.close()
    finally:
        with suppress(RunbookError):  # what went wrong first is what the operator must read
            _remove(scratch)


def sweep(kubectl: Kubectl, namespace: str, source: str) -> None:
    """Remove what killed runs left behind: pods that have ended, and such as never began.

    Only of backups of ``source``: a run of another system may be about to say why its own pod has ended.
    """
    with suppress(RunbookError):  # what cannot be listed cannot be made either, which is told next
        path = f"/api/v1/namespaces/{namespace}/pods"
        for found in kubectl.get(path, labelSelector=f"{LABEL},{SOURCE}={source}")["items"]:
            with suppress(RunbookError):
                if _left_behind(kubectl, found):
                    kubectl.delete(f"{path}/{found['metadata']['name']}", found["metadata"]["uid"])


def _left_behind(kubectl: Kubectl, found: Answer) -> bool:
    """One that waits may have been made a moment ago: by the clock that it was stamped by, ours may be hours off."""
    if found["status"].get("phase") != "Pending":
        return found["status"].get("phase") in ("Succeeded", "Failed")
    age = kubectl.now() - parse_time(found["metadata"]["creationTimestamp"])
    return age.total_seconds() > _STALE_SECONDS


def _identity(source: PodInstance, user: str) -> tuple[int, int]:
    """The numbers of an account of the image: Kubernetes takes no names."""
    numbers = []
    for option in ("-u", "-g"):
        ended = source.run(["id", option, user], timeout=_IDENTITY_SECONDS)
        if ended.returncode != 0:
            raise EngineError(
                f"A throw-away pod of {source.name}'s image cannot be started under the account {user} ({ended.stderr}): "
                "set run_as to an account of the image that its server may run as."
            )
        numbers.append(int(ended.stdout))
    return numbers[0], numbers[1]


def _described(
    source: Pod, of_source: Answer, image: Image, identity: tuple[int, int], limits: Limits
) -> dict[str, Any]:
    user, group = identity
    most = 2 * limits.files + _SPARE
    resources = {
        "limits": {"memory": str(limits.memory), "cpu": str(limits.cpus), "ephemeral-storage": str(most)},
        "requests": {"memory": str(limits.memory), "cpu": "50m", "ephemeral-storage": str(limits.files)},
    }
    container = {
        "name": _CONTAINER, "image": image.name, "imagePullPolicy": image.policy,
        "command": ["sh", "-c", _UNTIL_ITS_STDIN_ENDS, "sh", str(_FIRST_LINE_SECONDS)], "workingDir": "/",
        "stdin": True, "stdinOnce": True, "resources": resources,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "files", "mountPath": _FILES}],
    }  # fmt: skip
    spec = {
        "restartPolicy": "Never", "activeDeadlineSeconds": _DEADLINE_SECONDS, "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False, "enableServiceLinks": False, "containers": [container],
        "securityContext": {
            "runAsUser": user, "runAsGroup": group, "fsGroup": group, "runAsNonRoot": user != 0,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": [{"name": "files", "emptyDir": {"sizeLimit": str(most)}}],
        **{key: of_source[key] for key in ("nodeSelector", "tolerations") if of_source.get(key)},
    }  # fmt: skip
    metadata = {
        "name": f"runbook-{source.namespace[:40].rstrip('-')}-{secrets.token_hex(4)}",
        "labels": {LABEL: "1", SOURCE: source.namespace}, "annotations": {ORIGIN: source.name},
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _created(kubectl: Kubectl, namespace: str, path: str, body: dict[str, Any]) -> Answer:
    try:
        made: Answer = kubectl.create(path, body)
    except Refusal as refusal:
        if refusal.reason == "NotFound":
            raise InputError(
                f"runtime.scratch_namespace is {namespace!r}, which the cluster does not have: create it "
                f"(kubectl create namespace {namespace}), or name another."
            ) from None
        raise
    return made


def _started(scratch: Pod, image: Image, limits: Limits) -> Answer:
    begun = time.monotonic()
    while True:
        found: Answer = scratch.kubectl.get(scratch.path)
        if container_status(found, scratch.container).get("state", {}).get("running"):
            return found
        if error := _fault(scratch, found, image, limits, time.monotonic() - begun):
            raise error
        time.sleep(0.3)


def _fault(scratch: Pod, found: Answer, image: Image, limits: Limits, waited: float) -> RunbookError | None:
    """Why it will not start, once that is certain or we have waited long enough. Pure."""
    told, status = state(found), found["status"]
    waiting = container_status(found, scratch.container).get("state", {}).get("waiting") or {}
    if waiting.get("reason") in _UNSTARTABLE or status["phase"] == "Failed":
        said = waiting.get("message") or status.get("message") or "no reason is given"
        return PlatformError(
            f"The throw-away pod {scratch.name} in {scratch.namespace} {told}: {' '.join(said.split())[:300].rstrip('. ')}. "
            f"{_remedy(scratch, waiting, image)}"
        )
    if waited > _UNSCHEDULED_SECONDS and "is on no node" in told:
        if "ephemeral-storage" in told:
            return NoSpace(
                f"No node has room for {-(-limits.files >> 20)} MiB of restored files: the throw-away pod {told}. Free some "
                f"space on a node, or add one; {_AUTOSCALED}."
            )
        return PlatformError(
            f"No node takes the throw-away pod {scratch.name}: it {told}. Make room, or lower scratch.memory_mib; {_AUTOSCALED}."
        )
    if waited > _START_SECONDS:
        return TimedOut(f"The throw-away pod {scratch.name} did not start within {_START_SECONDS:g} s: it {told}.")
    return None


def _remedy(scratch: Pod, waiting: Answer, image: Image) -> str:
    if image.secrets and waiting.get("reason") in _UNPULLED:
        return (
            f"The service's pod pulls its image with the secret {', '.join(image.secrets)}, which {scratch.namespace} does not get "
            f"from there: create it in {scratch.namespace} too, and name it in imagePullSecrets of the service account default there."
        )
    return "See whether its image can be had there, and what the namespace allows."


@contextmanager
def _held(scratch: Pod) -> Iterator[None]:
    """Its stdin, which ends with us."""
    where = ["--namespace", scratch.namespace, "attach", "--stdin", "--quiet", scratch.name, "--container", _CONTAINER]
    holding = _child.start(scratch.kubectl.argv(*where))
    try:
        stdin, _stdout, stderr = _child.pipes(holding)
        with suppress(OSError):  # it has ended already, and says why
            stdin.write(b"\n")
        if _child.first_line(holding, _FIRST_LINE_SECONDS) != b"held\n":
            _child.kill(holding)
            raise scratch.kubectl.refused(stderr.read(STDERR_LIMIT).decode(errors="replace"))
        yield
    finally:
        _child.close(holding)


def _remove(scratch: Pod) -> None:
    """Remove it, and see it gone."""
    deadline = time.monotonic() + _GONE_SECONDS
    while time.monotonic() < deadline:
        try:
            scratch.kubectl.delete(scratch.path, scratch.uid)
        except Refusal as refusal:
            if refusal.reason in ("NotFound", "Conflict"):  # none of that name, or another one
                return
            raise
        time.sleep(0.3)
