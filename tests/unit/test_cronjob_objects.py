# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects that run a system's jobs in its cluster, from its description."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta

from ansible_collections.runbook.ops.plugins.module_utils._scheduling._kubernetes.description import (
    workloads_of,
)
from ansible_collections.runbook.ops.plugins.module_utils._scheduling._kubernetes.names import LONGEST, name_of
from ansible_collections.runbook.ops.plugins.module_utils._scheduling._kubernetes.objects import Wanted, manifests
from ansible_collections.runbook.ops.plugins.module_utils._scheduling.slots import covering, parse_slots
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st
from support.cronjobs import JOBS, NOW, SECRET, SINCE, WANTED, described, made

FIELDS = (
    st.sampled_from(["0", "*/15", "5,35"]), st.sampled_from(["2", "*", "1-3"]), st.sampled_from(["*", "1", "1-31", "*/9"]),
    st.sampled_from(["*", "2", "1,7"]), st.sampled_from(["*", "0", "1-5", "0-6"]),
)  # fmt: skip
SLOT = st.tuples(*FIELDS).map(" ".join)


@given(st.lists(SLOT, min_size=1, max_size=3), st.integers(0, 366 * 24 * 60))
def test_one_expression_covers_every_slot(slots: list[str], minutes: int) -> None:
    """In the eyes of another reader of cron: no slot is passed over; and one alone means what it meant."""
    expression, start = (
        covering([parse_slots("slots", slot) for slot in slots]).cron(),
        NOW + timedelta(minutes=minutes),
    )
    for slot in slots:
        moment = croniter(slot, start).get_next(datetime)
        assert croniter.match(expression, moment), (slot, expression, moment)
    if len(slots) == 1:
        moment = croniter(expression, start).get_next(datetime)
        assert croniter.match(slots[0], moment), (slots[0], expression, moment)


def test_a_cronjob_runs_a_job_once_at_a_time_in_utc() -> None:
    backup, verify = made("CronJob")
    spec = backup["spec"]
    assert (spec["schedule"], verify["spec"]["schedule"]) == ("0,30 2,3 * * *", "0 4 1 * *")
    assert (spec["timeZone"], spec["concurrencyPolicy"]) == ("Etc/UTC", "Forbid")
    assert (spec["successfulJobsHistoryLimit"], spec["failedJobsHistoryLimit"]) == (3, 3)
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] > 0 and spec["startingDeadlineSeconds"] > 0


def test_a_pod_may_do_nothing_but_its_work() -> None:
    pod = made("CronJob")[0]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"] == ["runbook-job", "backup"] and container["image"] == "image"
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert {"cpu", "memory", "ephemeral-storage"} == set(container["resources"]["limits"])
    secret, work = pod["volumes"]
    assert secret["secret"] == {
        "secretName": "runbook-shop", "defaultMode": 0o400, "items": [{"key": "inventory.yml", "path": "inventory.yml"}],
        "optional": True,
    }  # fmt: skip
    assert work["emptyDir"]["sizeLimit"]


def test_each_job_gets_what_it_needs_and_no_more() -> None:
    """The key that opens backups is with who restores them; a token for the cluster with who has something to do there."""
    files = dict.fromkeys(("inventory.yml", "ansible.cfg", "decryption_key"), SECRET)
    jobs = {job: ["0 2 * * *"] for job in ("backup", "verify", "prune")}
    given = {}
    for one in made("CronJob", Wanted("shop", "production", "scratch", "image", jobs, files)):
        pod = one["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        items = [item["path"] for item in pod["volumes"][0]["secret"]["items"] if item["key"] == item["path"]]
        given[pod["containers"][0]["name"]] = (items, pod["automountServiceAccountToken"])
    assert given == {
        "backup": (["ansible.cfg", "inventory.yml"], True),
        "verify": (["ansible.cfg", "decryption_key", "inventory.yml"], True),
        "prune": (["ansible.cfg", "inventory.yml"], False),
    }


def test_a_secret_is_in_the_secret_alone() -> None:
    everything = manifests(WANTED, dict.fromkeys(JOBS, SINCE))
    encoded = base64.b64encode(SECRET.encode()).decode()
    holders = [one["kind"] for one in everything if SECRET in json.dumps(one) or encoded in json.dumps(one)]
    assert holders == ["Secret"]


def test_rights_are_for_reading_here_and_making_pods_there() -> None:
    rights = {
        role["metadata"]["namespace"]: {rule["resources"][0]: set(rule["verbs"]) for rule in role["rules"]}
        for role in made("Role")
    }
    assert rights == {
        "production": {"pods": {"get", "list"}, "pods/exec": {"create"}},
        "scratch": {"pods": {"create", "get", "list", "delete"}, "pods/exec": {"create"}, "pods/attach": {"create"}},
    }
    assert {one["subjects"][0]["namespace"] for one in made("RoleBinding")} == {"production"}


def test_a_service_that_is_named_by_its_workload_may_be_looked_up() -> None:
    database = {"engine": "postgresql", "name": "shop", "service": "statefulset/postgres"}
    assert workloads_of(described(databases=[database, *described()["databases"]])) == ["statefulset/postgres"]
    (role,) = made("Role", Wanted("shop", "production", "", "image", JOBS, {}, workloads=["statefulset/postgres"]))
    assert role["rules"][-1] == {
        "apiGroups": ["apps"], "resources": ["statefulsets"], "resourceNames": ["postgres"], "verbs": ["get"],
    }  # fmt: skip


def test_without_a_place_for_scratch_no_rights_are_given_there() -> None:
    (role,) = made("Role", Wanted("shop", "production", "", "image", JOBS, {}))
    assert role["metadata"]["namespace"] == "production"


def test_names_are_kubernetes_names_and_no_two_systems_share_one() -> None:
    names = [
        name_of(*given)
        for given in [
            ("shop",), ("Shop",), ("shop.eu",), ("shop-eu",), ("s" * 99,), ("s" * 98,), ("a-b", "c"), ("a", "b-c"), ("a",),
        ]
    ]  # fmt: skip
    assert len(set(names)) == len(names) and names[0] == "runbook-shop"
    for name in names:
        assert len(name) <= LONGEST and name.strip("-") == name and name == name.lower() and "." not in name
