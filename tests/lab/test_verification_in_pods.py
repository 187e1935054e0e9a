# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup of a pod is proved in a throw-away one, which touches nothing of production and never stays."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import (
    CommandFailed,
    Damaged,
    EngineError,
    InputError,
    NoSpace,
    PlatformError,
    RunbookError,
)
from ansible_collections.runbook.ops.plugins.module_utils._runtime import _scratch_pod
from ansible_collections.runbook.ops.plugins.module_utils._runtime.base import Limits
from contract.shelf import Shelf
from contract.subjects.postgresql import postgresql_subject
from contract.subjects.postgresql_in_pod import PodPostgresql, in_pod
from support import pods
from support.fault_report import Fault
from support.pods import PodServer
from support.processes import end, start, until
from support.verification import GREEDY, WAITING, heals, verified

LIMITS = Limits(128 << 20, 0.5)


def found(namespace: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(
        pods.kubectl("--namespace", namespace, "get", "pods", "--output", "json")
    )["items"]
    return listed


def production(server: PodServer) -> object:
    """What a verification must not change."""
    return [
        (pod["metadata"]["name"], pod["metadata"]["uid"], pod["spec"], pod["status"]["containerStatuses"])
        for pod in found(server.project)
    ]


@contextmanager
def untouched(server: PodServer) -> Iterator[None]:
    before = production(server)
    yield
    until(lambda: not found(server.scratch))
    assert production(server) == before


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    directory = tmp_path / "shelf"
    directory.mkdir()
    return Shelf(directory)


@pytest.fixture
def waiting(postgres_pod: PodServer, shelf: Shelf) -> Iterator[PodPostgresql]:
    """A backup on the shelf whose restore can be interfered with."""
    with postgresql_subject(postgres_pod, "waiting", WAITING, PodPostgresql) as made:
        assert isinstance(made, PodPostgresql)
        shelf.take(made.engine())
        yield made


# What is made, and what is not touched


def test_the_throw_away_pod_is_limited_alone_and_nobody_s(
    postgres_pod: PodServer, shelf: Shelf, tmp_path: Path
) -> None:
    with in_pod(postgres_pod) as source:
        engine = source.engine(source.holding)
        shelf.take(engine)
        with untouched(postgres_pod), engine.scratch(shelf, str(tmp_path)) as place:
            engine.restore(shelf, place)
            (pod,) = found(postgres_pod.scratch)
            spec, (container,) = pod["spec"], pod["spec"]["containers"]
            limits = container["resources"]["limits"]
            assert (limits["memory"], limits["cpu"]) == (str(512 << 20), "1")
            files = spec["volumes"][0]["emptyDir"]["sizeLimit"]
            assert limits["ephemeral-storage"] == files and spec["activeDeadlineSeconds"] <= 86_400
            assert (spec["automountServiceAccountToken"], spec["restartPolicy"]) == (False, "Never")
            assert (spec["securityContext"]["runAsNonRoot"], spec["securityContext"]["runAsUser"] > 0) == (True, True)
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }
            (running,) = pods.get(postgres_pod.project, "pod", "db")["status"]["containerStatuses"]
            assert (len(spec["volumes"]), container.get("env")) == (1, None)
            assert pod["status"]["containerStatuses"][0]["imageID"] == running["imageID"]
            assert postgres_pod.project in pod["metadata"]["name"]
            look = ["exec", pod["metadata"]["name"], "--", "sh", "-c", "cat /proc/*/cmdline"]
            seen = pods.kubectl("--namespace", postgres_pod.scratch, *look)
            assert postgres_pod.password not in json.dumps(pod) + seen
            assert all(result.passed for result in engine.verify(shelf, place))


# Who is killed


def gone_with(server: PodServer, argv: str) -> None:
    """End what matches in the throw-away pod, which may be gone before we are answered."""
    (pod,) = found(server.scratch)
    look = (
        f"for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline | grep -q '^{argv}' && kill -KILL ${{p#/proc/}}; done; :"
    )
    with suppress(CommandFailed):
        pods.kubectl("--namespace", server.scratch, "exec", pod["metadata"]["name"], "--", "sh", "-c", look)


def delete(server: PodServer) -> None:
    pods.kubectl("--namespace", server.scratch, "delete", "pods", "--all")


def restoring(server: PodServer) -> bool:
    """Whether the backup's index is being made, which waits."""
    listed = found(server.scratch)
    if not listed or listed[0]["status"]["phase"] != "Running":
        return False
    name = listed[0]["metadata"]["name"]
    look = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; :"
    try:
        return "CREATE INDEX" in pods.kubectl("--namespace", server.scratch, "exec", name, "--", "sh", "-c", look)
    except RunbookError:
        return False


@pytest.mark.parametrize(
    "interfere",
    [
        lambda server: gone_with(server, "[^ ]*pg_restore"),
        lambda server: gone_with(server, "[^ ]*bin/postgres -D"),
        delete,
    ],
    ids=["pg_restore", "the server", "the pod"],
)
def test_what_is_killed_tells_nothing_about_the_backup(
    waiting: PodPostgresql, shelf: Shelf, tmp_path: Path, interfere: Callable[[PodServer], None], fault: Fault
) -> None:
    server = waiting.server
    assert isinstance(server, PodServer)
    with untouched(server), ThreadPoolExecutor(1) as pool:
        running: Future[bool] = pool.submit(verified, waiting.engine(timeout="60s"), shelf, tmp_path)
        until(lambda: running.done() or restoring(server))
        interfere(server)
        error = running.exception(240)
    assert isinstance(error, RunbookError) and not isinstance(error, Damaged), error
    assert len(str(error).splitlines()) == 1
    heals(waiting, shelf, tmp_path)
    if interfere is delete:
        fault(
            "the throw-away pod is deleted during a verification",
            error,
            "says nothing about the backup; the next run proves it",
        )


def test_a_killed_module_leaves_no_pod(waiting: PodPostgresql, shelf: Shelf, tmp_path: Path, fault: Fault) -> None:
    """Its programs are gone with it; the pod's shell, which takes nothing any more, with the next run."""
    server = waiting.server
    assert isinstance(server, PodServer)
    with untouched(server):
        module = start(lambda: verified(waiting.engine(), shelf, tmp_path))
        until(lambda: restoring(server))
        os.kill(module, signal.SIGKILL)
        assert end(module) == -signal.SIGKILL
        until(lambda: [pod["status"]["phase"] for pod in found(server.scratch)] in ([], ["Succeeded"], ["Failed"]))
        heals(waiting, shelf, tmp_path)
    fault(
        "SIGKILL of the module during a verification",
        "(nobody is left to say it)",
        "its programs end, the next run removes the pod",
    )


def test_what_never_began_is_swept(postgres_pod: PodServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after making it; another run's, made a moment ago, is its own. Another system's, or nobody's, is left alone."""
    mine = {_scratch_pod.LABEL: "1", _scratch_pod.SOURCE: postgres_pod.project}
    impossible = {"nodeSelector": {"nosuch": "node"}}
    pods.pod(postgres_pod.scratch, "left", wait=False, labels=mine, **impossible)
    pods.pod(postgres_pod.scratch, "foreign", wait=False, **impossible)
    pods.pod(
        postgres_pod.scratch, "another-s", wait=False, labels={**mine, _scratch_pod.SOURCE: "another"}, **impossible
    )

    def names() -> list[str]:
        return [pod["metadata"]["name"] for pod in found(postgres_pod.scratch)]

    with postgres_pod.instance.twin(LIMITS, "postgres"):
        assert {"left", "foreign", "another-s"} < set(names())
    monkeypatch.setattr(_scratch_pod, "_STALE_SECONDS", -5.0)
    with postgres_pod.instance.twin(LIMITS, "postgres"):
        until(lambda: "left" not in names())
        assert {"foreign", "another-s"} < set(names())
    pods.kubectl("--namespace", postgres_pod.scratch, "delete", "pod", "foreign", "another-s")


# What is short, and what is not there


def test_a_server_out_of_memory_tells_nothing_about_the_backup(
    postgres_pod: PodServer, shelf: Shelf, tmp_path: Path, fault: Fault
) -> None:
    with postgresql_subject(postgres_pod, "greedy", GREEDY, PodPostgresql) as source:
        engine = source.engine(scratch={"memory_mib": 256, "cpus": 1})
        shelf.take(engine)
        with untouched(postgres_pod), pytest.raises(RunbookError) as caught:
            verified(engine, shelf, tmp_path)
        assert not isinstance(caught.value, Damaged)
        assert verified(source.engine(scratch={"memory_mib": 2048, "cpus": 1}), shelf, tmp_path)
    fault(
        "a throw-away pod runs out of memory", caught.value, "says nothing about the backup; with more memory it passes"
    )


def test_space_is_looked_for_on_the_nodes(
    postgres_pod: PodServer, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setattr(_scratch_pod, "_UNSCHEDULED_SECONDS", 2.0)
    with in_pod(postgres_pod) as source:
        engine = source.engine()
        shelf.take(engine)
        artefacts = tuple(replace(artefact, raw_size=1 << 50) for artefact in shelf.manifest.artefacts)
        shelf.manifest = replace(shelf.manifest, artefacts=artefacts)
        with (
            untouched(postgres_pod),
            pytest.raises(
                NoSpace, match=r"^No node has room for \d+ MiB of restored files: .*ephemeral-storage"
            ) as caught,
            engine.scratch(shelf, str(tmp_path)),
        ):
            pytest.fail("the scratch was handed out")
    fault("no node has room for what is restored", caught.value, "no throw-away pod is left")


def test_what_cannot_be_made_is_told(postgres_pod: PodServer, fault: Fault) -> None:
    instance, project = postgres_pod.instance, postgres_pod.project
    cases: list[tuple[str | None, str, type[RunbookError], str]] = [
        (None, "postgres", InputError, "runtime.scratch_namespace is None: name a namespace"),
        (
            project,
            "postgres",
            InputError,
            rf"runtime.scratch_namespace is '{project}': .*other than {project}, where production",
        ),
        (
            "nosuch",
            "postgres",
            InputError,
            r"is 'nosuch', which the cluster does not have: create it \(kubectl create namespace",
        ),
        (postgres_pod.scratch, "nosuch", EngineError, r"cannot be started under the account nosuch .*: set run_as"),
    ]
    for scratch, user, error, told in cases:
        with pytest.raises(error, match=told) as caught, _scratch_pod.twin_of(instance, scratch, LIMITS, user):
            pytest.fail("the scratch was handed out")
        if scratch in (None, "nosuch"):
            fault(f"the scratch namespace is {'absent' if scratch else 'not named'}", caught.value, "nothing was begun")


def test_what_a_quota_forbids_is_told(postgres_pod: PodServer, fault: Fault) -> None:
    quota = ["--namespace", postgres_pod.scratch, "create", "quota", "small", "--hard=limits.memory=64Mi"]
    pods.kubectl(*quota)
    try:
        with (
            pytest.raises(PlatformError, match="exceeded quota: small") as caught,
            postgres_pod.instance.twin(LIMITS, "postgres"),
        ):
            pytest.fail("the scratch was handed out")
    finally:
        pods.kubectl("--namespace", postgres_pod.scratch, "delete", "quota", "small")
    fault("a quota forbids the throw-away pod", caught.value, "nothing was begun")
