# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator sees when something is wrong: one sentence that says what, everything else attempted, and a failed run.

Every mistake is a host of one inventory, so that one run of a playbook shows them all.
"""

from __future__ import annotations

import json
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.runbook.ops.plugins.module_utils._records import format_time, utc_now
from command_line import ROOT, ended
from support.playbook import Demo, Run, play, write_inventory
from support.s3_proxy import Answer, S3Proxy
from support.slots import DAILY

POLICY = {"daily": {"within": "30d"}}


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def described(place: Path, name: str, **values: Any) -> dict[str, Any]:
    """A system with one small database that nothing is wrong with, in a place of its own."""
    data, work = place / "data", place / "work"
    for directory in (data, work):
        directory.mkdir(exist_ok=True)
    (data / "settings").write_text("colour = blue\n")
    return {
        "runbook_system": name,
        "runbook_databases": [files(data)],
        "runbook_stores": [{"type": "local", "path": str(place / f"{name}.store")}],
        "runbook_schedules": {"backup": DAILY},
        "runbook_policy": POLICY,
        "runbook_work_dir": str(work),
        "runbook_cache_dir": str(place / f"{name}.cache"),
        "runbook_metrics_file": str(place / f"{name}.prom"),
        **values,
    }


def files(data: Path, **values: Any) -> dict[str, Any]:
    return {"engine": "files", "name": "settings", "paths": [str(data)], "plaintext": True, **values}


DATABASE = {"engine": "sqlite", "name": "app", "path": "/var/lib/app/app.db"}
MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no_policy": ({}, "runbook_policy is not set: describe the system as docs/describe_a_system.md says"),
    "empty_policy": ({"runbook_policy": {}}, "runbook_policy is empty, which would delete every backup: name at least one of"),
    "unknown_rule": ({"runbook_policy": {"dayly": {"within": "30d"}}}, "runbook_policy has the unknown rule 'dayly': rules are"),
    "unknown_rule_key": ({"runbook_policy": {"daily": {"whitin": "30d"}}}, "runbook_policy.daily has the unknown key 'whitin'"),
    "zero_window": ({"runbook_policy": {"daily": {"within": "0d"}}}, "runbook_policy.daily.within is '0d'"),
    "negative_count": ({"runbook_policy": {"daily": {"count": -1}}}, "runbook_policy.daily.count is -1"),
    "guard_off": ({"runbook_keep_last_good": 0}, "runbook_keep_last_good is 0"),
    "system_name": ({"runbook_system": "../erni"}, "runbook_system is '../erni', which cannot name a directory in a store"),
    "database_slash": ({"runbook_databases": [{**DATABASE, "name": "a/b"}]}, "runbook_databases[0].name is 'a/b', which cannot"),
    "database_newline": ({"runbook_databases": [{**DATABASE, "name": "a\n"}]}, "runbook_databases[0].name is 'a\\n', which cannot"),
    "twice": ({"runbook_databases": [DATABASE, DATABASE]}, "runbook_databases[1] is a second sqlite/app: give each database its own name"),
    "engine": ({"runbook_databases": [{**DATABASE, "engine": "mysql"}]}, "runbook_databases[0].engine is 'mysql': write one of postgres"),
    "unknown_key": ({"runbook_databases": [{**DATABASE, "pasword": "x"}]}, "runbook_databases[0] has the unknown key 'pasword': write"),
    "unknown_store_key": ({"runbook_stores": [{"type": "local", "pth": "/b"}]}, "runbook_stores[0] has the unknown key 'pth': write path."),
    "unknown_schedule": ({"runbook_schedules": {"backups": "0 2 * * *"}}, "runbook_schedules has the unknown key 'backups': write backup."),
    "misspelt": ({"runbook_metric_file": "/m"}, "runbook_metric_file is read by nothing: write runbook_metrics_file"),
    "misspelt_required": ({"runbook_polcy": POLICY}, "runbook_policy is not set, but runbook_polcy is: correct its name"),
    "somebody_elses": ({"runbook_url": "/m"}, "runbook_url is read by nothing: docs/describe_a_system.md has every variable"),
    "unsealed": ({"runbook_databases": [{"engine": "files", "name": "env", "paths": ["/etc/env"]}]}, "runbook_databases[0].recipients is"),
    "recipient": ({"runbook_databases": [{**DATABASE, "recipients": ["me@example.org"]}]}, "runbook_databases[0].recipients[0] is me@"),
    "key_file": ({"runbook_databases": [{**DATABASE, "recipients": ["/etc/no.asc"]}]}, "runbook_databases[0].recipients[0] is '/etc"),
    "check": ({"runbook_databases": [{**DATABASE, "checks": [{"table": "t", "row": 1}]}]}, "runbook_databases[0].checks[0] has row"),
    "schedule": ({"runbook_schedules": {"backup": "daily"}}, "runbook_schedules.backup is 'daily'"),
    "prune_schedule": ({"runbook_schedules": {"prune": "nightly"}}, "runbook_schedules.prune is 'nightly'"),
    "runtime": ({"runbook_runtime": {"type": "nomad"}}, "runbook_runtime.type is 'nomad'"),
    "relative_store": ({"runbook_stores": [{"type": "local", "path": "backups"}]}, "runbook_stores[0].path is 'backups'"),
    "no_store": ({"runbook_stores": []}, "runbook_stores is empty: name at least one store"),
    "half_a_key": ({"runbook_stores": [{"type": "s3", "bucket": "b1b", "access_key": "a"}]}, "runbook_stores[0].secret_key is missing"),
    "store_policy": ({"runbook_stores": [{"type": "local", "path": "/b", "policy": {"x": 1}}]}, "runbook_stores[0].policy has the unknown"),
    "own_input": ({"backup_databases": [{**DATABASE, "path": "a"}]}, "backup_databases[0].path is 'a'"),
    "label": ({"backup_label": "pre-deploy"}, 'backup_label is "pre-deploy", which is no label: write one of manual, pre_deploy,'),
}  # fmt: skip
"""What is wrong with a description, and the words of the sentence that says so."""


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    place = tmp_path_factory.mktemp("mistakes")
    hosts = {name: described(place, name, **values) for name, (values, _words) in MISTAKES.items()}
    for name in ("no_policy", "misspelt_required"):
        del hosts[name]["runbook_policy"]
    return place, play("backup.yml", inventory=write_inventory(place / "inventory", hosts))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_before_anything_is_touched(mistaken: tuple[Path, Run], mistake: str) -> None:
    place, run = mistaken
    (sentence,) = run.failures(mistake)
    assert MISTAKES[mistake][1] in sentence and "\n" not in sentence
    assert run.counts(mistake)["failures"] == 1 and run.returncode != 0
    assert not list(place.glob(f"{mistake}.*")) and not list((place / "work").iterdir())


def test_a_key_that_is_not_there_is_told_before_anything_is_verified(tmp_path: Path) -> None:
    inventory = write_inventory(
        tmp_path / "inventory", {"locked": described(tmp_path, "locked", runbook_decryption_key="/no/key.asc")}
    )
    run = play("verify_backups.yml", "-e", "backup_verify_now=true", inventory=inventory)
    assert run.failures("locked") == [
        "runbook_decryption_key is '/no/key.asc', where there is no file: give a secret key's path, or keyring."
    ]


@pytest.mark.parametrize(
    ("playbook", "variable", "choices"),
    [
        ("archive_restore.yml", "archive_restore_mode", "quick, deep"),
        ("archive_verify.yml", "archive_verify_mode", "quick, deep"),
        ("host.yml", "host_state", "present, absent"),
        ("schedule.yml", "schedule_state", "present, absent"),
    ],
)
def test_a_choice_that_there_is_not_is_told_in_a_sentence(
    tmp_path: Path, playbook: str, variable: str, choices: str
) -> None:
    inventory = write_inventory(
        tmp_path / "inventory", {"one": described(tmp_path, "one", runbook_archive={"objects": {}})}
    )
    run = play(playbook, "-e", f"{variable}=dep", inventory=inventory)
    assert run.failures() == [f"value of {variable} must be one of: {choices}, got: dep"]


def test_an_inventory_that_is_not_there_is_no_run_that_went_well() -> None:
    run = ended("ansible-playbook", "-i", "inventories/demmo", "playbooks/backup.yml")
    assert run.returncode != 0 and "inventories/demmo" in run.stderr


def test_a_run_without_an_inventory_is_no_run_that_went_well() -> None:
    run = ended("ansible-playbook", "playbooks/backup.yml")
    assert run.returncode != 0 and "No inventory was parsed" in run.stderr


def inputs(role: str) -> set[str]:
    specs = yaml.safe_load((ROOT / f"roles/{role}/meta/argument_specs.yml").read_text())
    return set(specs["argument_specs"]["main"]["options"])


LATER = {"schedule": "it installs the Python that reads a catalogue, and looks at what needs none before"}


def test_every_role_looks_before_it_leaps() -> None:
    """The mistakes above are told by the first step of all roles that take a description, which is the same role."""
    roles = {path.name for path in (ROOT / "roles").iterdir() if f"{path.name}_databases" in inputs(path.name)}
    wanted = inputs("preflight") - set(yaml.safe_load((ROOT / "roles/preflight/defaults/main.yml").read_text()))
    assert len(roles) >= 5 and len(wanted) >= 8 and roles >= set(LATER)
    for role in roles - {"preflight"}:
        tasks = ROOT / f"roles/{role}/tasks"
        (path,) = (path for path in tasks.glob("*.yml") if "runbook.ops.preflight" in path.read_text())
        call = next(task for task in yaml.safe_load(path.read_text()) if "ansible.builtin.import_role" in task)
        handed = {name: value for name, value in call["vars"].items() if name in wanted}
        assert handed == {name: f"{{{{ {role}{name.removeprefix('preflight')} }}}}" for name in wanted}
        if role not in LATER:
            (first, *_rest) = yaml.safe_load((tasks / "main.yml").read_text())
            assert first["ansible.builtin.import_tasks"] == path.name == "preflight.yml"


@pytest.fixture(scope="module")
def broken(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Run]]:
    """Systems whose databases or stores have faults, beside a database that nothing is wrong with."""
    place = tmp_path_factory.mktemp("faults")
    postgres, redis = demo.postgresql("erni_agents"), demo.state["redis"]
    cache = {"engine": "redis", "name": "cache", "host": redis["host"], "port": redis["port"], "password": "wrong-one"}
    databases = [
        {**postgres, "password": "wrong-one"},
        {**postgres, "port": closed_port(), "name": "far"},
        {**postgres, "name": "nowhere"},
        cache,
        {**cache, "port": closed_port(), "name": "gone"},
        {**DATABASE, "path": str(place / "missing.db")},
    ]
    good = described(place, "databases")
    hosts = {"databases": {**good, "runbook_databases": [*databases, *good["runbook_databases"]]}}
    with S3Proxy(demo.state["s3"]["endpoint_url"]) as proxy:
        proxy.inject("*", Answer(403, "AccessDenied", "Access Denied"))
        for name, wrong in {
            "no_bucket": {"bucket": "nobodys-bucket"},
            "denied": {"endpoint_url": proxy.endpoint_url},
            "no_s3": {"endpoint_url": f"http://127.0.0.1:{closed_port()}"},
        }.items():
            good = described(place, name)
            hosts[name] = {**good, "runbook_stores": [*good["runbook_stores"], {**demo.store("s3"), **wrong}]}
        hosts["no_store"] = {**described(place, "no_store"), "runbook_stores": hosts["no_s3"]["runbook_stores"][1:]}
        yield place, play("backup.yml", inventory=write_inventory(place / "inventory", hosts))


FAULTS: dict[str, dict[str, str]] = {
    "databases": {
        "postgresql/erni_agents": "refuses the password of user 'erni_user' for database 'erni_agents'",
        "postgresql/far": "check host, port and that the server runs",
        "postgresql/nowhere": "has no database 'nowhere'",
        "redis/cache": "refused the password of the default user: correct the password",
        "redis/gone": "see whether it runs, and correct host and port",
        "sqlite/app": "missing.db",
    },
    "no_bucket": {"s3:nobodys-bucket": "there is no bucket nobodys-bucket"},
    "denied": {"s3:erni-agents-backups": "reaching the bucket was denied"},
    "no_s3": {"s3:erni-agents-backups": "check the address, the network and the store"},
}
"""What fails in each system, as the run names it, and words of the sentence that says why."""


@pytest.mark.parametrize("system", FAULTS)
def test_a_fault_spoils_nothing_else(broken: tuple[Path, Run], system: str) -> None:
    place, run = broken
    said = [line.split("FAILED ")[1] for line in run.summary(system).splitlines() if "FAILED " in line]
    assert len(said) == len(FAULTS[system]), run.summary(system)
    for sentence, (name, words) in zip(said, FAULTS[system].items(), strict=True):
        assert sentence.startswith(f"{name}: ") and words in sentence and sentence.endswith(".")
    assert run.failures(system)[-1] == f"Failed: {', '.join(FAULTS[system])}; the summary above says why."
    assert run.returncode != 0

    actions = [line.split(": ", 2)[2] for line in run.actions(system)]
    assert actions == [f"backup {system}/files/settings -> local:{place}/{system}.store: there is no good backup yet"]
    assert len(list((place / f"{system}.store").glob(f"{system}/files/settings/*/manifest.json"))) == 1
    assert 'database="settings"' in (place / f"{system}.prom").read_text()


def test_with_no_store_at_all_nothing_is_made_up(broken: tuple[Path, Run]) -> None:
    """Neither a backup nor metrics: the old ones stay, and their timestamps age as they should."""
    place, run = broken
    assert "nothing could be done" in run.summary("no_store") and "NO STORE CAN BE REACHED" in run.summary("no_store")
    assert run.counts("no_store")["failures"] == 1 and run.actions("no_store") == []
    assert not (place / "no_store.prom").exists()


@pytest.mark.parametrize("playbook", ["list_backups.yml", "prune_backups.yml", "verify_backups.yml"])
def test_a_store_that_is_away_keeps_no_other_from_being_served(broken: tuple[Path, Run], playbook: str) -> None:
    place, _run = broken
    run = play(playbook, "--limit", "no_bucket", "-e", "backup_verify_now=true", inventory=place / "inventory")
    assert run.returncode != 0 and "s3:nobodys-bucket" in run.failures()[-1] and len(run.failures()) == 1
    assert "files/settings" in run.summary()
    assert run.kinds() == ({"verify"} if playbook == "verify_backups.yml" else set())


def test_a_refused_plan_is_told_in_a_line_and_deletes_nothing(tmp_path: Path) -> None:
    inventory = write_inventory(
        tmp_path / "inventory", {"one": {**described(tmp_path, "one"), "runbook_policy": {"last": {"count": 1}}}}
    )
    for _ in range(3):
        assert play("backup.yml", "-e", "backup_label=manual", inventory=inventory).returncode == 0
    run = play("prune_backups.yml", "-e", "backup_prune_max_delete=1", inventory=inventory)
    (said,) = run.failures()
    assert run.returncode != 0 and "2 of 3 backups would be deleted, backup_prune_max_delete allows 1" in said
    assert "raise backup_prune_max_delete for this one run" in said
    assert "files/settings in local:" in run.summary() and ": all 3 stay, REFUSED" in run.summary()
    assert "-e backup_prune_max_delete=100% --check --diff" in run.summary() and run.actions() == []
    assert len(list((tmp_path / "one.store").glob("one/files/settings/*/manifest.json"))) == 3


def test_a_system_s_name_that_is_mistyped_is_doubted(tmp_path: Path) -> None:
    right = described(tmp_path, "one")
    inventory = write_inventory(tmp_path / "inventory", {"one": right, "on": {**right, "runbook_system": "on"}})
    assert play("backup.yml", "-e", "backup_label=manual", "--limit", "one", inventory=inventory).returncode == 0
    run = play("prune_backups.yml", inventory=inventory)
    warnings = [text for _task, result in run.results() for text in result.get("warnings", [])]
    said = f"local:{tmp_path}/one.store has backups of one and none of on. If there should be some, correct runbook_system."
    assert warnings == [said] and "no backup of on was found in 1 of 1 stores" in run.summary("on")


def test_a_failure_that_is_pruned_is_not_forgotten(tmp_path: Path) -> None:
    inventory = write_inventory(tmp_path / "inventory", {"one": described(tmp_path, "one")})
    for _ in range(2):
        assert play("backup.yml", "-e", "backup_label=manual", inventory=inventory).returncode == 0
    newest = max((tmp_path / "one.store").glob("one/files/settings/*"))
    verdict = {
        "format": 1, "id": newest.name, "verified_at": format_time(utc_now()), "result": "failed", "method": "restore",
        "restored_from": f"local:{tmp_path}/one.store", "checks": [], "reason": "a hole",
    }  # fmt: skip
    (newest / "verification.json").write_text(json.dumps(verdict))
    run = play("prune_backups.yml", inventory=inventory)
    assert run.returncode == 0 and run.kinds() == {"delete"} and not newest.exists()
    assert f"Next: files/settings {newest.name} failed its verification" in run.summary()


def test_a_backup_that_fails_its_verification_is_told_once(tmp_path: Path) -> None:
    inventory = write_inventory(tmp_path / "inventory", {"one": described(tmp_path, "one")})
    assert play("backup.yml", "-e", "backup_label=manual", inventory=inventory).returncode == 0
    (data,) = (tmp_path / "one.store").rglob("data.tar.zst")
    data.chmod(0o600)
    data.write_bytes(data.read_bytes()[:-1] + b"x")
    run = play("verify_backups.yml", "-e", "backup_verify_now=true", inventory=inventory)
    (line,) = [line.strip() for line in run.summary().splitlines() if "FAILED" in line]
    assert line.startswith("FAILED files/settings: Backup ") and "failed its verification: " in line
    assert run.failures()[-1] == "Failed: files/settings; the summary above says why."


def test_a_check_that_may_be_what_is_wrong_is_told_with_the_way_back(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER)")
    checks = [{"table": "orders", "rows": ">=5"}]
    database = {**DATABASE, "path": str(tmp_path / "app.db"), "checks": checks}
    inventory = write_inventory(
        tmp_path / "inventory", {"one": described(tmp_path, "one", runbook_databases=[database])}
    )
    assert play("backup.yml", inventory=inventory).returncode == 0
    run = play("verify_backups.yml", "-e", "backup_verify_now=true", inventory=inventory)
    assert run.returncode != 0 and "FAIL table_rows:orders: 0 (expected" in run.summary()
    advice = run.summary().partition("Next: ")[2]
    assert (
        advice.startswith("a backup that failed counts for nothing any more: take a new one") and "Next: " not in advice
    )
    assert "Where it is a check above that expects the wrong thing, correct it, remove the verdict" in advice
