# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A throw-away pod has the image that its source runs, on a node whose tags move while it runs."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import PlatformError
from ansible_collections.runbook.ops.plugins.module_utils._runtime import _scratch_pod
from ansible_collections.runbook.ops.plugins.module_utils._runtime._scratch_image import Image
from ansible_collections.runbook.ops.plugins.module_utils._runtime.base import Limits
from support import pods
from support.fault_report import Fault
from support.processes import until

from lab import images, kubernetes
from lab.kubernetes import components
from lab.kubernetes.images import name_in_cluster
from lab.place import home

LIMITS = Limits(64 << 20, 0.5)


class Node:
    """The cluster's one node, whose images are ours to name."""

    def __init__(self, repository: str) -> None:
        self.repository = repository
        self.names: set[str] = set()
        self.there = [name_in_cluster(kubernetes.image(images.ensure(name))) for name in ("base", "busybox")]

    def ctr(self, *arguments: str) -> str:
        return components.ctr(home(kubernetes.NAME), "images", *arguments)

    def call(self, number: int, name: str) -> str:
        """One of the two images, by a name of ours."""
        self.ctr("tag", "--force", self.there[number], f"{self.repository}{name}")
        self.names.add(f"{self.repository}{name}")
        return f"{self.repository}{name}"

    def digest(self, number: int) -> str:
        (listed,) = self.ctr("list", f"name=={self.there[number]}").splitlines()[1:]
        return listed.split()[2]


@pytest.fixture
def node(cluster: None) -> Iterator[Node]:
    if kubernetes.given():
        pytest.skip("NOT RUN: the images of a given cluster's nodes are not ours to name")
    made = Node(f"docker.io/runbook-test/{secrets.token_hex(4)}")
    yield made
    for name in made.names:
        made.ctr("remove", name)


@pytest.fixture(scope="module")
def places(cluster: None) -> Iterator[tuple[str, str]]:
    with pods.namespace() as scratch, pods.namespace() as production:
        yield production, scratch


def source(places: tuple[str, str], name: str, image: str) -> tuple[Any, str]:
    """A pod of this image, and what its node says that it is."""
    production, scratch = places
    pods.pod(production, name, container={"image": image})
    found = pods.on(production, scratch_namespace=scratch).resolve(f"app={name}")
    return found, image_id(production, name)


def image_id(namespace: str, name: str) -> str:
    return str(pods.get(namespace, "pod", name)["status"]["containerStatuses"][0]["imageID"])


def test_an_image_that_was_loaded_is_the_same_or_refused(node: Node, places: tuple[str, str], fault: Fault) -> None:
    tag = node.call(0, ":1")
    found, running = source(places, "loaded", tag)
    assert running.startswith("sha256:"), "nobody could pull that"
    with found.twin(LIMITS, "nobody") as twin:
        assert pods.get(places[1], "pod", twin.name)["spec"]["containers"][0]["image"] == tag
        assert image_id(places[1], twin.name) == running
    node.call(1, ":1")
    with pytest.raises(PlatformError, match=f"^{tag} is another image now .* than the service's pod runs") as caught:
        for _attempt in range(5):  # the node learns of it in its own time
            with found.twin(LIMITS, "nobody"):
                pass
    fault("the tag of a service's image has moved", caught.value, "nothing was restored")
    until(lambda: not pods.kubectl("--namespace", places[1], "get", "pods", "--output", "name"))


def test_an_image_that_was_pulled_is_had_by_its_digest(node: Node, places: tuple[str, str]) -> None:
    """What a pull leaves on a node: the tag, and the digest."""
    tag, digest = node.call(0, ":1"), node.digest(0)
    pinned = node.call(0, f"@{digest}")
    found, running = source(places, "pulled", tag)
    assert running == pinned
    node.call(1, ":1")
    with found.twin(LIMITS, "nobody") as twin:
        assert pods.get(places[1], "pod", twin.name)["spec"]["containers"][0]["image"] == pinned
        assert image_id(places[1], twin.name) == running


def test_a_pull_secret_that_is_not_there_is_told(
    places: tuple[str, str], monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    production, scratch = places
    pods.pod(production, "private")
    private = Image("registry.invalid/private:1", "IfNotPresent", "", ("regcred",))
    monkeypatch.setattr(_scratch_pod, "Image", type("Private", (), {"of": lambda *_source: private}))
    found = pods.on(production, scratch_namespace=scratch).resolve("app=private")
    with (
        pytest.raises(PlatformError, match=f"the secret regcred, which {scratch} does not get from there") as caught,
        found.twin(LIMITS, "nobody"),
    ):
        pytest.fail("the scratch was handed out")
    assert "registry.invalid" in str(caught.value)
    fault("the throw-away pod's image wants a pull secret", caught.value, "nothing was restored")
