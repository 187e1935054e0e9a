# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods are a workload's: by all that its selector says, asked of the API or looked for among those at hand."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import InputError
from ansible_collections.runbook.ops.plugins.module_utils._runtime._kubectl import Kubectl
from ansible_collections.runbook.ops.plugins.module_utils._runtime._pod_services import services
from ansible_collections.runbook.ops.plugins.module_utils._runtime._selector import Selector
from ansible_collections.runbook.ops.plugins.module_utils._runtime._workloads import Workload
from ansible_collections.runbook.ops.plugins.module_utils._runtime.kubernetes import KubernetesRuntime


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, **({"values": list(values)} if values else {})}]}


PODS = {"a": {"app": "db", "tier": "a"}, "b": {"app": "db", "tier": "b"}, "web": {"app": "web"}, "bare": {}}
SELECTORS: list[tuple[dict[str, Any], str, set[str]]] = [
    ({"matchLabels": {"tier": "a", "app": "db"}}, "app=db,tier=a", {"a"}),
    (expression("app", "In", "web", "db"), "app in (db,web)", {"a", "b", "web"}),
    (expression("tier", "In", "a"), "tier=a", {"a"}),
    (expression("tier", "NotIn", "a"), "tier notin (a)", {"b", "web", "bare"}),
    (expression("tier", "Exists"), "tier", {"a", "b"}),
    (expression("tier", "DoesNotExist"), "!tier", {"web", "bare"}),
    ({"matchLabels": {"app": "db"}, **expression("tier", "NotIn", "a")}, "app=db,tier notin (a)", {"b"}),
    ({"matchLabels": {"app": "web"}, **expression("app", "In", "db")}, "app=db,app=web", set()),
    ({"matchLabels": None, "matchExpressions": None}, "", set()),
    ({}, "", set()),
]


@pytest.mark.parametrize(("declared", "asked", "selected"), SELECTORS)
def test_a_workload_s_pods_are_those_that_meet_all_of_its_selector(
    declared: dict[str, Any], asked: str, selected: set[str]
) -> None:
    selector = Selector.of(declared)
    assert str(selector) == asked
    assert {name for name, labels in PODS.items() if selector.selects(labels)} == selected


def pod(name: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": PODS[name], "creationTimestamp": "2026-03-01T00:00:00Z"},
        "spec": {"containers": [{"name": "main", "image": "i"}]}, "status": {"phase": "Pending"},
    }  # fmt: skip


@pytest.mark.parametrize(("declared", "_asked", "selected"), SELECTORS)
def test_the_status_counts_the_same_pods(declared: dict[str, Any], _asked: str, selected: set[str]) -> None:
    (service,) = services([Workload("deployment/x", Selector.of(declared), 1)], [pod(name) for name in PODS])
    assert {replica.name for replica in service.replicas} == (selected or {"deployment/x"})


class Cluster(Kubectl):
    """Has one workload, and answers every question about pods with all of them, as the API does an empty selector."""

    def get(self, path: str, **_query: str) -> Any:
        if path.endswith("/pods"):
            pytest.fail("every pod of the namespace was asked for")
        return {"metadata": {"name": "x"}, "spec": {"selector": {}}, "status": {}}


def test_an_empty_selector_is_never_every_pod() -> None:
    with pytest.raises(InputError, match=r"^service is 'deployment/x', whose selector is empty: give labels"):
        KubernetesRuntime(Cluster(), "production").resolve("deployment/x")
