# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``--check --diff`` says is what the next run does: the same actions for the same reasons, and nothing written."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.runbook.ops.plugins.module_utils._catalog import Catalogue
from ansible_collections.runbook.ops.plugins.module_utils._records import (
    LEASE,
    Lease,
    Scope,
    encode,
    new_id,
    utc_now,
)
from ansible_collections.runbook.ops.plugins.module_utils._store.declared import store_of
from command_line import ROOT
from support.playbook import PLAYBOOKS, Demo, Run, differences, play, write_inventory

from lab.embedded import history

CONFIGURATION = Scope("honest", "files", "configuration")
DAYS = 70
"""Of history: enough for daily backups to be deleted and for weekly ones to be moved, within ``max_delete``."""


@dataclass(frozen=True)
class Honest:
    """A system of its own on the demo's servers."""

    demo: Demo
    inventory: Path

    def play(self, playbook: str, *arguments: str) -> Run:
        run = self.demo.play(playbook, "-i", str(self.inventory), *arguments)
        assert run.returncode == 0, run.failures()
        return run


@pytest.fixture(scope="module")
def honest(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Honest:
    return Honest(demo, demo.smaller(tmp_path_factory.mktemp("honest") / "inventory", "honest"))


def give_backups(honest: Honest) -> None:
    if not any(key.startswith("honest/") for key in honest.demo.objects()):
        honest.play("backup.yml")


def give_a_past(honest: Honest) -> None:
    """Small backups, one a day, in both stores; the oldest of them too old for every rule. And what a kill left."""
    give_backups(honest)
    demo, now = honest.demo, utc_now()
    local = store_of("local", demo.store("local"))
    template = history.Template.read(local, Catalogue(local).scope(CONFIGURATION).backups[0].manifest)
    for store in (local, store_of("s3", demo.store("s3"))):
        history.build(store, CONFIGURATION, template, now=now, days=DAYS, storage_class="STANDARD_IA")
    left = Lease("a killed run", "write", now - timedelta(hours=1))
    local.put(f"{CONFIGURATION.path}/{new_id(now - timedelta(hours=2))}/{LEASE}", encode(left.to_dict()))


@dataclass(frozen=True)
class Case:
    """A playbook: what it needs to have something to do, and every kind of action that it then does."""

    prepare: Callable[[Honest], None]
    kinds: frozenset[str]


CASES = {
    "backup.yml": Case(lambda honest: None, frozenset({"backup", "copy"})),
    "list_backups.yml": Case(lambda honest: None, frozenset()),
    "status.yml": Case(give_backups, frozenset()),
    "prune_backups.yml": Case(give_a_past, frozenset({"delete", "transition", "sweep"})),
    "verify_backups.yml": Case(give_backups, frozenset({"verify"})),
}

ELSEWHERE = {"demo.yml", "host.yml", "schedule.yml", "archive_verify.yml", "archive_restore.yml"}
"""The demo refuses to be predicted, see below; what is installed on a host is compared in test_schedule.py, and an archive in
test_archive.py."""


def test_every_playbook_is_compared() -> None:
    assert {*CASES, *ELSEWHERE} == set(PLAYBOOKS), "say above what a new playbook needs to have something to do"


@pytest.mark.parametrize("playbook", CASES)
def test_a_check_run_tells_what_the_real_run_does(honest: Honest, playbook: str) -> None:
    case = CASES[playbook]
    case.prepare(honest)
    before = honest.demo.footprint()
    predicted = honest.play(playbook, "--check", "--diff")
    assert honest.demo.footprint() == before
    done = honest.play(playbook, "--diff")
    assert differences(predicted, done) == []
    assert done.kinds() == case.kinds

    again = honest.play(playbook, "--diff")
    assert (again.counts()["changed"], again.actions()) == (0, [])


def test_the_demo_refuses_to_be_predicted(demo: Demo) -> None:
    """Its later steps work on what its earlier ones make."""
    before = demo.footprint()
    refused = demo.play("demo.yml", "--check", "--diff")
    assert refused.returncode != 0 and "nothing to predict" in refused.failures()[0]
    assert demo.footprint() == before


@pytest.mark.parametrize(("verified", "said"), [(1, "1 of them in this run."), (0, "none of them in this run: no")])
def test_the_demo_claims_no_proof_that_this_run_did_not_make(tmp_path: Path, verified: int, said: str) -> None:
    proved = {"stores": [{"store": "local:/b"}], "verification": {"result": "passed", "method": "restore"}}
    play_vars = {
        "preflight_info": {"databases": [proved], "backups": [{"id": "a"}]},
        "demo_history": {"changed": False},
        "__backup_taken": {},
        "__backup_verify_verified": {"results": [{}] * verified},
    }
    task = {
        "name": "Summary | Summary",
        "ansible.builtin.debug": {"msg": f"{{{{ lookup('template', '{ROOT}/playbooks/templates/demo.txt.j2') }}}}"},
    }
    say = tmp_path / "say.yml"
    say.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "vars": play_vars, "tasks": [task]}]))
    run = play(say, inventory=write_inventory(tmp_path / "inventory", {"one": {}}))
    assert (
        f"1 of 1 databases have a backup that was proved by restoring it into a throw-away server, {said}"
        in run.summary()
    )


ACTION = {"action": "delete", "object": "s/redis/cache/20260301T020000Z-5f3a9c1e in s3:b", "reason": "no rule keeps it"}


def told(*actions: dict[str, str], changed: int = 1) -> Run:
    result = {"actions": list(actions), "diff": {"after": "".join(f"{a['action']} {a['object']}\n" for a in actions)}}
    task = {"task": {"name": "Prune | One"}, "hosts": {"h": {"results": [result]}}}
    return Run(0, {"plays": [{"tasks": [task]}], "stats": {"h": {"changed": changed, "failures": 0}}}, "")


@pytest.mark.parametrize(
    ("done", "found"),
    [
        (told(ACTION), ""),
        (told({**ACTION, "object": ACTION["object"].replace("5f3a9c1e", "00000000")}), ""),
        (told(), "-Prune | One: delete s/redis/cache/<id> in s3:b: no rule keeps it"),
        (told(ACTION, {**ACTION, "action": "sweep"}), "+Prune | One: sweep"),
        (told({**ACTION, "object": ACTION["object"].replace("cache", "other")}), "+Prune | One: delete s/redis/other"),
        (told({**ACTION, "reason": "a failed verification"}), "in s3:b: a failed verification"),
        (told(ACTION, changed=0), "h: changed predicted 1, was 0"),
    ],
)
def test_the_comparison_sees_a_lie(done: Run, found: str) -> None:
    lines = differences(told(ACTION), done)
    assert any(found in line for line in lines) if found else lines == []


def test_the_comparison_sees_a_diff_that_hides_an_action() -> None:
    quiet: Any = copy.deepcopy(told(ACTION).told)
    quiet["plays"][0]["tasks"][0]["hosts"]["h"]["results"][0]["diff"]["after"] = ""
    assert differences(told(ACTION), Run(0, quiet, "")) != []


def test_the_footprint_sees_what_was_written(demo: Demo) -> None:
    """Also when it is gone again."""
    before = demo.footprint()
    assert demo.footprint() == before
    passing = demo.directory / "work" / "passing"
    passing.touch()
    passing.unlink()
    after = demo.footprint()
    assert {path for path in after if after[path] != before.get(path)} == {str(demo.directory / "work")}
