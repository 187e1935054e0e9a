# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a job's run went, by what its cluster says."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._scheduling._kubernetes import observed
from ansible_collections.runbook.ops.plugins.module_utils._scheduling._kubernetes.objects import Wanted
from support.cronjobs import EARLIER, NOW, TODAY, cronjob, job, made, pod


def ended(**terminated: Any) -> dict[str, Any]:
    return pod({"containerStatuses": [{"state": {"terminated": terminated}}]})


def waits(reason: str) -> dict[str, Any]:
    return pod({"containerStatuses": [{"state": {"waiting": {"reason": reason, "message": "no such image"}}}]})


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
