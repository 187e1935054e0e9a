# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is installed, changed and removed, against a cluster that answers from a list."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import Busy, InputError
from ansible_collections.runbook.ops.plugins.module_utils._runtime._kubectl_errors import Refusal, refusal
from ansible_collections.runbook.ops.plugins.module_utils._scheduling._kubernetes.cluster import Cluster
from ansible_collections.runbook.ops.plugins.module_utils._scheduling._kubernetes.installation import CronJobs
from ansible_collections.runbook.ops.plugins.module_utils._scheduling._kubernetes.objects import Wanted, manifests
from support.cronjobs import EARLIER, JOBS, SINCE, TODAY, WANTED, job, made


class Answers:
    """As ``kubectl`` would; what is applied is not defaulted, so it comes to itself."""

    def __init__(self, *found: dict[str, Any]) -> None:
        self.found = list(found)
        self.asked: list[tuple[str, ...]] = []
        self.dry: list[list[dict[str, Any]]] = []

    def __call__(self, *arguments: str, stdin: bytes = b"") -> bytes:
        self.asked.append(arguments)
        if "get" in arguments:
            namespace, what = arguments[1], arguments[3:-2]
            found = [one for one in self.found if one["metadata"]["namespace"] == namespace]
            if "--selector" not in arguments:
                found = [one for one in found if f"{one['kind']}/{one['metadata']['name']}" in what]
            else:
                found = [one for one in found if "runbook.ops/system" in one["metadata"].get("labels", {})]
            return json.dumps({"kind": "List", "items": found}).encode()
        if "--dry-run=server" in arguments:
            self.dry.append(json.loads(stdin)["items"])
        return stdin or b'{"kind": "List", "items": []}'

    def tried(self) -> list[str]:
        """What the last dry run was about."""
        return [f"{one['kind']} {one['metadata']['namespace']}" for one in self.dry[-1]]

    def writes(self) -> list[tuple[str, ...]]:
        return [one for one in self.asked if "get" not in one and "--dry-run=server" not in one]


def planned(kubectl: Answers, wanted: Wanted = WANTED) -> tuple[CronJobs, list[str]]:
    schedules = CronJobs(wanted, Cluster(kubectl))
    return schedules, [f"{one.action} {one.object}" for one in schedules.plan()]


NOTHING = Wanted("shop", "production", "scratch", "", {}, {})


def test_all_is_installed_once() -> None:
    kubectl = Answers()
    _schedules, actions = planned(kubectl)
    assert len(actions) == 8 and all(action.startswith("install ") for action in actions) and not kubectl.writes()
    there = Answers(*manifests(WANTED, dict.fromkeys(JOBS, SINCE)))
    assert planned(there)[1] == []


def test_all_is_tried_before_anything_is_touched() -> None:
    """But a binding to a role that would be there by then only."""
    kubectl = Answers()
    planned(kubectl)
    alone = ["ServiceAccount production", "Secret production", "Role production"]
    jobs = ["CronJob production", "CronJob production"]
    assert kubectl.tried() == [*alone, "Role scratch", *jobs]
    roles = Answers(*made("Role"))
    planned(roles)
    assert roles.tried() == [*alone, "RoleBinding production", "Role scratch", "RoleBinding scratch", *jobs]


class Refusing(Answers):
    """Nothing may be made, which is found out by trying."""

    def __call__(self, *arguments: str, stdin: bytes = b"") -> bytes:
        answer = super().__call__(*arguments, stdin=stdin)
        if "apply" in arguments:
            raise Refusal("cronjobs.batch is forbidden: exceeded quota", "Forbidden")
        return answer


def test_what_the_cluster_would_refuse_is_told_by_the_plan() -> None:
    kubectl = Refusing()
    with pytest.raises(Refusal, match="exceeded quota"):
        planned(kubectl)
    assert not kubectl.writes()


def test_a_namespace_that_is_not_there_is_told_with_what_to_do() -> None:
    told = refusal('Error from server (NotFound): namespaces "scratch" not found\n' * 2, "The API server of far")
    assert (str(told), told.reason) == (
        'The API server of far refused: namespaces "scratch" not found: create it (kubectl create namespace scratch), '
        "or name another.",
        "NotFound",
    )


def test_what_somebody_else_made_is_not_taken_over() -> None:
    theirs = {"kind": "Role", "metadata": {"name": "runbook-shop", "namespace": "production"}}
    with pytest.raises(InputError, match="Role production/runbook-shop is there already and was not made by this"):
        planned(Answers(theirs))


def test_nothing_is_removed_while_a_job_runs() -> None:
    everything = manifests(WANTED, dict.fromkeys(JOBS, SINCE))
    with pytest.raises(Busy, match="Job production/j is under way"):
        planned(Answers(*everything, job(TODAY)), NOTHING)
    _schedules, actions = planned(Answers(*everything, job(TODAY, "Complete")), NOTHING)
    assert len(actions) == 8 and all(action.startswith("remove ") for action in actions)
    assert actions[-1] == "remove ServiceAccount production/runbook-shop"
    assert planned(Answers(*everything, job(TODAY)))[1] == [], "a change is no reason to wait"


def test_a_job_that_begins_at_the_last_moment_is_not_cut_off() -> None:
    kubectl = Answers(*manifests(WANTED, dict.fromkeys(JOBS, SINCE)))
    schedules = CronJobs(NOTHING, Cluster(kubectl))
    actions = schedules.plan()
    kubectl.found.append(job(TODAY))
    with pytest.raises(Busy, match="has just begun"):
        schedules.apply(actions)
    deleted = [one for one in kubectl.writes() if "delete" in one]
    assert deleted and all("--cascade=orphan" in one for one in deleted)


def test_a_run_of_somebody_else_s_is_neither_shown_nor_waited_for_nor_deleted() -> None:
    """Whoever copies a Job of ours copies its labels; ours have the owner from their CronJob."""
    mine, theirs, at_work = job(EARLIER, "Complete"), job(TODAY, "Failed", name="theirs"), job(TODAY, name="at-work")
    for one in (theirs, at_work):
        one["metadata"]["annotations"] = {"runbook.ops/owner": "production/Shop"}
    kubectl = Answers(*manifests(WANTED, dict.fromkeys(JOBS, SINCE)), mine, theirs, at_work)
    assert [(run.job, run.exit_code, run.running) for run in CronJobs(WANTED, Cluster(kubectl)).runs()] == [
        ("backup", 0, False), ("verify", None, False),
    ]  # fmt: skip
    schedules = CronJobs(NOTHING, Cluster(kubectl))
    schedules.apply(schedules.plan())
    deleted = [name for one in kubectl.writes() for name in one if name.startswith("Job/")]
    assert deleted == ["Job/j"]


def test_what_a_killed_removal_left_goes_with_the_next() -> None:
    left = [job(TODAY, "Complete"), *made("ServiceAccount"), *made("Role")]
    _schedules, actions = planned(Answers(*left), NOTHING)
    assert [action.split()[1] for action in actions] == ["Job", "Role", "Role", "ServiceAccount"]


def test_rights_go_from_a_namespace_that_is_no_longer_for_scratch() -> None:
    elsewhere = Wanted("shop", "production", "elsewhere", "image", JOBS, WANTED.files)
    _schedules, actions = planned(Answers(*manifests(WANTED, dict.fromkeys(JOBS, SINCE))), elsewhere)
    assert sorted(action for action in actions if "Role" in action) == [
        f"{what} {kind} {namespace}/{WANTED.scratch_name}"
        for what, namespace in (("install", "elsewhere"), ("remove", "scratch"))
        for kind in ("Role", "RoleBinding")
    ]
