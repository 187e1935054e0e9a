# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a throw-away pod is made of, when it is certain that it will not start, and what is swept of those of killed runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import NoSpace, PlatformError
from ansible_collections.runbook.ops.plugins.module_utils._runtime import _scratch_pod
from ansible_collections.runbook.ops.plugins.module_utils._runtime._kubectl import Kubectl
from ansible_collections.runbook.ops.plugins.module_utils._runtime._kubectl_errors import Refusal
from ansible_collections.runbook.ops.plugins.module_utils._runtime._pods import Pod
from ansible_collections.runbook.ops.plugins.module_utils._runtime._scratch_image import Image
from ansible_collections.runbook.ops.plugins.module_utils._runtime.base import Limits

A, B = ("sha256:" + 32 * digit for digit in ("0a", "0b"))
IMAGE = Image("registry.example.com/db:16", "Always", A)
SCRATCH = Pod(Kubectl(), "scratch", "runbook-production-1", "scratch", "uid", 0)
LIMITS = Limits(1 << 30, 1, files=3 << 20)


def running(image_id: str, image: str = "postgres:16", **spec: Any) -> dict[str, Any]:
    declared = {"name": "main", "image": image, "imagePullPolicy": "Always"}
    return {
        "spec": {"containers": [{"name": "sidecar", "image": "other"}, declared], **spec},
        "status": {"containerStatuses": [{"name": "main", "imageID": image_id}]},
    }


# The image that runs, whatever its tag has become


@pytest.mark.parametrize(
    ("named", "image_id"),
    [
        ("postgres:16", f"docker.io/library/postgres@{A}"),
        ("postgres", f"docker.io/library/postgres@{A}"),
        ("index.docker.io/library/postgres:16", f"docker.io/library/postgres@{A}"),
        ("erni/db:16", f"docker.io/erni/db@{A}"),
        ("registry.example.com/db:16", f"registry.example.com/db@{A}"),
        ("registry:5000/db", f"registry:5000/db@{A}"),
        ("localhost/db:16", f"localhost/db@{A}"),
        ("postgres:16", f"docker-pullable://postgres@{A}"),
    ],
)
def test_what_runs_is_asked_for_by_its_digest(named: str, image_id: str) -> None:
    image = Image.of(running(image_id, named), "main")
    assert (image.name, image.policy) == (image_id.removeprefix("docker-pullable://"), "IfNotPresent")
    image.require_same(running(f"a.second/repository@{B}"), "main")  # the digest that was asked for is proof enough


@pytest.mark.parametrize(
    ("named", "image_id"),
    [
        ("postgres:16", A),
        ("postgres:16", f"docker://{A}"),
        ("postgres:16", f"docker.io/library/import-2026-03-01@{A}"),
        ("registry.example.com/db:16", f"mirror.example.com/db@{A}"),
        ("registry:5000/db", f"docker.io/registry@{A}"),
    ],
)
def test_what_nobody_can_be_sure_to_pull_is_asked_for_by_name_and_looked_at(named: str, image_id: str) -> None:
    image = Image.of(running(image_id, named), "main")
    assert (image.name, image.policy) == (named, "Always")
    image.require_same(running(image_id), "main")
    with pytest.raises(
        PlatformError, match=rf"^{named} is another image now \(.*{B}\) than the service's pod runs \(.*{A}\)"
    ):
        image.require_same(running(image_id.replace(A, B)), "main")


def test_a_digest_that_is_declared_stays_as_it_is() -> None:
    named = f"registry.example.com/db:16@{A}"
    assert Image.of(running(f"registry.example.com/db@{B}", named), "main").name == named


def test_the_same_image_under_another_name_of_loading_is_the_same() -> None:
    image = Image.of(running(f"docker.io/library/import-2026-03-01@{A}"), "main")
    image.require_same(running(f"docker.io/library/import-2026-03-02@{A}"), "main")


# When it will not start


def pending(*conditions: dict[str, Any], **waiting: str) -> dict[str, Any]:
    statuses = [{"name": "scratch", "state": {"waiting": waiting}}] if waiting else []
    return {
        "metadata": {"name": SCRATCH.name},
        "status": {"phase": "Pending", "containerStatuses": statuses, "conditions": list(conditions)},
    }


def fault(found: dict[str, Any], waited: float, image: Image = IMAGE) -> str:
    return str(_scratch_pod._fault(SCRATCH, found, image, LIMITS, waited) or "")


def test_an_image_that_is_pulled_with_a_secret_is_told_with_what_to_do() -> None:
    denied = pending(reason="ErrImagePull", message="pull access denied:\n401 Unauthorized")
    assert "401 Unauthorized. See whether its image can be had there" in fault(denied, 1)
    private = Image.of(running(A, imagePullSecrets=[{"name": "regcred"}]), "main")
    told = fault(denied, 1, private)
    assert "401 Unauthorized" in told and "\n" not in told
    assert "with the secret regcred, which scratch does not get from there: create it in scratch too" in told
    assert "regcred" not in fault(pending(reason="InvalidImageName", message="x"), 1, private)


def scheduled(status: str, message: str = "") -> dict[str, Any]:
    return {"type": "PodScheduled", "status": status, "reason": "Unschedulable", "message": message}


ROOMLESS = "0/3 nodes are available: 3 Insufficient memory."


@pytest.mark.parametrize(
    "found",
    [
        pending(),  # the scheduler has not looked at it yet
        pending({"type": "Ready", "status": "False", "reason": "ContainersNotReady"}),
        pending(scheduled("True")),
        pending(scheduled("True"), reason="ContainerCreating"),
    ],
)
def test_only_a_pod_that_the_scheduler_turned_down_is_on_no_node(found: dict[str, Any]) -> None:
    for waited in (21, 180):
        assert fault(found, waited) == ""
    assert "did not start within 180 s: it" in fault(found, 181) and "is on no node" not in fault(found, 181)
    turned_down = pending(scheduled("False", ROOMLESS))
    assert fault(turned_down, 19) == ""
    assert f"it is on no node ({ROOMLESS[:-1]}). Make room, or lower scratch.memory_mib" in fault(turned_down, 21)


@pytest.mark.parametrize("lacks", ["memory", "ephemeral-storage"])
def test_who_has_a_cluster_that_grows_is_told_how_to_go_on(lacks: str) -> None:
    found = pending(scheduled("False", f"0/3 nodes are available: 3 Insufficient {lacks}."))
    error = _scratch_pod._fault(SCRATCH, found, IMAGE, LIMITS, 21)
    assert isinstance(error, NoSpace if lacks == "ephemeral-storage" else PlatformError)
    assert str(error).endswith(
        "where the cluster adds nodes by itself, it has been asked to: verify again in some minutes."
    )


# What is swept


@dataclass(frozen=True)
class Left(Kubectl):
    """A scratch namespace with these pods; its clock is not ours."""

    found: tuple[dict[str, Any], ...] = ()
    deleted: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def get(self, path: str, **query: str) -> Any:
        assert query == {"labelSelector": "runbook.ops/scratch,runbook.ops/source-namespace=production"}
        return {"items": list(self.found)}

    def create(self, path: str, body: Mapping[str, Any]) -> Any:
        assert body["kind"] == "SelfSubjectReview"
        return {"metadata": {"creationTimestamp": "1999-12-31T12:00:00Z"}}

    def done(self, *arguments: str, stdin: bytes = b"") -> bytes:
        assert arguments[0] == "delete"
        self.deleted.append((arguments[2].rpartition("/")[2], json.loads(stdin)["preconditions"]))
        raise Refusal("gone", "NotFound")


def left(name: str, phase: str, made: str) -> dict[str, Any]:
    metadata = {"name": name, "uid": f"uid of {name}", "creationTimestamp": f"1999-12-31T{made}:00Z"}
    return {"metadata": metadata, "status": {"phase": phase}}


def test_only_what_is_certainly_left_behind_is_swept_and_nothing_that_has_its_name_by_now() -> None:
    kubectl = Left(found=(
        left("ended", "Succeeded", "11:59"), left("broken", "Failed", "11:59"), left("at-work", "Running", "00:00"),
        left("young", "Pending", "11:55"), left("ahead", "Pending", "12:01"), left("stale", "Pending", "11:45"),
    ))  # fmt: skip
    _scratch_pod.sweep(kubectl, "scratch", "production")
    assert kubectl.deleted == [(name, {"uid": f"uid of {name}"}) for name in ("ended", "broken", "stale")]


def test_another_pod_of_its_name_is_not_removed() -> None:
    class Replaced(Kubectl):
        def done(self, *_arguments: str, stdin: bytes = b"") -> bytes:
            assert json.loads(stdin)["preconditions"] == {"uid": "uid"}
            raise Refusal("the UID in the precondition differs", "Conflict")

    _scratch_pod._remove(replace(SCRATCH, kubectl=Replaced()))
