# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of real systems, and of real containers that are not well."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.runbook.ops.plugins.modules import system_status_info
from support.laboratory import protect

from lab import images
from lab.command import docker
from lab.place import LABEL
from lab.system import System

PROJECT = "runbook-lab-status"


def told(project: str, **values: Any) -> dict[str, Any]:
    """What the module says."""
    params = {"system": "status", "runtime": {"type": "compose", "project": project}, **values}
    validated = ArgumentSpecValidator(system_status_info.ARGUMENT_SPEC).validate(params)
    assert validated.error_messages == []
    parsed = validated.validated_parameters
    return system_status_info.judged(parsed, system_status_info.build(parsed))


def service(name: str, *options: str, command: tuple[str, ...] = ("redis-server",), number: int = 1) -> str:
    """A container as compose would label it."""
    labels = {
        LABEL: "1", "com.docker.compose.project": PROJECT, "com.docker.compose.service": name,
        "com.docker.compose.oneoff": "False", "com.docker.compose.container-number": str(number),
    }  # fmt: skip
    given = [part for label, value in labels.items() for part in ("--label", f"{label}={value}")]
    called = f"{PROJECT}-{name}-{number}"
    docker("run", "--detach", "--name", called, *given, *options, images.ensure("redis"), *command)
    return called


def until(container: str, health: str) -> None:
    deadline = time.monotonic() + 60
    while docker("inspect", "--format", "{{.State.Health.Status}}", container).strip() != health:
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture
def containers(engine: None) -> Iterator[None]:
    def remove() -> None:
        listed = docker("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={PROJECT}").split()
        if listed:
            docker("rm", "--force", "--volumes", *listed)

    remove()
    yield
    remove()


CHECKED = ("--health-interval", "1s", "--health-retries", "1", "--health-cmd")
LASTING = ("--restart", "unless-stopped")


def reasons(status: dict[str, Any]) -> list[str]:
    return [reason for reason in status["verdict"]["reasons"] if not reason.startswith("/")]


def test_each_container_that_is_not_well_turns_the_verdict(containers: None) -> None:
    until(service("well", *CHECKED, "redis-cli ping"), "healthy")
    assert reasons(told(PROJECT)) == []
    (found,) = told(PROJECT)["services"]
    assert found["replicas"][0]["digest"].startswith("sha256:") and found["replicas"][0]["health"] == "healthy"

    docker("stop", "--time", "5", service("stopped", *LASTING))
    docker("kill", service("killed"))
    until(service("sick", *CHECKED, "exit 7"), "unhealthy")
    docker("pause", service("paused"))
    service("job", command=("true",))
    service("loops", "--restart", "always", command=("false",))
    for number in (1, 2):
        service("scaled", number=number)
    docker("kill", f"{PROJECT}-scaled-2")
    deadline = time.monotonic() + 60
    while True:  # what ends again and again runs for a moment now and then
        status = told(PROJECT)
        said = {found["object"]: (found["level"], found["reason"]) for found in status["services"]}
        if said["loops"][0] == "red":
            break
        assert said["loops"][0] == "amber" and time.monotonic() < deadline, said["loops"]
        time.sleep(0.3)
    assert said["well"] == ("green", None)
    expected = {
        "stopped": ("red", "has been stopped for "), "killed": ("red", "exit code 137"),
        "sick": ("red", "runs and is unhealthy (its check failed "), "paused": ("red", "has been paused for "),
        "job": ("amber", "ended well"), "loops": ("red", "ends again and again, "),
        "scaled": ("amber", "1 of 2 replicas are well, one has been stopped"),
    }  # fmt: skip
    for name, (level, words) in expected.items():
        assert said[name][0] == level and words in (said[name][1] or ""), (name, said[name])
    assert "exit code 7" in said["sick"][1]
    assert status["verdict"]["level"] == "red" and len(said) == len(expected) + 1

    only = told(PROJECT, services=["well", "gone"])
    assert [reason for reason in reasons(only) if "paused" in reason] == []
    assert reasons(only) == ["gone: is expected and not there"]


def test_a_project_that_is_not_there_is_red(containers: None) -> None:
    status = told(PROJECT, services=["well"])
    assert reasons(status) == ["well: is expected and not there"]
    assert reasons(told(PROJECT)) == ["services: there are none"]


@pytest.mark.parametrize("name", ["erni", "sme"])
def test_a_real_system_on_one_screen(request: pytest.FixtureRequest, name: str, tmp_path: Path) -> None:
    system: System = request.getfixturevalue(name)
    assert protect(system, "backup.yml").returncode == 0
    report = tmp_path / "status.json"
    run = protect(system, "status.yml", "-e", f"status_report_file={report}", "--check")
    assert run.returncode == 0 and run.counts()["changed"] == 0, run.failures()
    status = json.loads(report.read_text())
    assert status["verdict"]["level"] in ("green", "amber")
    assert [(found["object"], found["level"]) for found in status["services"]] == [
        (service, "green") for service in sorted(system.services)
    ]
    assert all(found["level"] == "green" and found["status"] == 200 for found in status["endpoints"])
    assert all(found["newest"] and found["level"] == "green" for found in status["backups"])
    (screen,) = run.named("| screen")
    lines = screen["msg"].splitlines()
    assert len(lines) <= 50 and max(map(len, lines)) <= 90
