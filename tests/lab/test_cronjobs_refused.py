# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster would refuse of a system's CronJobs is told by the plan, and whoever may install them need be no administrator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._runtime._kubectl import Kubectl
from ansible_collections.runbook.ops.plugins.module_utils._runtime._kubectl_errors import Refusal
from ansible_collections.runbook.ops.plugins.module_utils._scheduling._kubernetes.cluster import Cluster
from ansible_collections.runbook.ops.plugins.module_utils._scheduling._kubernetes.installation import CronJobs
from ansible_collections.runbook.ops.plugins.module_utils._scheduling._kubernetes.objects import (
    RIGHTS,
    SCRATCH_RIGHTS,
    Wanted,
)
from support import pods
from support.fault_report import Fault
from support.processes import until

OURS = "cronjobs,jobs,secrets,roles,rolebindings,serviceaccounts"
RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True)
class Account:
    """Who may install in the two namespaces, and give away no right that is not its own."""

    wanted: Wanted
    kubectl: Kubectl

    @property
    def schedules(self) -> CronJobs:
        return CronJobs(self.wanted, Cluster(self.kubectl.done))


def rights(namespace: str, *rules: dict[str, Any]) -> None:
    """Of the account that is called installer, in the first namespace that is given."""
    about = {"apiVersion": f"{RBAC}/v1", "metadata": {"name": "installer", "namespace": namespace}}
    pods.apply({**about, "kind": "Role", "rules": list(rules)})


MANAGE = [
    {"apiGroups": ["", "batch", RBAC], "verbs": ["get", "list", "create", "patch", "delete"],
     "resources": ["cronjobs", "jobs", "secrets", "roles", "rolebindings", "serviceaccounts"]},
    {"apiGroups": [""], "verbs": ["get", "list"], "resources": ["pods"]},
]  # fmt: skip


@pytest.fixture
def account(cluster: None, tmp_path: Path) -> Iterator[Account]:
    with pods.namespace() as scratch, pods.namespace() as production:
        pods.kubectl("--namespace", production, "create", "serviceaccount", "installer")
        for namespace, given in ((production, RIGHTS), (scratch, SCRATCH_RIGHTS)):
            rights(namespace, *MANAGE, *given)
            bind = [
                "create",
                "rolebinding",
                "installer",
                "--role=installer",
                f"--serviceaccount={production}:installer",
            ]
            pods.kubectl("--namespace", namespace, *bind)
        token = pods.kubectl("--namespace", production, "create", "token", "installer", "--duration=10m").strip()
        told = json.loads(pods.kubectl("config", "view", "--raw", "--flatten", "--minify", "--output", "json"))
        told["users"][0]["user"] = {"token": token}
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(told))
        jobs = {"backup": ["0 2 * * *"], "verify": ["0 4 1 * *"]}
        wanted = Wanted("refused", production, scratch, "image", jobs, {"inventory.yml": "all: {}"})
        yield Account(wanted, Kubectl(str(path), told["current-context"]))


def there(account: Account) -> int:
    """How many objects of ours there are."""
    names = [
        name
        for namespace in (account.wanted.namespace, account.wanted.scratch_namespace)
        for name in pods.kubectl("--namespace", namespace, "get", OURS, "--output", "name").split()
    ]
    return len([name for name in names if "/runbook-refused" in name])


def test_who_may_install_it_need_not_be_an_administrator(account: Account) -> None:
    schedules = account.schedules
    actions = schedules.plan()
    assert (len(actions), there(account)) == (8, 0)
    schedules.apply(actions)
    assert there(account) == 8 and account.schedules.plan() == []


def test_what_a_quota_forbids_is_told_by_the_plan(account: Account, fault: Fault) -> None:
    namespace = account.wanted.namespace
    pods.kubectl("--namespace", namespace, "create", "quota", "none", "--hard=count/cronjobs.batch=0")
    until(lambda: pods.get(namespace, "quota", "none")["status"].get("used"))
    with pytest.raises(Refusal, match="exceeded quota: none") as caught:
        account.schedules.plan()
    assert there(account) == 0
    fault("a quota forbids the CronJobs", caught.value, "nothing was made, with --check too")


def test_a_right_that_cannot_be_given_away_is_told_by_the_plan(account: Account, fault: Fault) -> None:
    rights(account.wanted.namespace, *MANAGE)
    with pytest.raises(Refusal, match="attempting to grant RBAC permissions not currently held") as caught:
        account.schedules.plan()
    assert there(account) == 0
    fault("who schedules may not give the jobs their rights", caught.value, "nothing was made, with --check too")


def test_a_namespace_that_is_not_there_is_told_by_the_plan(account: Account, fault: Fault) -> None:
    """To whoever may look for it."""
    wanted = replace(account.wanted, scratch_namespace="nosuch")
    schedules = CronJobs(wanted, Cluster(pods.on(wanted.namespace).kubectl.done))
    with pytest.raises(
        Refusal, match=r'namespaces "nosuch" not found: create it \(kubectl create namespace nosuch\)'
    ) as caught:
        schedules.plan()
    assert there(account) == 0
    fault("the scratch namespace is not there", caught.value, "nothing was made, with --check too")
