# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict: what each thing that can be found means, why, and what to do about it; and the screen that says so."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import InputError, PlatformError
from ansible_collections.runbook.ops.plugins.module_utils._runtime.local import LocalRuntime
from ansible_collections.runbook.ops.plugins.module_utils._runtime.releases import Event, Release
from ansible_collections.runbook.ops.plugins.module_utils._runtime.services import Replica, Service
from ansible_collections.runbook.ops.plugins.module_utils._scheduling.records import Run
from ansible_collections.runbook.ops.plugins.module_utils._status import look
from ansible_collections.runbook.ops.plugins.module_utils._status.backups import (
    judge_database,
    judge_schedules,
    judge_stores,
)
from ansible_collections.runbook.ops.plugins.module_utils._status.disks import Disk, disks, judge_disk
from ansible_collections.runbook.ops.plugins.module_utils._status.endpoints import (
    Answer,
    Endpoint,
    endpoints_of,
    judge_endpoint,
)
from ansible_collections.runbook.ops.plugins.module_utils._status.finding import Finding, Level, verdict
from ansible_collections.runbook.ops.plugins.module_utils._status.look import Look, file_systems, services, take
from ansible_collections.runbook.ops.plugins.module_utils._status.releases import judge_events, judge_releases
from ansible_collections.runbook.ops.plugins.module_utils._status.screen import WIDTH, headline, screen
from ansible_collections.runbook.ops.plugins.module_utils._status.services import judge_services

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)


def replica(**values: Any) -> Replica:
    usual: dict[str, Any] = {
        "name": "erni-backend", "state": "running", "health": "healthy", "image": "erni-backend:1.4", "digest": "sha256:" + "ab" * 32,
        "restarts": 0, "since": NOW - timedelta(hours=2), "detail": "",
    }  # fmt: skip
    return Replica(**{**usual, **values})


def service(*replicas: Replica, name: str = "backend") -> Service:
    return Service(name, replicas or (replica(),))


WELL, DOWN = replica(), replica(state="stopped", detail="exit code 137", since=NOW - timedelta(minutes=2))


@pytest.mark.parametrize(
    ("found", "level", "reason"),
    [
        (service(), "green", ""),
        (service(replica(health="unchecked")), "green", ""),
        (service(DOWN), "red", "has been stopped for 2m (exit code 137)"),
        (service(replica(state="stopped", since=None)), "red", "has been stopped"),
        (service(replica(state="restarting", restarts=7)), "red", "ends again and again, 7 restarts"),
        (service(replica(state="paused")), "red", "has been paused for 2h"),
        (service(replica(health="unhealthy")), "red", "runs and is unhealthy"),
        (service(replica(health="starting")), "amber", "is starting"),
        (service(replica(state="starting", health="unchecked")), "amber", "is starting"),
        (service(replica(restarts=1, since=NOW - timedelta(minutes=9))), "amber", "runs for 9m only, after 1 restart by"),
        (service(replica(restarts=1, since=NOW - timedelta(minutes=10))), "green", ""),
        (service(replica(since=NOW - timedelta(seconds=5))), "green", ""),
        (service(replica(state="completed", health="unchecked")), "amber", "ended well and has been gone for 2h"),
        (service(WELL, WELL), "green", ""),
        (service(WELL, DOWN), "amber", "1 of 2 replicas are well, one has been stopped"),
        (service(DOWN, DOWN), "red", "0 of 2 replicas are well, one has been stopped"),
        (service(WELL, replica(health="starting")), "amber", "1 of 2 replicas are well, one is starting"),
        (Service("backend", ()), "red", "has no replica"),
    ],
)  # fmt: skip
def test_a_service(found: Service, level: str, reason: str) -> None:
    (judged,) = judge_services([found], [], NOW)
    assert judged.level.word == level and reason in judged.reason and bool(judged.reason) == bool(reason)
    assert bool(judged.remedy) == bool(reason)


def test_a_service_that_is_expected_and_not_there_is_red_and_others_count_for_nothing() -> None:
    there, other = service(), service(DOWN, name="old")
    judged = judge_services([there, other], ["backend", "worker"], NOW)
    assert [(found.object, found.level.word) for found in judged] == [
        ("worker", "red"), ("backend", "green"), ("old", "green"),
    ]  # fmt: skip
    assert "there are: backend, old" in judged[0].remedy and judged[2].facts["expected"] is False


def test_a_job_that_ended_is_red_where_it_was_to_run() -> None:
    job = service(replica(state="completed", health="unchecked"))
    assert [found.level.word for found in judge_services([job], ["backend"], NOW)] == ["red"]


@pytest.mark.parametrize(
    ("answer", "level", "reason"),
    [
        (Answer(0.01, 200), "green", ""),
        (Answer(2.0, 200), "green", ""),
        (Answer(2.1, 200), "amber", "took 2.1 s, over 2 s"),
        (Answer(0.01, 500), "red", "answers 500, not 200"),
        (Answer(0.01, 301), "red", "answers 301, not 200"),
        (Answer(5.0, error="no answer in 5 s"), "red", "no answer in 5 s"),
        (Answer(0.01), "green", ""),
    ],
)
def test_an_endpoint(answer: Answer, level: str, reason: str) -> None:
    judged = judge_endpoint(Endpoint("health", "http://x/health", 200, 5), answer)
    assert (judged.level.word, judged.reason) == (level, reason)


ENDPOINT: dict[str, Any] = {"name": "health", "url": "https://erni-gruppe.ch/health", "expect": 200, "timeout": "5s"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"url": "erni-gruppe.ch"}, "endpoints[0].url is 'erni-gruppe.ch': write an address such as"),
        ({"url": "ftp://erni-gruppe.ch"}, "endpoints[0].url is"),
        ({"url": "tcp://erni-gruppe.ch"}, "endpoints[0].url is"),
        ({"url": "http://erni-gruppe.ch:eighty/"}, "endpoints[0].url is"),
        ({"url": "http://erni-gruppe.ch/a b"}, "endpoints[0].url is"),
        ({"url": "http://erni-gruppe.ch/\r\nX: y"}, "endpoints[0].url is"),
        ({"url": "https://user:secret@erni-gruppe.ch/"}, "endpoints[0].url holds an account"),
        ({"expect": 20}, "endpoints[0].expect is 20, which is no HTTP status"),
        ({"timeout": "soon"}, "endpoints[0].timeout is 'soon', which is no positive duration"),
        ({"timeout": "5m"}, "endpoints[0].timeout is '5m', too long for a status: give at most 60s"),
        ({"url": "http://x/", "ca_file": "/ca.crt"}, "endpoints[0].ca_file means nothing for http"),
    ],
)
def test_a_mistake_in_an_endpoint_is_named(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as error:
        endpoints_of([{**ENDPOINT, **change}])
    assert sentence in str(error.value) and "secret" not in str(error.value)


def test_endpoints_have_names_of_their_own() -> None:
    with pytest.raises(InputError, match=r"endpoints\[1\].name is a second health"):
        endpoints_of([ENDPOINT, ENDPOINT])


@pytest.mark.parametrize(
    ("percent", "level", "reason"),
    [
        (0, "green", ""),
        (79, "green", ""),
        (80, "amber", "is 80% full, 80% or more"),
        (90, "amber", "is 90% full, 80% or more"),
        (91, "red", "is 91% full, over 90%"),
        (100, "red", "is 100% full, over 90%"),
    ],
)
def test_a_disk(percent: int, level: str, reason: str) -> None:
    judged = judge_disk(Disk("/", percent << 30, 100 - percent << 30))
    assert (judged.level.word, judged.reason) == (level, reason)


def test_a_file_system_is_told_once_and_for_what_is_yet_to_be_made() -> None:
    (only,) = disks(["/", "/a directory/that/nobody made", "/"])
    assert only.path == "/" and only.available > 0


STORE: dict[str, Any] = {
    "store": "local:/backups", "away": None, "backups": 3, "bytes": 300, "unreadable": [], "future": [], "in_progress": [], "stale": [],
}  # fmt: skip
DATABASE: dict[str, Any] = {
    "engine": "postgresql", "database": "erni_agents",
    "newest": {
        "id": "20260301T020000Z-00000000", "started_at": "2026-03-01T02:00:00Z", "seconds": 41, "size": 168400123,
        "verified": "passed",
    },
    "age_seconds": 36000, "rpo_met": True, "rpo_seconds": 86400, "last_verified_at": "2026-03-01T03:10:00Z",
    "verification": {"result": "passed", "method": "restore", "verified_at": "2026-03-01T03:10:00Z"}, "rto_met": True,
    "next_backup": "2026-03-02T02:00:00Z", "stores": [STORE], "due": {"backup": None, "copy": None, "verification": None},
}  # fmt: skip
AWAY = {**STORE, "store": "s3:erni", "away": "s3:erni: no route to host.", "backups": 0, "bytes": 0}
TAKING = {**STORE, "in_progress": [{"id": "i"}]}
NONE = {"newest": None, "age_seconds": None, "rpo_met": False, "verification": None, "last_verified_at": None}


@pytest.mark.parametrize(
    ("change", "level", "reason", "remedy"),
    [
        ({}, "green", "", ""),
        (NONE, "red", "there is no good backup", "backup.yml takes one"),
        ({**NONE, "stores": [AWAY]}, "red", "no good backup in any store that can be reached", "bring the store back"),
        ({"stores": [STORE, AWAY]}, "green", "", ""),
        ({"age_seconds": 180000, "rpo_met": False}, "red", "the newest good backup is 2d 2h old, over its RPO of 1d", "schedule.yml"),
        ({"age_seconds": 180000, "rpo_met": False, "stores": [TAKING]}, "amber", "2d 2h old", "look again when it has ended"),
        ({"rpo_met": None, "age_seconds": 180000}, "green", "", ""),
        ({"verification": {"result": "failed", "reason": "bytes changed"}}, "red", "failed: bytes changed", "verify_backups.yml"),
        ({"rto_met": False}, "amber", "the last restore took longer than its RTO", "verify_backups.yml"),
    ],
)  # fmt: skip
def test_a_database(change: dict[str, Any], level: str, reason: str, remedy: str) -> None:
    judged = judge_database({**DATABASE, **change})
    assert judged.level.word == level and reason in judged.reason and remedy in judged.remedy
    assert bool(judged.reason) == bool(reason) == bool(judged.remedy)


def test_a_store_is_told_once_with_what_all_databases_have_there() -> None:
    databases = [{**DATABASE, "stores": [STORE, AWAY]}, {**DATABASE, "database": "other", "stores": [STORE, AWAY]}]
    local, s3 = judge_stores(databases)
    assert (local.level, local.facts) == (Level.GREEN, {"backups": 6, "bytes": 600})
    assert (s3.level, s3.reason) == (Level.AMBER, "cannot be reached: no route to host")


@pytest.mark.parametrize("odd", [{"unreadable": ["x is not JSON."]}, {"future": ["20990101T000000Z-00000000"]}])
def test_what_cannot_be_right_in_a_store_is_amber(odd: dict[str, Any]) -> None:
    databases = [{**DATABASE, "stores": [{**STORE, **odd}]}, {**DATABASE, "database": "other"}]
    (found,) = judge_stores(databases)
    assert found.level == Level.AMBER and ("not JSON" in found.reason or "dated in the future" in found.reason)


def run(**values: Any) -> Run:
    usual = {
        "system": "erni", "job": "backup", "slots": ("0 2 * * *",), "since": NOW - timedelta(days=30),
        "started_at": NOW - timedelta(hours=10), "finished_at": NOW - timedelta(hours=9), "exit_code": 0,
    }  # fmt: skip
    return Run(**{**usual, **values})


DUE = {**DATABASE, "due": {**DATABASE["due"], "backup": "the slot of 2026-03-01T02:00:00Z has no backup yet"}}


@pytest.mark.parametrize(
    ("database", "runs", "level", "reason"),
    [
        (DATABASE, [], "green", ""),
        (DATABASE, [run()], "green", ""),
        (DUE, [], "amber", "is due for postgresql/erni_agents: the slot of 2026-03-01T02:00:00Z has no backup yet"),
        (DUE, [run(running=True)], "green", ""),
        ({**DUE, "stores": [TAKING]}, [], "green", ""),
        (DATABASE, [run(exit_code=2, reason="s3:erni is full.")], "amber", "failed: s3:erni is full"),
        (DATABASE, [run(finished_at=None)], "amber", "interrupted: the run was cut off"),
        (DATABASE, [run(started_at=NOW - timedelta(days=2))], "amber", "missed: nothing ran for the slot"),
    ],
)
def test_a_schedule(database: dict[str, Any], runs: list[Run], level: str, reason: str) -> None:
    (judged,) = judge_schedules([database], {"backup": "0 2 * * *"}, runs, NOW)
    assert judged.object == "backup" and judged.level.word == level and reason in judged.reason
    assert bool(judged.reason) == bool(reason)
    assert ("schedule.yml" in judged.remedy) == (not runs or level == "amber"), (
        "what nobody runs is told even where all is well"
    )


def test_every_job_has_its_next_slot() -> None:
    schedules = {"backup": "0 2 * * *", "copy": None, "verify": "0 4 1 * *", "prune": "30 4 * * *"}
    own = {**DATABASE, "database": "cache", "next_backup": "2026-03-01T13:00:00Z"}
    found = judge_schedules([DATABASE, own], schedules, [], NOW)
    assert {finding.object: finding.facts["next"] for finding in found} == {
        "backup": "2026-03-01T13:00:00Z", "verify": "2026-04-01T04:00:00Z", "prune": "2026-03-02T04:30:00Z",
    }  # fmt: skip


def test_a_job_s_last_success_is_that_of_the_database_that_waits_longest() -> None:
    schedules = {"backup": "0 2 * * *", "verify": "0 4 1 * *"}
    older = {**DATABASE, "newest": {**DATABASE["newest"], "started_at": "2026-02-27T02:00:00Z"}}
    for other, backup, verify in (
        (older, "2026-02-27T02:00:00Z", "2026-03-01T03:10:00Z"),
        ({**DATABASE, "last_verified_at": None}, "2026-03-01T02:00:00Z", None),
        ({**DATABASE, **NONE}, None, None),
    ):
        told = {f.object: f.facts["last_success"] for f in judge_schedules([DATABASE, other], schedules, [], NOW)}
        assert told == {"backup": backup, "verify": verify}


GREEN, AMBER, RED = (
    Finding("a"), Finding("b", Level.AMBER, "is slow", "wait"), Finding("c", Level.RED, "is down", "start it"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("findings", "level", "light", "reasons"),
    [
        ([], "green", "🟢", []),
        ([GREEN], "green", "🟢", []),
        ([GREEN, AMBER], "amber", "🟠", ["b: is slow"]),
        ([Finding("a", remedy="install it")], "green", "🟢", []),
        ([AMBER, RED, GREEN], "red", "🔴", ["c: is down", "b: is slow"]),
        ([RED, Finding("d", Level.RED, "is down", "start it")], "red", "🔴", ["c, d: is down"]),
    ],
)
def test_the_worst_is_the_verdict(findings: list[Finding], level: str, light: str, reasons: list[str]) -> None:
    told = verdict(findings)
    assert (told["level"], told["light"], told["reasons"]) == (level, light, reasons)


def release(status: str, **ago: float) -> Release:
    return Release("neuroerp", 7, status, NOW - timedelta(**ago))


def event(**ago: float) -> Event:
    return Event("Pod/db-0", "BackOff", "Back-off restarting failed container", 4, NOW - timedelta(**ago))


STUCK, WARNED = release("pending-upgrade", hours=1), event(minutes=3)


@pytest.mark.parametrize(
    ("found", "expected", "levels", "reason"),
    [
        ([], None, [], None),
        ([], "neuroerp", ["red"], "is no Helm release here"),
        ([release("deployed", days=3)], "neuroerp", ["green"], ""),
        ([release("deployed", days=3)], "other", ["red", "green"], "is no Helm release here"),
        ([release("pending-upgrade", minutes=2)], None, ["amber"], "is pending-upgrade for 2m"),
        ([STUCK], None, ["red"], "has been pending-upgrade for 1h: the Helm that did it was interrupted"),
        ([release("failed", hours=1)], None, ["red"], "failed to be deployed, revision 7"),
        ([Release("neuroerp", 7, "superseded", None)], None, ["red"], "is superseded, revision 7"),
    ],
)
def test_releases(found: list[Release], expected: str | None, levels: list[str], reason: str | None) -> None:
    judged = judge_releases(found, expected, NOW)
    assert [finding.level.word for finding in judged] == levels
    assert next((finding.reason for finding in judged), None) == reason
    assert all(finding.remedy for finding in judged if finding.level)


def test_a_warning_is_amber_while_it_is_fresh_and_the_newest_are_shown() -> None:
    (fresh,), (old,) = judge_events([WARNED], NOW), judge_events([event(minutes=11)], NOW)
    assert (fresh.level.word, fresh.reason) == ("amber", "BackOff, 4 times: Back-off restarting failed container")
    assert fresh.remedy == "kubectl describe pod/db-0 tells all of it" and old.level.word == "green"
    many = [event(minutes=minutes) for minutes in range(60)]
    assert [finding.facts["age_seconds"] for finding in judge_events(many[::-1], NOW)] == [0, 60, 120, 180, 240]
    assert judge_events([Event("Pod/db-0", "BackOff", "", 1, None)], NOW) == []


def told(*, endpoint: Answer, replicas: tuple[Replica, ...] = (WELL,)) -> dict[str, Any]:
    sections = {
        "releases": judge_releases([STUCK], None, NOW),
        "events": judge_events([WARNED], NOW),
        "services": judge_services([service(*replicas), service(name="a-service-with-a-long-name")], [], NOW),
        "endpoints": [judge_endpoint(Endpoint("health", "http://localhost:8000/health", 200, 5), endpoint)],
        "disks": [judge_disk(Disk("/", 85 << 30, 15 << 30))],
        "backups": [judge_database(DATABASE), judge_database({**DATABASE, **NONE, "database": "other"})],
        "stores": judge_stores([{**DATABASE, "stores": [STORE, AWAY]}]),
        "schedules": judge_schedules([DUE], {"verify": "0 4 1 * *"}, [], NOW),
    }
    findings = [finding for section in sections.values() for finding in section]
    return {
        "system": "erni", "now": "2026-03-01T12:00:00Z", "verdict": verdict(findings),
        **{name: [finding.to_dict() for finding in section] for name, section in sections.items()},
    }  # fmt: skip


def test_the_screen_begins_with_the_verdict_and_ends_with_what_to_do() -> None:
    status = told(endpoint=Answer(0.012, 500), replicas=(DOWN,))
    lines = screen(status).splitlines()
    assert (
        lines[0] == "erni is RED, 2026-03-01 12:00Z"
        and lines[1] == "  - neuroerp: has been pending-upgrade for 1h: the Helm that did it was interrupted"
    )
    assert "  AMBER  Pod/db-0  3m ago  BackOff x4  Back-off restarting failed container" in lines
    assert [line.split() for line in lines if line.startswith("  RED")][:3] == [
        ["RED", "neuroerp", "pending-upgrade", "1h", "revision", "7"],
        ["RED", "backend", "stopped", "2m", "0", "restarts", "erni-backend:1.4", "abababababab"],
        ["RED", "health", "500", "12", "ms", "http://localhost:8000/health"],
    ]
    after = lines[lines.index("NEXT") + 1 :]
    assert any(line.startswith("  - backend: its log says why") for line in after) and any(
        "prune_backups.yml" in line for line in after
    )
    assert all(len(line) <= WIDTH and line == line.rstrip() for line in lines)
    assert all(ord(character) < 0x10000 for line in lines for character in line), "Ansible shows these as they are"


def test_a_backup_that_failed_its_verification_is_not_shown_as_a_verified_one() -> None:
    row = judge_database({**DATABASE, "verification": {"result": "failed", "reason": "bytes changed"}}).to_dict()
    status = {**told(endpoint=Answer(0.1, 200), replicas=(WELL,)), "backups": [row]}
    assert "FAILED; passed 2026-03-01 03:10Z" in screen(status)
    assert "FAILED" not in screen({**status, "backups": [judge_database(DATABASE).to_dict()]})


def test_the_proof_of_an_older_backup_is_not_shown_as_the_newest_ones() -> None:
    since = judge_database({**DATABASE, "newest": {**DATABASE["newest"], "verified": None}}).to_dict()
    status = {**told(endpoint=Answer(0.1, 200), replicas=(WELL,)), "backups": [since]}
    assert "an older one verified 2026-03-01 03:10Z" in screen(status)
    assert "an older one" not in screen({**status, "backups": [judge_database(DATABASE).to_dict()]})


def test_a_screen_of_many_replicas_names_each() -> None:
    text = screen(told(endpoint=Answer(0.1, 200), replicas=(WELL, replica(name="erni-backend-2", state="stopped"))))
    assert "erni-backend    " in text and "erni-backend-2  " in text


def test_the_headline_has_the_light_and_the_first_reason() -> None:
    assert headline(told(endpoint=Answer(0.1, 200), replicas=(DOWN,))).startswith(
        "🔴 erni is red: neuroerp: has been pending-upgrade"
    )
    calm = {"system": "erni", "verdict": verdict([GREEN])}
    assert headline(calm) == "🟢 erni is green: all is well"


def unseen(reason: str) -> list[Finding]:
    return [Finding("it", Level.RED, reason, "look")]


def test_a_look_that_fails_or_hangs_is_a_line_and_keeps_no_other_waiting() -> None:
    never = threading.Event()

    def refuse() -> list[Finding]:
        raise PlatformError("The Docker Engine does not run: start it.")

    def break_down() -> list[Finding]:
        raise ZeroDivisionError("a defect")

    def hang() -> list[Finding]:
        never.wait(30)
        return []

    began = time.monotonic()
    seen = take(
        {
            "hangs": Look(hang, 0.3, unseen),
            "refuses": Look(refuse, 5, unseen),
            "breaks": Look(break_down, 5, unseen),
            "well": Look(lambda: [GREEN], 5, unseen),
        }
    )
    assert time.monotonic() - began < 3
    never.set()
    assert {name: found[0].reason for name, found in seen.items()} == {
        "hangs": "no answer in 0.3 s", "refuses": "The Docker Engine does not run: start it",
        "breaks": "ZeroDivisionError: a defect", "well": "",
    }  # fmt: skip


class NoEngine(LocalRuntime):
    services = True

    def inspect_services(self) -> list[Service]:
        raise PlatformError("There is no Docker Engine here.")

    def directories(self) -> list[str]:
        raise PlatformError("There is no Docker Engine here.")


class Hanging(NoEngine):
    never = threading.Event()

    def directories(self) -> list[str]:
        self.never.wait(30)
        return []


def test_a_platform_that_hangs_keeps_no_disk_from_being_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "LOOK_SECONDS", 1.0)
    (seen,) = take({"disks": file_systems(Hanging(), ["/"])}).values()
    Hanging.never.set()
    assert [found.object for found in seen] == ["/"]


def test_without_a_platform_services_are_red_and_disks_are_still_seen() -> None:
    seen = take({"services": services(NoEngine(), []), "disks": file_systems(NoEngine(), ["/"])})
    assert [(found.level, found.reason) for found in seen["services"]] == [
        (Level.RED, "cannot be seen: There is no Docker Engine here")
    ]
    assert [found.object for found in seen["disks"]] == ["/"]
