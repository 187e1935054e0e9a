# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What befell a pod in which a program ran, in words: the first rule that holds is the one that tells most."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._runtime._kubectl import Kubectl
from ansible_collections.runbook.ops.plugins.module_utils._runtime._pods import Pod, fate

BEFORE = Pod(Kubectl.__new__(Kubectl), "ns", "db-0", "main", "uid-1", restarts=2)


def ended(code: int, reason: str = "Error") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason}}


def pod(
    *, uid: str = "uid-1", state: Any = None, last: Any = None, restarts: int = 2, meta: Any = (), **status: Any
) -> dict[str, Any]:
    container = {"name": "main", "state": state or {"running": {}}, "lastState": last or {}, "restartCount": restarts}
    return {"metadata": {"uid": uid, **dict(meta)}, "status": {"containerStatuses": [container], **status}}


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (pod(), None),
        (pod(last=ended(1)), None),  # an end of before the program
        (pod(uid="uid-2"), "was deleted, and another of its name is there"),
        (pod(state=ended(1)), "lost its container (Error, exit code 1)"),
        (pod(last=ended(3), restarts=3), "lost its container (Error, exit code 3)"),
        (pod(state=ended(137, "OOMKilled")), "was killed for want of memory (OOMKilled: its container's memory limit"),
        (pod(state=ended(137)), "was killed (exit code 137: mostly for want of memory, or by its probe)"),
        (pod(state=ended(137), meta={"deletionTimestamp": "2026-03-01T00:00:00Z"}), "was deleted"),
        (pod(reason="Evicted", message="disk"), "was evicted (disk)"),
        (pod(reason="DeadlineExceeded", phase="Failed"), "reached its deadline"),
        (pod(phase="Succeeded"), "ended (Succeeded)"),
    ],
)
def test_the_fate_of_a_pod(now: dict[str, Any], told: str | None) -> None:
    found = fate(BEFORE, now)
    assert (found is None) if told is None else (found or "").startswith(told), found
