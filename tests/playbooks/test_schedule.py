# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schedules below a directory that stands in for a host's root: predicted, installed, changed, removed, and the page about it."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import ROOT, ended
from support.playbook import Demo, Run, differences, play, tree, write_inventory

PAGE = ROOT / "docs/scheduling.md"
SECRET = "of-the-{{ shop }}"


@dataclass(frozen=True)
class Host:
    """A root with systemd, as far as its files go."""

    place: Path

    @property
    def root(self) -> Path:
        return self.place / "root"

    def variables(self, name: str = "shop", **changes: Any) -> dict[str, Any]:
        """What jobs would do is not the matter here, so a directory is all they back up to."""
        return {
            "runbook_system": name,
            "schedule_root": str(self.root),
            "runbook_databases": [
                {
                    "engine": "postgresql",
                    "name": "shop",
                    "host": "127.0.0.1",
                    "user": "shop",
                    "password": "{{ lookup('env', 'SHOP') }}",
                },
                {"engine": "redis", "name": "cache", "host": "127.0.0.1", "schedule": "0 3 * * *"},
            ],
            "runbook_stores": [{"type": "local", "path": str(self.place / "backups")}],
            "runbook_schedules": {"backup": "0 2 * * *", "prune": "30 4 * * *"},
            "runbook_policy": {"daily": {"within": "30d"}},
            "runbook_metrics_file": "/metrics/runbook.prom",
            "runbook_cache_dir": str(self.place / "cache"),
            **changes,
        }

    def play(self, *arguments: str, name: str = "shop", **changes: Any) -> Run:
        inventory = write_inventory(self.place / f"inventory-{name}", {name: self.variables(name, **changes)})
        run = play("schedule.yml", *arguments, inventory=inventory, SHOP=SECRET)
        assert run.returncode == 0, run.failures()
        return run

    def read(self, path: str) -> str:
        return (self.root / path).read_text()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    made = Host(tmp_path_factory.mktemp("host"))
    (made.root / "run/systemd/system").mkdir(parents=True)
    (made.root / "etc/systemd/system").mkdir(parents=True)
    (made.root / "etc/systemd/system/theirs.timer").write_text("theirs")
    return made


def test_a_check_run_tells_what_the_real_run_does(host: Host) -> None:
    before = tree(host.root)
    predicted = host.play("--check", "--diff")
    assert tree(host.root) == before
    done = host.play("--diff")
    assert differences(predicted, done) == []
    assert {"install", "link", "claim"} == done.kinds()
    again = host.play("--diff")
    assert (again.counts()["changed"], again.actions()) == (0, [])
    told = json.dumps([predicted.told, done.told, again.told])
    assert "of-the-" not in told


def test_what_is_installed(host: Host) -> None:
    units = sorted(path.name for path in (host.root / "etc/systemd/system").glob("runbook-*"))
    assert units == [f"runbook-shop-{job}.{kind}" for job in ("backup", "prune") for kind in ("service", "timer")]
    timer = host.read("etc/systemd/system/runbook-shop-backup.timer")
    assert re.findall("OnCalendar=(.*)", timer) == ["*-*-* 02:00:00 UTC", "*-*-* 03:00:00 UTC"]
    inventory = host.root / "etc/runbook.ops/shop/inventory.yml"
    assert inventory.stat().st_mode & 0o777 == 0o600
    holders = [
        path
        for path in host.root.rglob("*")
        if path.is_file() and "environments" not in path.parts and b"of-the-" in path.read_bytes()
    ]
    assert holders == [inventory]
    assert "runbook_schedule_next_run_timestamp_seconds" in host.read("metrics/runbook-schedule-shop.prom")
    jobs = json.loads(host.read("etc/runbook.ops/shop/schedule.json"))["jobs"]
    assert jobs == {"backup": ["0 2 * * *", "0 3 * * *"], "prune": ["30 4 * * *"]}


def test_the_inventory_comes_to_what_was_described(host: Host) -> None:
    """In Ansible's own eyes: the password with braces in it is no template."""
    result = ended("ansible-inventory", "-i", str(host.root / "etc/runbook.ops/shop/inventory.yml"), "--host", "shop")
    told = json.loads(result.stdout)
    assert SECRET in json.dumps(told["runbook_databases"][0]["password"])
    assert told["runbook_schedules"] == {"backup": "0 2 * * *", "prune": "30 4 * * *"}


def test_a_change_is_told_by_what_changes(host: Host) -> None:
    schedules = {"backup": "0 1 * * *", "verify": "0 4 1 * *"}
    predicted = host.play("--check", "--diff", runbook_schedules=schedules)
    done = host.play("--diff", runbook_schedules=schedules)
    assert differences(predicted, done) == []
    told = "\n".join(done.actions())
    assert "- OnCalendar=*-*-* 02:00:00 UTC; + OnCalendar=*-*-* 01:00:00 UTC" in told
    assert "runbook-shop-prune.timer: it is no longer wanted" in told and "of-the-" not in told
    assert not (host.root / "etc/systemd/system/runbook-shop-prune.timer").exists()
    host.play()


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "hour": ({"runbook_schedules": {"backup": "0 25 * * *"}}, "runbook_schedules.backup is '0 25 * * *', whose hour '25'"),
    "shorthand": ({"runbook_schedules": {"backup": "@daily"}}, "no five-field cron expression"),
    "job": ({"runbook_schedules": {"backup": "0 2 * * *", "purge": "0 3 * * *"}}, "purge"),
    "no_backup": ({"runbook_schedules": {}}, "runbook_schedules.backup is not set"),
    "password": (
        {"runbook_databases": [{"engine": "redis", "name": "c", "host": "h", "password": ""}]},
        "runbook_databases[0].password is empty",
    ),
    "root": ({"schedule_root": "/nowhere/at/all"}, "runs neither systemd nor cron"),
    "wheels": ({"schedule_wheels": "/nowhere/at/all"}, "schedule_wheels is '/nowhere/at/all'"),
}  # fmt: skip
"""What is wrong with a description, and words of the sentence that says so."""


@pytest.fixture(scope="module")
def mistaken(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Every mistake is a host of one inventory; nothing is touched by any."""
    before = tree(host.root / "etc")
    hosts = {name: host.variables(name, **changes) for name, (changes, _said) in MISTAKES.items()}
    run = play("schedule.yml", inventory=write_inventory(tmp_path_factory.mktemp("mistaken"), hosts), SHOP=SECRET)
    assert tree(host.root / "etc") == before
    return run


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_before_anything_is_touched(mistaken: Run, mistake: str) -> None:
    (told,) = mistaken.failures(mistake)
    assert MISTAKES[mistake][1] in told
    assert mistaken.returncode != 0 and mistaken.counts(mistake)["changed"] == 0


def test_removal_leaves_what_is_not_its_own(host: Host) -> None:
    host.play(name="other")
    predicted = host.play("--check", "-e", "schedule_state=absent")
    done = host.play("-e", "schedule_state=absent")
    assert differences(predicted, done) == []
    assert not list((host.root / "etc/systemd/system").glob("runbook-shop-*"))
    assert not (host.root / "etc/runbook.ops/shop").exists() and not (host.root / "var/lib/runbook.ops/shop").exists()
    assert (host.root / "opt/runbook.ops/venv/bin/python").exists(), "another system's jobs run in it"
    assert host.play("-e", "schedule_state=absent").counts()["changed"] == 0

    host.play("-e", "schedule_state=absent", name="other")
    left = sorted(str(path.relative_to(host.root)) for path in host.root.rglob("*") if path.is_file())
    assert left == ["etc/systemd/system/theirs.timer"]


def test_the_host_playbook(host: Host, tmp_path: Path) -> None:
    inventory = write_inventory(tmp_path / "inventory", {"plain": {"host_directory": str(tmp_path / "library")}})
    predicted = play("host.yml", "--check", "--diff", inventory=inventory)
    assert not (tmp_path / "library").exists()
    done = play("host.yml", "--diff", inventory=inventory)
    assert differences(predicted, done) == [] and done.kinds() == {"install", "link", "claim"}
    assert play("host.yml", inventory=inventory).counts()["changed"] == 0
    gone = play("host.yml", "-e", "host_state=absent", inventory=inventory)
    assert gone.kinds() == {"remove"} and not (tmp_path / "library").exists()


def written_commands() -> list[str]:
    blocks = re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("ansible-playbook")]


def test_the_page_is_executed(demo: Demo, tmp_path: Path) -> None:
    """In its order, each command as it is written, below a root of the test's."""
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    extra = ["-e", f"schedule_root={tmp_path}", "-e", f"host_directory={tmp_path}/library"]
    assert len(written_commands()) >= 4
    for command in written_commands():
        result = ended(*shlex.split(command), *extra, **demo.environment)
        assert result.returncode == 0, f"{command}\n{result.stdout[-3000:]}\n{result.stderr}"


def test_the_alerts_are_about_gauges_that_there_are() -> None:
    rules = yaml.safe_load((ROOT / "roles/schedule/files/schedule.rules.yml").read_text())
    named = {
        name
        for group in rules["groups"]
        for rule in group["rules"]
        for name in re.findall(r"runbook_\w+", rule["expr"])
    }
    source = (ROOT / "plugins/module_utils/_scheduling/records.py").read_text()
    assert named and all(name.removeprefix("runbook_schedule_") in source for name in named)
