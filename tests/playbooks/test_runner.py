# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup through ansible-runner, in the layout and with the settings that AWX gives a project: its events tell all, but no secret."""

from __future__ import annotations

import configparser
import os
import shutil
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ansible_runner
import pytest
import yaml
from command_line import ROOT, repository_files
from support.playbook import Demo
from support.secrets_scanner import Leak, Secrets

WRONG_PASSWORD = "canary-of-a-wrong-password"


@dataclass(frozen=True)
class Job:
    """A run that has ended: what AWX knows of it."""

    status: str
    stats: dict[str, dict[str, int]]
    events: list[dict[str, Any]]
    leaks: set[Leak]

    def of(self, host: str, event: str) -> list[dict[str, Any]]:
        data = [entry["event_data"] for entry in self.events if entry["event"] == event]
        return [entry for entry in data if entry["host"] == host]


def private_data(demo: Demo, home: Path) -> Path:
    """``project`` is a copy with its relative links, ``inventory`` and ``env`` are AWX's own."""
    for path in repository_files():
        target = home / "project" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, target, follow_symlinks=False)
    shutil.copytree(ROOT / "inventories/demo", home / "inventory")
    databases = yaml.safe_load((home / "inventory/group_vars/all/databases.yml").read_text())["runbook_databases"]
    cache, files = ({**databases[number], "checks": []} for number in (1, 3))
    broken = {"runbook_system": "broken", "runbook_databases": [{**cache, "password": WRONG_PASSWORD}, files]}
    hosts = yaml.safe_load((home / "inventory/hosts.yml").read_text())
    hosts["all"]["hosts"]["broken"] = {**hosts["all"]["hosts"]["demo"], **broken}
    (home / "inventory/hosts.yml").write_text(yaml.safe_dump(hosts))

    settings = configparser.ConfigParser()
    settings.read(home / "project/ansible.cfg")
    searched = [
        "/runner/requirements_collections",
        settings["defaults"]["collections_path"],
        f"{home}/.ansible/collections",
    ]
    environment = {
        "ANSIBLE_COLLECTIONS_PATH": ":".join([*searched, "/usr/share/ansible/collections"]),  # copied as text, as AWX does
        "ANSIBLE_INJECT_INVOCATION": "true",  # modules' arguments in their results, as every version before 2.21 had them
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        **demo.environment,
    }  # fmt: skip
    (home / "env").mkdir()
    (home / "env/envvars").write_text(yaml.safe_dump(environment))
    (home / "env/extravars").write_text(yaml.safe_dump({"backup_label": "manual"}))
    return home


@pytest.fixture(scope="module")
def job(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Job:
    home = private_data(demo, tmp_path_factory.mktemp("runner") / "private data")
    runner = ansible_runner.run(
        private_data_dir=str(home), playbook="playbooks/backup.yml", ident="job", quiet=True, verbosity=3,
        settings={"job_timeout": 600},
    )  # fmt: skip
    state = demo.state
    secrets = Secrets(
        {
            "PostgreSQL's password": state["postgres"]["password"],
            "PostgreSQL's superuser's password": state["postgres"]["superuser_password"],
            "Redis' password": state["redis"]["password"],
            "S3's secret key": state["s3"]["secret_key"],
            "a wrong password": WRONG_PASSWORD,
        }
    )
    return Job(runner.status, runner.stats, list(runner.events), secrets.in_files([home / "artifacts"]))


def test_the_counts_are_right(job: Job) -> None:
    counts = {"changed": {"demo": 2, "broken": 1}, "failures": {"broken": 1}, "rescued": {"broken": 1}, "dark": {}}
    assert job.status == "failed" and {name: job.stats[name] for name in counts} == counts
    for host, taken, failed in (("demo", 4, 0), ("broken", 1, 1)):
        items = Counter(
            (event, data["task"].partition("| ")[2])
            for event in ("runner_item_on_ok", "runner_item_on_failed")
            for data in job.of(host, event)
        )
        assert items == Counter(
            {
                ("runner_item_on_ok", "Back up one database"): taken,
                ("runner_item_on_failed", "Back up one database"): failed,
                ("runner_item_on_ok", "Copy one database's backups"): taken + failed,
            }
        )
    skipped_or_done = [job.of("demo", event) for event in ("runner_on_ok", "runner_on_skipped")]
    assert [len(events) for events in skipped_or_done] == [job.stats["ok"]["demo"], job.stats["skipped"]["demo"]]


def test_an_event_says_what_was_done(job: Job) -> None:
    done = [data["res"] for data in job.of("demo", "runner_item_on_ok") if "Back up one" in data["task"]]
    assert [result["actions"][0]["action"] for result in done] == ["backup"] * 4
    (failed,) = job.of("broken", "runner_on_failed")[-1:]
    assert failed["res"]["msg"] == "Failed: redis/cache; the summary above says why."


def test_no_event_holds_a_secret(job: Job) -> None:
    """Nor does anything else that the runner keeps of the job, modules' arguments included."""
    assert job.leaks == set()
    assert any("VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in event["stdout"] for event in job.events)
