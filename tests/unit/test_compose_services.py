# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Engine says of a container, in words that fit every platform."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._runtime._compose_services import replica_of


def container(**changes: Any) -> dict[str, Any]:
    """As the Engine 20.10 answers."""
    state = {
        "Status": "running", "ExitCode": 0, "OOMKilled": False, "StartedAt": "2026-03-01T10:00:00.054182609Z",
        "FinishedAt": "0001-01-01T00:00:00Z", "Health": {"Status": "healthy", "FailingStreak": 0, "Log": []},
    }  # fmt: skip
    configuration = {"Image": "erni-backend:1.4", "Healthcheck": changes.pop("check", {"Test": ["CMD", "true"]})}
    policy = {"RestartPolicy": {"Name": changes.pop("policy", "unless-stopped")}}
    return {
        "Name": "/erni-backend", "RestartCount": 0, "State": {**state, **changes}, "Config": configuration, "HostConfig": policy,
    }  # fmt: skip


ENDED = {"Status": "exited", "FinishedAt": "2026-03-01T11:00:00Z"}


@pytest.mark.parametrize(
    ("changes", "state", "health", "detail"),
    [
        ({}, "running", "healthy", ""),
        ({"Health": None}, "running", "unchecked", ""),
        ({"Health": {"Status": "none"}}, "running", "unchecked", ""),
        ({"Health": {"Status": "starting"}}, "running", "starting", ""),
        ({"Health": {"Status": "unhealthy", "FailingStreak": 4, "Log": [{"ExitCode": 22, "Output": "secret"}]}}, "running", "unhealthy",
         "its check failed 4 times, exit code 22"),
        ({"Status": "paused"}, "paused", "unchecked", ""),
        ({"Status": "created", "StartedAt": "0001-01-01T00:00:00Z"}, "starting", "unchecked", ""),
        ({"Status": "restarting", "ExitCode": 1, **{"FinishedAt": ENDED["FinishedAt"]}}, "restarting", "unchecked", "exit code 1"),
        ({**ENDED, "ExitCode": 137}, "stopped", "unchecked", "exit code 137"),
        ({**ENDED, "ExitCode": 137, "OOMKilled": True}, "stopped", "unchecked", "killed for want of memory"),
        (ENDED, "stopped", "unchecked", "exit code 0"),
        ({**ENDED, "check": None}, "stopped", "unchecked", "exit code 0"),
        ({**ENDED, "policy": "no"}, "stopped", "unchecked", "exit code 0"),
        ({**ENDED, "policy": "no", "check": None}, "completed", "unchecked", ""),
        ({**ENDED, "policy": "no", "check": None, "ExitCode": 1}, "stopped", "unchecked", "exit code 1"),
    ],
)  # fmt: skip
def test_a_container_in_field_terms(changes: dict[str, Any], state: str, health: str, detail: str) -> None:
    found = replica_of(container(**changes), "sha256:ab")
    assert (found.name, found.state, found.health, found.detail) == ("erni-backend", state, health, detail)
    assert "secret" not in repr(found)
