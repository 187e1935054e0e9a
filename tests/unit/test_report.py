# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What operators and Prometheus read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.runbook.ops.plugins.module_utils._durations import human_duration
from ansible_collections.runbook.ops.plugins.module_utils._protect.report import (
    backup_table,
    calendar,
    concern,
    database_line,
    human_size,
    metrics,
)
from ansible_collections.runbook.ops.plugins.modules.backup_info import says

NEWEST = {
    "id": "20260301T020000Z-00000000",
    "started_at": "2026-03-01T02:00:00Z",
    "seconds": 41,
    "size": 168400123,
    "verified": None,
}
PASSED = {
    "id": NEWEST["id"],
    "result": "passed",
    "method": "restore",
    "verified_at": "2026-03-01T03:10:00Z",
    "restore_seconds": 8.9,
}
STORE = {"store": "local:/backups", "away": None, "unreadable": [], "future": [], "in_progress": [], "stale": []}
DATABASE: dict[str, Any] = {
    "engine": "postgresql", "database": "erni_agents", "newest": NEWEST, "age_seconds": 3700, "rpo_met": True,
    "rpo_seconds": 86400, "last_verified_at": "2026-03-01T03:10:00Z", "verification": PASSED, "rto_met": True,
    "next_backup": "2026-03-02T02:00:00Z", "stores": [STORE], "due": {"backup": None, "copy": None, "verification": None},
}  # fmt: skip


def row(day: str, verified: str | None = None, store: str = "local:/backups", **values: Any) -> dict[str, Any]:
    return {
        "store": store, "engine": "postgresql", "database": "erni_agents", "id": f"{day.replace('-', '')}T020000Z-00000000",
        "label": "scheduled", "started_at": f"{day}T02:00:00Z", "age_seconds": 60, "size": 2048, "storage_class": None,
        "verified": verified, "verified_by": verified and "restore",
        "kept_by": ["daily " + day], "kept_until": "2026-03-31T02:00:00Z", **values,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, "newest good backup is 1h 1m old (161 MiB), verified 2026-03-01 03:10Z (restored in 8.9s), next slot"),
        ({"rpo_met": False}, "OLDER THAN ITS RPO"),
        ({"rto_met": False}, "SLOWER THAN ITS RTO"),
        ({"verification": None}, "never verified"),
        (
            {"verification": {**PASSED, "result": "failed", "reason": "bytes changed"}},
            "LAST VERIFICATION FAILED (bytes changed)",
        ),
        (
            {"verification": {**PASSED, "method": "checksum", "restore_seconds": None}},
            "bytes confirmed 2026-03-01 03:10Z, NOT RESTORED (this host has no key), next slot",
        ),
        (
            {"verification": {**PASSED, "id": "20260222T020000Z-00000000", "verified_at": "2026-02-22T03:10:00Z"}},
            "itself not verified yet (20260222T020000Z-00000000: verified 2026-02-22 03:10Z (restored in 8.9s)), next",
        ),
        ({"newest": None}, "NO GOOD BACKUP"),
        ({"next_backup": None}, "no schedule, so only what is asked for is taken"),
        (
            {"due": {"backup": "the slot has none", "copy": None, "verification": None}},
            "BACKUP DUE (the slot has none)",
        ),
        ({"stores": [{**STORE, "unreadable": ["x is not JSON."]}]}, "local:/backups UNREADABLE: x is not JSON."),
        ({"stores": [{**STORE, "future": ["2030"]}]}, "2030 dated in the future"),
        (
            {"stores": [STORE, {**STORE, "store": "s3:b", "away": "No route."}]},
            "next slot 2026-03-02 02:00Z, s3:b UNREACHABLE",
        ),
        ({"newest": None, "stores": [{**STORE, "away": "No route."}]}, "NO STORE CAN BE REACHED"),
        (
            {
                "stores": [
                    {**STORE, "in_progress": [{"id": "i", "purpose": "write", "owner": "h:1", "done_bytes": 3 << 20}]}
                ]
            },
            "write of i to local:/backups is running on h:1 (3.0 MiB so far)",
        ),
    ],
)
def test_a_database_in_a_line(change: dict[str, Any], says: str) -> None:
    assert says in database_line({**DATABASE, **change})


FAILED = {**PASSED, "id": "20260302T020000Z-00000000", "result": "failed", "restored_from": "s3:b"}
OLDER = {**FAILED, "id": "20260222T020000Z-00000000"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, ""),
        ({"verification": None}, ""),
        ({"verification": FAILED}, "erni_agents 20260302T020000Z-00000000 failed its verification and counts for nothing"),
        ({"verification": {**FAILED, "id": NEWEST["id"]}}, "20260301T020000Z-00000000 failed its verification in s3:b: back"),
        ({"verification": FAILED, "newest": None}, "backup.yml -e backup_label=manual takes a new one"),
        ({"verification": OLDER}, "verify_backups.yml -e backup_verify_now=true, for postgresql/erni_agents 20260222T0"),
        ({"verification": OLDER, "newest": {**NEWEST, "verified": "passed"}}, ""),
        ({"due": {**DATABASE["due"], "verification": "the slot has none"}}, "verify_backups.yml, for a verification is due"),
        ({"stores": [STORE, {**STORE, "store": "s3:b", "future": ["x"]}]}, "dated in the future, of postgresql/erni_agents in s3:b"),
        ({"stores": [STORE, {**STORE, "store": "s3:b", "unreadable": ["x"]}]}, "mend or remove by hand what is unreadable"),
    ],
)  # fmt: skip
def test_what_no_scheduled_backup_mends_is_said(change: dict[str, Any], says: str) -> None:
    said = concern([DATABASE, {**DATABASE, **change}])
    assert says in said and bool(said) == bool(says)


def test_the_gravest_is_said_and_the_others_are_counted() -> None:
    failed = {**DATABASE, "verification": FAILED}
    assert concern([failed]).endswith("proves it.")
    unreadable = {**failed, "stores": [STORE, {**STORE, "store": "s3:b", "unreadable": ["x"]}]}
    said = concern([{**DATABASE, "due": {**DATABASE["due"], "verification": "why"}}, unreadable])
    assert said.startswith("postgresql/erni_agents 2026") and said.endswith(
        " Not the only concern (3 in all): list_backups.yml tells the others."
    )


def test_the_table_puts_copies_side_by_side() -> None:
    rows = [
        row("2026-03-01"),
        row("2026-03-01", "passed", "s3:bucket", storage_class="GLACIER"),
        row("2026-02-28", label="manual"),
    ]
    table = backup_table([{**DATABASE, "stores": [STORE, {**STORE, "store": "s3:bucket"}]}], rows)
    lines = table.splitlines()
    assert lines[1].split() == ["2026-03", "#" + "." * 30] and lines[2].split() == ["2026-02", "." * 27 + "o..."]
    assert lines[3].split()[:3] == ["BACKUP", "AGE", "SIZE"]
    assert "restored" in lines[4] and "local s3(GLACIER)" in lines[4] and lines[4].endswith("2026-03-31")
    assert "manual" in lines[5]
    assert lines[-1].startswith("# restored")
    assert backup_table([DATABASE], []) == database_line(DATABASE)


def test_bytes_that_were_confirmed_are_no_proved_restore() -> None:
    rows = [row("2026-03-01", "passed", verified_by="checksum"), row("2026-02-28", "passed")]
    lines = backup_table([DATABASE], rows).splitlines()
    assert lines[1].split()[1][0] == "=" and lines[2].split()[1][27] == "#"
    assert "bytes only" in lines[4] and "restored" in lines[5]
    both = [rows[0], {**rows[0], "store": "s3:bucket", "verified_by": "restore"}]
    assert "restored" in backup_table([DATABASE], both).splitlines()[3]


def test_the_calendar_marks_the_best_of_a_day() -> None:
    rows = [row("2026-02-03", "failed"), row("2026-02-03"), row("2026-02-04", "failed"), row("2025-12-31", "passed")]
    assert calendar(rows) == ["  2026-02 ..ox" + "." * 27, "  2025-12 " + "." * 30 + "#"]


def test_metrics_are_timestamps_in_prometheus_text() -> None:
    text = metrics([DATABASE, {**DATABASE, "database": 'q"\n', "newest": None, "verification": None}], "erni")
    sample = 'runbook_backup_last_success_timestamp_seconds{system="erni",engine="postgresql",database="erni_agents"} 1772330441'
    assert sample in text.splitlines()
    assert 'runbook_backup_verified{system="erni",engine="postgresql",database="erni_agents"} 1' in text.splitlines()
    assert 'database="q\\"\\n"' in text and "age_seconds" not in text
    for line in text.splitlines():
        assert line.startswith(("# HELP runbook_backup_", "# TYPE runbook_backup_", "runbook_backup_"))


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")])
def test_sizes(size: int, text: str) -> None:
    assert human_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.29, "0.3s"), (59, "59s"), (125, "2m"), (3600, "1h"), (3 * 86400 + 4 * 3600, "3d 4h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def test_the_alert_rules_name_gauges_that_are_written() -> None:
    rules = Path(__file__).parents[2] / "roles" / "backup" / "files" / "backup.rules.yml"
    alerts = [rule for group in yaml.safe_load(rules.read_text())["groups"] for rule in group["rules"]]
    named = {name for rule in alerts for name in re.findall(r"runbook_\w+", rule["expr"])}
    written = set(re.findall(r"^(runbook_\w+)\{", metrics([DATABASE], "erni"), flags=re.M))
    assert "BackupFailed" in [rule["alert"] for rule in alerts] and named and named <= written


@pytest.mark.parametrize(
    ("content", "mode", "current"),
    [
        (b"a 1\n", 0o644, True),
        (b"a 1\n", 0o600, False),
        (b"a 2\n", 0o644, False),
        (b"a 1", 0o644, False),
        (b"\xff", 0o644, False),
    ],
)
def test_metrics_are_current_where_whoever_scrapes_them_reads_just_these(
    tmp_path: Path, content: bytes, mode: int, current: bool
) -> None:
    path = tmp_path / "metrics.prom"
    path.write_bytes(content)
    path.chmod(mode)
    assert says(str(path), "a 1\n") is current


@pytest.mark.parametrize("path", [None, "", "/nowhere/metrics.prom", "/"])
def test_metrics_that_are_nowhere_are_not_current(path: str | None) -> None:
    assert says(path, "a 1\n") is False
