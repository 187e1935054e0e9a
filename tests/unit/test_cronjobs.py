# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs a system's jobs in its cluster: the objects, what pods are told, and what the cluster says of a run."""

from __future__ import annotations

import base64
import json
import shlex
import signal
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.runbook.ops.plugins.module_utils._errors import Busy, InputError
from ansible_collections.runbook.ops.plugins.module_utils._runtime._kubectl_errors import Refusal, refusal
from ansible_collections.runbook.ops.plugins.module_utils._scheduling import pod as pod_program
from ansible_collections.runbook.ops.plugins.module_utils._scheduling._kubernetes import difference, observed
from ansible_collections.runbook.ops.plugins.module_utils._scheduling._kubernetes.cluster import Cluster
from ansible_collections.runbook.ops.plugins.module_utils._scheduling._kubernetes.description import (
    files_of,
    workloads_of,
)
from ansible_collections.runbook.ops.plugins.module_utils._scheduling._kubernetes.installation import CronJobs
from ansible_collections.runbook.ops.plugins.module_utils._scheduling._kubernetes.names import LONGEST, name_of
from ansible_collections.runbook.ops.plugins.module_utils._scheduling._kubernetes.objects import Wanted, manifests
from ansible_collections.runbook.ops.plugins.module_utils._scheduling.declared import in_its_cluster
from ansible_collections.runbook.ops.plugins.module_utils._scheduling.pod import errors
from ansible_collections.runbook.ops.plugins.module_utils._scheduling.run import said_by
from ansible_collections.runbook.ops.plugins.module_utils._scheduling.slots import covering, parse_slots
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)
SINCE = "2026-02-01T00:00:00Z"
SECRET = "of-the-shop"


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


# One CronJob serves all slots of a job.

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


# What a pod is told.


def within(
    description: dict[str, Any], jobs: tuple[str, ...] = ("backup", "verify")
) -> tuple[dict[str, Any], dict[str, str]]:
    files = files_of(description, jobs)
    return yaml.safe_load(files["inventory.yml"])["all"]["hosts"]["shop"], files


def test_a_pod_has_its_account_and_its_own_places() -> None:
    told, files = within(described(work_dir="/srv", cache_dir="/srv", metrics_file="/srv/x.prom", max_delete="50%"))
    assert told["runbook_runtime"] == {"type": "kubernetes", "namespace": "production", "scratch_namespace": "scratch"}
    assert "/srv" not in json.dumps(told) and told["runbook_max_delete"] == "50%"
    assert told["runbook_databases"][0]["password"] == SECRET
    assert set(files) == {"inventory.yml", "ansible.cfg"} and SECRET not in files["ansible.cfg"]


def test_files_that_a_description_names_come_along(tmp_path: Path) -> None:
    for name in ("key", "recipient", "bundle"):
        (tmp_path / name).write_text(f"the {name}")
    database = {
        "engine": "postgresql",
        "name": "shop",
        "recipients": [str(tmp_path / "recipient"), "somebody@example.com"],
    }
    store = {"type": "s3", "bucket": "b", "aws_ca_bundle": str(tmp_path / "bundle")}
    description = described(databases=[database], stores=[store], decryption_key=str(tmp_path / "key"))
    told, files = within(description)
    paths = [
        told["runbook_decryption_key"],
        told["runbook_databases"][0]["recipients"][0],
        told["runbook_stores"][0]["aws_ca_bundle"],
    ]
    assert [files[path.removeprefix("/etc/runbook.ops/")] for path in paths] == [
        "the key",
        "the recipient",
        "the bundle",
    ]
    assert told["runbook_databases"][0]["recipients"][1] == "somebody@example.com"
    without, files = within(description, ("backup",))
    assert "runbook_decryption_key" not in without and "the key" not in files.values()


CLAIMLESS = "a pod's disk is gone with the pod"
REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "image": ({}, {"image": ""}, "image is empty, and jobs of a system on kubernetes run in one"),
    "namespace": ({"runtime": {"type": "kubernetes"}}, {}, "runtime.namespace is None"),
    "scratch": ({"runtime": {"type": "kubernetes", "namespace": "a"}}, {}, "runtime.scratch_namespace is not set"),
    "same": (
        {"runtime": {"type": "kubernetes", "namespace": "a", "scratch_namespace": "a"}}, {},
        "runtime.scratch_namespace is 'a', where production runs",
    ),
    "directory": ({"stores": [{"type": "local", "path": "/b"}]}, {}, CLAIMLESS),
    "two": (
        {"stores": [{"type": "local", "path": "/b"}, {"type": "local", "path": "/c"}]}, {"volume_claim": "x"},
        "stores[1] is a second store of type local",
    ),
    "claim": ({}, {"volume_claim": "x"}, "volume_claim is 'x', and no store is of type local"),
    "files": (
        {"databases": [{"engine": "files", "name": "env", "paths": ["/etc"]}]}, {},
        "databases[0] (files/env) lies on the host that you run this on",
    ),
    "profile": ({"stores": [{"type": "s3", "bucket": "b", "profile": "me"}]}, {}, "stores[0].profile is 'me'"),
    "bundle": (
        {"stores": [{"type": "s3", "bucket": "b", "aws_ca_bundle": "/nowhere"}]}, {},
        "stores[0].aws_ca_bundle is '/nowhere', which cannot be read here",
    ),
    "keyring": (
        {"databases": [{"engine": "redis", "name": "c", "recipients": ["x"]}], "decryption_key": "keyring"}, {},
        "decryption_key is 'keyring', and pods have none",
    ),
    "empty": (
        {"databases": [{"engine": "redis", "name": "c", "password": ""}]}, {}, "databases[0].password is empty",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", REFUSED)
def test_what_no_pod_could_do_is_refused(mistake: str) -> None:
    changes, given_to, said = REFUSED[mistake]
    scheduled(described())
    with pytest.raises(InputError) as refused:
        scheduled(described(**changes), **given_to)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_a_directory_lies_on_the_claim() -> None:
    wanted = Wanted("shop", "production", "", "image", JOBS, {}, "claim", "/backups")
    pod = made("CronJob", wanted)[0]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["volumes"][-1] == {"name": "store", "persistentVolumeClaim": {"claimName": "claim"}}
    assert pod["containers"][0]["volumeMounts"][-1] == {"name": "store", "mountPath": "/backups"}


def test_what_differs_is_shown_without_a_secret() -> None:
    def secret(password: str, bucket: str) -> dict[str, Any]:
        database = {"engine": "postgresql", "name": "shop", "password": password}
        stores = [{"type": "s3", "bucket": bucket}]
        files = files_of(described(databases=[database], stores=stores), ["backup"])
        (one,) = made("Secret", Wanted("shop", "production", "", "image", JOBS, files))
        return one

    before = secret("first-one", "a")
    assert difference.reason(before, secret("other-one", "a")) == "a credential, which is not shown"
    told = difference.reason(before, secret("other-one", "b"))
    assert '- "bucket": "a"' in told and '+ "bucket": "b"' in told and "-one" not in told


# What the cluster says of a run.


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


def ended(**terminated: Any) -> dict[str, Any]:
    return pod({"containerStatuses": [{"state": {"terminated": terminated}}]})


def waits(reason: str) -> dict[str, Any]:
    return pod({"containerStatuses": [{"state": {"waiting": {"reason": reason, "message": "no such image"}}}]})


TODAY, EARLIER = "2026-03-02T02:00:05Z", "2026-03-01T02:00:05Z"
WORDS = "database shop: the server refuses the password."


@pytest.mark.parametrize(
    ("found", "state", "said"),
    [
        ([], "missed", "nothing ran for the slot 2026-03-02T03:30:00Z"),
        ([job(EARLIER, "Complete")], "missed", "nothing ran"),
        ([job(TODAY, "Complete")], "ok", "ran 2026-03-02T02:00:05Z"),
        ([job(EARLIER, "Failed", name="old"), job(TODAY, "Complete")], "ok", "ran"),
        ([job(TODAY)], "running", "since 2026-03-02T02:00:05Z"),
        ([job(TODAY), waits("ContainerCreating")], "running", "since"),
        ([job(TODAY), waits("ImagePullBackOff")], "failed", "does not start: ImagePullBackOff: no such image"),
        (
            [job(TODAY, "Failed"), ended(exitCode=2, message=WORDS)],
            "failed",
            f"{WORDS} (kubectl -n production logs job/j)",
        ),
        ([job(TODAY, "Failed"), ended(exitCode=137, reason="OOMKilled")], "failed", "more memory than its limit"),
        (
            [job(TODAY, "Failed"), ended(exitCode=137, reason="Error")],
            "failed",
            "137 (killed, mostly for want of memory)",
        ),
        ([job(TODAY, "Failed", "DeadlineExceeded")], "failed", "DeadlineExceeded: m"),
        ([job(TODAY, "Failed"), pod({"reason": "Evicted", "message": "disk"})], "failed", "Evicted: disk"),
    ],
)
def test_how_a_run_went_is_what_the_cluster_says(found: list[dict[str, Any]], state: str, said: str) -> None:
    wanted = Wanted(
        "shop", "production", "", "image", {"backup": ["30 3 * * *"] if state == "missed" else ["0 2 * * *"]}, {}
    )
    (one,) = made("CronJob", wanted)
    (run,) = observed.runs_of("shop", [one, *found])
    verdict = run.verdict(NOW)
    assert (verdict.state, said in verdict.reason) == (state, True), verdict


def test_a_suspended_one_says_so() -> None:
    (run,) = observed.runs_of("shop", [cronjob(suspend=True), job(TODAY, "Complete")])
    assert run.verdict(NOW).state == "suspended"


# What the pod leaves as its last words.


def test_last_words_are_the_errors_that_ansible_marks() -> None:
    said = (
        b"[WARNING]: x\n[ERROR]: Task failed: Module failed: stores is empty: name at least one store.\nOrigin: /a:1\n"
        b"[ERROR]: Task failed: Action failed: Failed: b.\n[ERROR]: Task failed: Action failed: Failed: b.\n"
    )
    assert errors(said.splitlines(keepends=True)) == ["stores is empty: name at least one store.", "Failed: b."]


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        ('{"failed": ["one.", "two."]}', "one. two."),
        ('{"failed": []}', ""),
        ("{", ""),
        (None, ""),
    ],
)
def test_a_summary_is_heard_where_there_is_one(tmp_path: Path, summary: str | None, said: str) -> None:
    path = tmp_path / "summary"
    if summary is not None:
        path.write_text(summary)
    assert said_by(str(path)) == said


@pytest.mark.parametrize("summary", [None, '{"failed": ["the server refuses the password."]}'])
def test_a_pod_that_is_ended_waits_for_its_playbook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, summary: str | None
) -> None:
    """SIGTERM goes on to what it runs, and what is said after it is still heard."""
    wrote = f"echo {shlex.quote(summary)} > {tmp_path}/backup.summary.json" if summary else ":"
    program = tmp_path / "program"
    program.write_text(
        f"end() {{\n{wrote}\necho '[ERROR]: it was ended' >&2\nexit 3\n}}\n"
        "trap end TERM\nsleep 0.5\nkill -TERM $PPID\nsleep 1\nsleep 1\nexit 9\n"
    )
    monkeypatch.setattr(pod_program, "argv_of", lambda *_given: ["sh", str(program)])
    monkeypatch.setattr(pod_program.places, "WORK", str(tmp_path))
    monkeypatch.setattr(pod_program.places, "TERMINATION", str(tmp_path / "last"))
    monkeypatch.setattr("sys.argv", ["runbook-job", "backup"])
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert pod_program.main() == 3
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (tmp_path / "last").read_text() == ("the server refuses the password." if summary else "it was ended")


# The plan, against a cluster that answers from a list.


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
