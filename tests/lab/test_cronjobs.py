# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A system's jobs in its own cluster: CronJobs that fire, with the rights that they need and no other, and go without a trace.

The system is VALEO's smaller release, its backups in a part of the bucket of their own; the tests follow one another.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.fault_report import Fault
from support.laboratory import layer, protect
from support.playbook import Run, differences
from support.processes import until
from support.slots import DAILY

from lab import execution_environment, kubernetes, s3
from lab.place import LABEL
from lab.valeo import RELEASES, S3_URL, Valeo, passwords

_NEUROERP, RELEASE = RELEASES
SYSTEM, NAMESPACE, SCRATCH = RELEASE.name, RELEASE.namespace, "runbook-lab-scratch"
OURS = "cronjobs,jobs,pods,secrets,roles,rolebindings,serviceaccounts"
MANAGED = ("--selector", "app.kubernetes.io/managed-by=runbook.ops", "--output", "name")
SECONDS = 240.0
SCHEDULES = {"backup": DAILY, "verify": DAILY, "prune": DAILY}
"""Jobs that run when a test wants them to; what it does not expect would be one more."""


@dataclass
class Scheduled:
    """The release as it is described, and as a test wants it to be."""

    valeo: Valeo
    place: Path
    image: str
    prefix: str
    runs: int = 0

    def described(self, **changes: Any) -> dict[str, Any]:
        state = s3.MOTO.known() or {}
        store = {
            "type": "s3", "bucket": RELEASE.copies, "prefix": self.prefix, "region": state["region"],
            "endpoint_url": os.environ.get(S3_URL) or kubernetes.publish(state["port"]),
            "access_key": state["access_key"], "secret_key": state["secret_key"],
        }  # fmt: skip
        chosen = dict(zip(["context"], kubernetes.context(), strict=False))
        return {
            "schedule_image": self.image,
            "runbook_runtime": {"type": "kubernetes", "kubeconfig": kubernetes.kubeconfig(), **chosen,
                                "namespace": NAMESPACE, "scratch_namespace": SCRATCH},
            "runbook_stores": [store],
            "runbook_schedules": SCHEDULES,
            **changes,
        }  # fmt: skip

    def play(self, playbook: str = "schedule.yml", *arguments: str, good: bool = True, **changes: Any) -> Run:
        self.runs += 1
        laid = layer(self.place / str(self.runs), SYSTEM, self.described(**changes))
        run = protect(self.valeo, playbook, "--limit", SYSTEM, *arguments, layers=(laid,))
        assert (run.returncode == 0) == good, run.failures()
        return run

    def job(self, job: str) -> Mapping[str, Any]:
        """As the playbook shows it."""
        (shown,) = [
            one for result in self.play().named("or remove what did") for one in result["jobs"] if one["job"] == job
        ]
        return dict(shown)

    def run_now(self, job: str, name: str, *, good: bool = True) -> None:
        """As somebody does by hand."""
        RELEASE.kubectl("create", "job", name, f"--from=cronjob/runbook-{SYSTEM}-{job}")
        assert self.ended(name) == good, RELEASE.kubectl("logs", f"job/{name}", "--tail=40")

    def ended(self, name: str) -> bool:
        """How it went, once it has."""

        def conditions() -> set[str]:
            told = json.loads(RELEASE.kubectl("get", "job", name, "--output", "json"))["status"].get("conditions", [])
            return {one["type"] for one in told if one["status"] == "True"} & {"Complete", "Failed"}

        until(lambda: time.sleep(0.5) or conditions(), SECONDS)
        return conditions() == {"Complete"}

    def database(self) -> dict[str, Any]:
        return {
            "engine": "postgresql", "name": RELEASE.database, "service": f"app={RELEASE.postgres}", "port": 5432,
            "user": RELEASE.user, "password": passwords(self.valeo.directory)[RELEASE.variable],
        }  # fmt: skip

    def secrets(self) -> list[str]:
        state = s3.MOTO.known() or {}
        plain = [passwords(self.valeo.directory)[RELEASE.variable], state["secret_key"]]
        return [*plain, *(base64.b64encode(one.encode()).decode().rstrip("=") for one in plain)]


def managed() -> list[str]:
    return [
        name
        for namespace in (NAMESPACE, SCRATCH)
        for name in kubernetes.kubectl("--namespace", namespace, "get", OURS, *MANAGED).split()
    ]


def everything() -> set[str]:
    """All of the release's namespace, by name; what pods and ReplicaSets are called is the cluster's affair."""
    kinds = "cronjobs,secrets,configmaps,roles,rolebindings,serviceaccounts,services,deployments,statefulsets,persistentvolumeclaims"
    return set(RELEASE.kubectl("get", kinds, "--output", "name").split())


@pytest.fixture(scope="module")
def image(cluster: None) -> str:
    try:
        return execution_environment.up()
    except kubernetes.Unavailable as reason:
        pytest.skip(f"NOT RUN: {reason}")


@pytest.fixture(scope="module")
def scheduled(valeo: Valeo, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scheduled]:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SCRATCH, "labels": {LABEL: "1"}}}
    kubernetes.kubectl("apply", "--filename", "-", stdin=json.dumps(namespace))
    made = Scheduled(valeo, tmp_path_factory.mktemp("cronjobs"), image, f"cronjobs/{int(time.time())}")
    yield made
    RELEASE.kubectl("delete", "jobs", *MANAGED[:2], "--ignore-not-found", "--wait=true", timeout=120)
    made.play("schedule.yml", "-e", "schedule_state=absent")
    kubernetes.kubectl("delete", "namespace", SCRATCH, "--wait=false")


def test_a_check_run_tells_what_the_real_run_does(scheduled: Scheduled) -> None:
    assert managed() == []
    predicted = scheduled.play("schedule.yml", "--check", "--diff")
    assert managed() == []
    done = scheduled.play("schedule.yml", "--diff")
    assert differences(predicted, done) == [] and done.kinds() == {"install"}
    again = scheduled.play("schedule.yml", "--diff")
    assert (again.counts()["changed"], again.actions()) == (0, [])
    told = json.dumps([predicted.told, done.told, again.told])
    assert not [one for one in scheduled.secrets() if one in told]


def test_the_account_may_do_its_work_and_nothing_else(scheduled: Scheduled) -> None:
    """Not by asking about one thing after another, but by all that the cluster says it may do."""
    account = f"--as=system:serviceaccount:{NAMESPACE}:runbook-{SYSTEM}"

    def may(namespace: str) -> set[tuple[str, str]]:
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
        told = json.loads(
            kubernetes.kubectl("create", "--raw", path, "--filename", "-", account, stdin=json.dumps(review))
        )
        assert not told["status"]["incomplete"]
        return {
            (verb, resource)
            for rule in told["status"]["resourceRules"] for resource in rule["resources"] for verb in rule["verbs"]
            if not resource.startswith("selfsubject")  # every account may ask who it is
        }  # fmt: skip

    nobodys = may("default")
    assert nobodys == may("kube-system") == may(_NEUROERP.namespace) == set()
    assert may(NAMESPACE) == {("get", "pods"), ("list", "pods"), ("create", "pods/exec")}
    made = {(verb, "pods") for verb in ("create", "get", "list", "delete")}
    assert may(SCRATCH) == {*made, ("create", "pods/exec"), ("create", "pods/attach")}


def test_a_slot_comes_and_leaves_a_backup(scheduled: Scheduled) -> None:
    scheduled.play(runbook_schedules={**SCHEDULES, "backup": "* * * * *"})

    def fired() -> list[str]:
        jobs = json.loads(RELEASE.kubectl("get", "jobs", *MANAGED[:2], "--output", "json"))["items"]
        return [one["metadata"]["name"] for one in jobs if one.get("status", {}).get("succeeded")]

    try:
        until(fired, SECONDS)
    finally:
        scheduled.play()
    assert all(name.startswith(f"runbook-{SYSTEM}-backup-") for name in fired()), "no hand has started any"
    assert scheduled.job("backup")["state"] == "ok"
    scheduled.run_now("prune", "runbook-by-hand-prune")


def test_the_backup_verifies_in_a_pod_of_the_scratch_namespace(scheduled: Scheduled) -> None:
    scheduled.run_now("verify", "runbook-by-hand-verify")
    listed = scheduled.play("list_backups.yml").named("check the description and read the catalogue")[0]["databases"]
    (database,) = [found for found in listed if found["engine"] == "postgresql"]  # what pods can back up
    assert database["newest"] and database["verification"]["result"] == "passed"
    assert RELEASE.kubectl("--namespace", SCRATCH, "get", "pods", "--output", "name") == "", (
        "nothing is left of the scratch"
    )


def test_status_shows_how_the_jobs_went(scheduled: Scheduled) -> None:
    run = scheduled.play("status.yml", "-e", "status_fail=false")
    (told,) = [result for _task, result in run.results() if "schedules" in result and "verdict" in result]
    by_job = {one["object"]: one for one in told["schedules"]}
    assert by_job["backup"]["state"] == by_job["prune"]["state"] == "ok" and by_job["backup"]["last_run"]


def test_a_run_that_fails_says_why_in_its_own_words(scheduled: Scheduled) -> None:
    wrong = {**scheduled.database(), "password": "not-the-right-one"}
    # Where there is no backup yet, one is due.
    (store,) = scheduled.described()["runbook_stores"]
    scheduled.play(schedule_databases=[wrong], schedule_stores=[{**store, "prefix": f"{scheduled.prefix}-failing"}])
    try:
        scheduled.run_now("backup", "runbook-by-hand-failing", good=False)
    finally:
        scheduled.play()
    shown = scheduled.job("backup")
    assert shown["state"] == "failed" and "refuses the password" in shown["reason"], shown
    assert f"kubectl -n {NAMESPACE} logs job/" in shown["reason"] and "not-the-right-one" not in shown["reason"]


ENDED_BY_THE_CLUSTER = [
    ("hungry", {"resources": {"limits": {"memory": "64Mi"}}}, "tail /dev/zero", {}, r"memory than its limit|for want of memory"),
    ("late", {}, "sleep 600", {"activeDeadlineSeconds": 5}, "DeadlineExceeded"),
    ("greedy", {}, 'head -c 9000000 /dev/zero >"$HOME/file"; sleep 600', {}, "the pod was ended, Evicted: Usage of EmptyDir"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "container", "script", "spec", "told"), ENDED_BY_THE_CLUSTER)
def test_a_job_that_the_cluster_ends_says_why(
    scheduled: Scheduled, fault: Fault, name: str, container: dict[str, Any], script: str, spec: dict[str, Any], told: str
) -> None:  # fmt: skip
    """A Job like those that the CronJob makes, but for what brings it to its end."""
    made = json.loads(RELEASE.kubectl("get", "cronjob", f"runbook-{SYSTEM}-backup", "--output", "json"))
    template = made["spec"]["jobTemplate"]
    pod = template["spec"]["template"]["spec"]
    pod["containers"][0].update({**container, "command": ["sh", "-c", script]})
    work = next(volume for volume in pod["volumes"] if volume["name"] == "work")
    work["emptyDir"] = {"sizeLimit": "1Mi"} if name == "greedy" else work["emptyDir"]
    job = {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {**template["metadata"], "name": f"runbook-by-hand-{name}"},
        "spec": {**template["spec"], **spec},
    }  # fmt: skip
    RELEASE.kubectl("create", "--filename", "-", stdin=json.dumps(job))
    try:
        assert not scheduled.ended(job["metadata"]["name"])
        shown = scheduled.job("backup")
    finally:
        RELEASE.kubectl("delete", "job", job["metadata"]["name"], "--wait=true", timeout=120)
    assert shown["state"] == "failed" and re.search(told, shown["reason"]), shown
    fault(f"a job's pod is {name}", shown["reason"], "the status says why; the next slot's run takes what is due")


def test_a_claim_that_is_full_is_told_and_the_next_run_heals(
    scheduled: Scheduled, tmp_path: Path, fault: Fault
) -> None:
    path, name = "/srv/backups", f"runbook-full-{int(time.time())}"
    with volume(tmp_path / "volume", name, "1m"):
        scheduled.play(
            schedule_stores=[{"type": "local", "path": f"{path}"}], schedule_volume_claim=name,
            schedule_databases=[scheduled.database()],
        )  # fmt: skip
        try:
            full = tmp_path / "volume" / "full"
            full.write_bytes(b"\0" * (900 << 10))
            scheduled.run_now("backup", f"{name}-1", good=False)
            told = scheduled.job("backup")
            assert told["state"] == "failed" and "free" in told["reason"], told
            full.unlink()
        finally:
            scheduled.play()
            RELEASE.kubectl("delete", "job", f"{name}-1", "--ignore-not-found", "--wait=true", timeout=120)
    fault("the claim that a job stores in is full", told["reason"], "nothing complete is left of it")


@contextmanager
def volume(directory: Path, name: str, size: str) -> Iterator[None]:
    """A claim of the release's namespace, bound to a file system of ``size``."""
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=1777", "tmpfs", directory], check=True)
    about = {"capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    RELEASE.kubectl("apply", "--filename", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
         "spec": {**about, "hostPath": {"path": str(directory)}, "persistentVolumeReclaimPolicy": "Retain"}},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
         "spec": {"accessModes": about["accessModes"], "storageClassName": "", "volumeName": name,
                  "resources": {"requests": about["capacity"]}}},
    ]}))  # fmt: skip
    try:
        yield
    finally:
        RELEASE.kubectl(
            "delete", f"persistentvolumeclaim/{name}", f"persistentvolume/{name}", "--wait=true", timeout=120
        )
        subprocess.run(["umount", "--lazy", directory], check=True)


def test_a_suspended_one_is_told_of_and_left_so(scheduled: Scheduled) -> None:
    name = f"cronjob/runbook-{SYSTEM}-prune"
    RELEASE.kubectl("patch", name, "--patch", '{"spec": {"suspend": true}}')
    again = scheduled.play()
    assert again.counts()["changed"] == 0 and scheduled.job("prune")["state"] == "suspended"
    RELEASE.kubectl("patch", name, "--patch", '{"spec": {"suspend": false}}')


def test_no_secret_is_to_be_seen_but_in_the_secret(scheduled: Scheduled) -> None:
    """In whatever the cluster shows of our objects, their pods' logs and its own events."""
    kinds = OURS.replace("secrets,", "")
    texts = [kubernetes.kubectl("--namespace", namespace, "get", f"{kinds},events", "--output", "yaml", "--show-managed-fields")
             for namespace in (NAMESPACE, SCRATCH)]  # fmt: skip
    pods = RELEASE.kubectl("get", "pods", *MANAGED).split()
    texts += [RELEASE.kubectl("logs", pod) for pod in pods]
    assert len(pods) >= 3 and SYSTEM in texts[0]
    assert not [one for one in (*scheduled.secrets(), "not-the-right-one") for text in texts if one in text]
    ours = json.loads(RELEASE.kubectl("get", "secret", f"runbook-{SYSTEM}", "--output", "json"))
    assert scheduled.secrets()[0] in base64.b64decode(ours["data"]["inventory.yml"]).decode()
    assert set(ours["metadata"]["annotations"]) == {"runbook.ops/owner"}


def test_what_somebody_else_made_is_not_taken_over(scheduled: Scheduled) -> None:
    name = f"runbook-{SYSTEM}-elsewhere"
    RELEASE.kubectl("create", "serviceaccount", name)
    try:
        run = scheduled.play("schedule.yml", good=False, runbook_system=f"{SYSTEM}-elsewhere")
    finally:
        RELEASE.kubectl("delete", "serviceaccount", name)
    assert any(f"ServiceAccount {NAMESPACE}/{name} is there already" in told for told in run.failures())


def until_told(job: str) -> None:
    """As one begun by hand, but under way for as long as it takes us to look."""
    as_usual = ("create", "job", job, f"--from=cronjob/runbook-{SYSTEM}-backup", "--dry-run=client", "--output", "json")
    made = json.loads(RELEASE.kubectl(*as_usual))
    waits = ["sh", "-c", 'until [ -e "$HOME/told" ]; do sleep 0.2; done']
    made["spec"]["template"]["spec"]["containers"][0]["command"] = waits
    RELEASE.kubectl("create", "--filename", "-", stdin=json.dumps(made))
    ready = ("--for=jsonpath={.status.ready}=1", f"--timeout={SECONDS:.0f}s")
    RELEASE.kubectl("wait", f"job/{job}", *ready, timeout=SECONDS + 10)


def test_it_is_not_removed_while_a_job_runs_and_then_goes_without_a_trace(scheduled: Scheduled) -> None:
    before = managed()
    job = "runbook-by-hand-last"
    until_told(job)
    run = scheduled.play("schedule.yml", "-e", "schedule_state=absent", good=False)
    assert any(f"{job} is under way: let it finish" in told for told in run.failures()), run.failures()
    assert set(before) <= set(managed())
    RELEASE.kubectl("exec", f"job/{job}", "--", "sh", "-c", 'touch "$HOME/told"')
    RELEASE.kubectl("wait", f"job/{job}", "--for=condition=complete", f"--timeout={SECONDS:.0f}s", timeout=SECONDS + 10)
    theirs = {name for name in everything() if f"/runbook-{SYSTEM}" not in name}
    gone = scheduled.play("schedule.yml", "-e", "schedule_state=absent")
    assert gone.kinds() == {"remove"}
    until(lambda: not managed(), 60)
    assert everything() == theirs
    assert scheduled.play("schedule.yml", "-e", "schedule_state=absent").counts()["changed"] == 0
