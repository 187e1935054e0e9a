# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks as an operator runs them, against a demo or an inventory of a test's own, and what they said as data."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import redis
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.runbook.ops.plugins.module_utils._archive.declared import archive_of
from ansible_collections.runbook.ops.plugins.module_utils._arguments import ARCHIVE, ENDPOINTS
from ansible_collections.runbook.ops.plugins.module_utils._policy import parse_max_delete
from ansible_collections.runbook.ops.plugins.module_utils._protect.survey import Described
from ansible_collections.runbook.ops.plugins.module_utils._runtime.local import LocalRuntime
from ansible_collections.runbook.ops.plugins.module_utils._status.endpoints import endpoints_of
from ansible_collections.runbook.ops.plugins.modules import backup_info
from command_line import ROOT, ended
from support.slots import FAR_FROM_SLOTS

from lab.embedded import erni

PLAYBOOKS = sorted(path.name for path in (ROOT / "playbooks").glob("*.yml"))

_VARYING = (
    (re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}"), "<id>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<digest>"),
    (re.compile(r"\b\d+(\.\d+)? ?(B|KiB|MiB|GiB)\b"), "<size>"),
    (re.compile(r"\b\d+(\.\d+)? ?(ms|s|m|h)\b"), "<duration>"),
)


def normalised(text: str) -> str:
    """A text without what may differ between a prediction and the deed."""
    for pattern, name in _VARYING:
        text = pattern.sub(name, text)
    return text


@dataclass(frozen=True)
class Run:
    """A playbook that has ended; ``told`` is what Ansible's JSON callback printed."""

    returncode: int
    told: Mapping[str, Any]
    stderr: str

    def counts(self, host: str = "") -> Mapping[str, int]:
        """``ok``, ``changed``, ``failures`` ... of a host, the only one where none is named."""
        return self.told["stats"][host or next(iter(self.told["stats"]))]

    def results(self, host: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Every result with its task's name, those of a loop one by one."""
        for play in self.told["plays"]:
            for task in play["tasks"]:
                for name, result in task["hosts"].items():
                    if host in ("", name):
                        yield from ((task["task"]["name"], item) for item in result.get("results", [result]))

    def named(self, task: str, host: str = "") -> list[Mapping[str, Any]]:
        """The results of the tasks whose name ends so."""
        return [result for name, result in self.results(host) if name.lower().endswith(task.lower())]

    def actions(self, host: str = "") -> list[str]:
        """What was, or would be, done: in order, and comparable."""
        return [
            normalised(f"{task}: {action['action']} {action['object']}: {action['reason']}")
            for task, result in self.results(host)
            for action in result.get("actions", [])
        ]

    def kinds(self, host: str = "") -> set[str]:
        """The kinds of what was, or would be, done."""
        return {action["action"] for _task, result in self.results(host) for action in result.get("actions", [])}

    def diffs(self, host: str = "") -> list[str]:
        """What ``--diff`` showed."""
        found = []
        for task, result in self.results(host):
            shown = result.get("diff") or []
            for diff in shown if isinstance(shown, list) else [shown]:
                found += [normalised(f"{task}: {line}") for line in str(diff.get("after", "")).splitlines()]
        return found

    def failures(self, host: str = "") -> list[str]:
        """The sentence of each result that failed."""
        return [result["msg"] for _task, result in self.results(host) if result.get("failed")]

    def summary(self, host: str = "") -> str:
        """What the run told the operator at its end."""
        (told,) = self.named("| summary", host) or self.named("| table", host)
        return str(told["msg"])


def differences(predicted: Run, done: Run) -> list[str]:
    """Where a check run and the real one disagree: actions with object and reason, diffs, and what counts as changed."""
    found = []
    for what in ("actions", "diffs"):
        left, right = getattr(predicted, what)(), getattr(done, what)()
        found += difflib.unified_diff(left, right, "predicted", "done", n=0, lineterm="")
    for host, counts in done.told["stats"].items():
        for count in ("changed", "failures"):
            said = predicted.counts(host)[count]
            if said != counts[count]:
                found.append(f"{host}: {count} predicted {said}, was {counts[count]}")
    return found


def play(playbook: str | Path, *arguments: str, inventory: str | Path, **environment: str) -> Run:
    """Run a playbook of ours by its file name, or another one by its path."""
    path = playbook if isinstance(playbook, Path) else ROOT / "playbooks" / playbook
    result = ended(
        "ansible-playbook", "-i", str(inventory), str(path), *arguments,
        ANSIBLE_STDOUT_CALLBACK="ansible.posix.json", ANSIBLE_JSON_INDENT="0", **environment,
    )  # fmt: skip
    start = result.stdout.find("{")
    assert start >= 0, f"{playbook} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}"
    return Run(result.returncode, json.loads(result.stdout[start:]), result.stderr)


@dataclass(frozen=True)
class Demo:
    """A demo that is up, in a directory of its own."""

    directory: Path

    @property
    def state(self) -> dict[str, Any]:
        return json.loads((self.directory / "demo.json").read_text())

    @property
    def environment(self) -> dict[str, str]:
        return {"RUNBOOK_DEMO_DIR": str(self.directory)}

    def play(self, playbook: str | Path, *arguments: str, **environment: str) -> Run:
        """Run a playbook with the demo's own inventory."""
        layered = ("-i", str(FAR_FROM_SLOTS), *arguments)
        return play(playbook, *layered, inventory=ROOT / "inventories/demo", **self.environment, **environment)

    def bucket(self) -> tuple[Any, str]:
        s3 = self.state["s3"]
        client = boto3.client(
            "s3", endpoint_url=s3["endpoint_url"], region_name=s3["region"],
            aws_access_key_id=s3["access_key"], aws_secret_access_key=s3["secret_key"],
        )  # fmt: skip
        return client, s3["bucket"]

    def objects(self) -> dict[str, str]:
        """Every object of the bucket, with what changes when it is written."""
        client, bucket = self.bucket()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        entries = [entry for page in pages for entry in page.get("Contents", [])]
        return {e["Key"]: f"{e['ETag']} {e.get('StorageClass')} {e['LastModified']}" for e in entries}

    def store(self, kind: str) -> dict[str, Any]:
        """A store as the demo's inventory declares it."""
        state = self.state
        if kind == "local":
            return {"type": "local", "path": state["backups"]}
        wanted = ("bucket", "region", "endpoint_url", "access_key", "secret_key")
        return {"type": "s3", **{key: state["s3"][key] for key in wanted}}

    def postgresql(self, name: str, **values: Any) -> dict[str, Any]:
        """The description of a database on the demo's server."""
        wanted = ("host", "port", "user", "password", "bin_dir")
        return {"engine": "postgresql", "name": name, **{key: self.state["postgres"][key] for key in wanted}, **values}

    def make_database(self, name: str) -> None:
        """A small database with the demo's schema."""
        erni.create(self.state["postgres"], name, {"demo.projects": 5, "demo.conversations": 40})

    def smaller(self, directory: Path, system: str) -> Path:
        """An inventory to add to the demo's own: another system of the same databases, the largest of them a small one."""
        inventory = write_inventory(directory, {"demo": {}})
        declared = yaml.safe_load((ROOT / "inventories/demo/group_vars/all/databases.yml").read_text())
        declared["runbook_databases"][0]["name"] = system
        self.make_database(system)
        (inventory / "group_vars/all").mkdir(parents=True)
        (inventory / "group_vars/all/smaller.yml").write_text(yaml.safe_dump({"runbook_system": system, **declared}))
        return inventory

    def footprint(self) -> dict[str, str]:
        """Everything that a check run must leave as it is: stores, scratch, caches, metrics, Redis' saves."""
        state = self.state
        found = {f"s3 {key}": value for key, value in self.objects().items()}
        for place in (
            state["backups"],
            state["work_dir"],
            self.directory / "cache",
            Path(state["metrics_file"]).parent,
        ):
            found.update(tree(Path(place)))
        server = redis.Redis(
            host=state["redis"]["host"], port=state["redis"]["port"], password=state["redis"]["password"]
        )
        found["redis saves"] = str(server.info("persistence")["rdb_saves"])
        server.close()
        return found


def tree(root: Path) -> dict[str, str]:
    """Every path under ``root`` and its content. A directory's time tells of what came and went meanwhile."""
    found = {}
    for directory, _directories, files in os.walk(root):
        found[directory] = str(os.stat(directory).st_mtime_ns)
        for name in files:
            path = Path(directory, name)
            found[str(path)] = f"{path.stat().st_mtime_ns} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return found


def write_inventory(directory: Path, hosts: Mapping[str, Mapping[str, Any]]) -> Path:
    """An inventory with these hosts on this machine, each with its variables."""
    directory.mkdir(parents=True, exist_ok=True)
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    declared = {"all": {"hosts": {name: {**local, **values} for name, values in hosts.items()}}}
    (directory / "hosts.yml").write_text(yaml.safe_dump(declared, sort_keys=False))
    return directory


DESCRIBED = {
    "system": "{{ runbook_system }}",
    "runtime": "{{ runbook_runtime | default({'type': 'local'}) }}",
    "databases": "{{ runbook_databases }}",
    "stores": "{{ runbook_stores }}",
    "schedules": "{{ runbook_schedules | default({}) }}",
    "policy": "{{ runbook_policy }}",
    "keep_last_good": "{{ runbook_keep_last_good | default(1) }}",
    "keep_labelled": "{{ runbook_keep_labelled | default('30d') }}",
    "max_delete": "{{ runbook_max_delete | default('50%') }}",
    "endpoints": "{{ runbook_endpoints | default([]) }}",
    "archive": "{{ runbook_archive | default({}) }}",
}
"""A description, as the roles' defaults read it from an inventory."""


def described(inventory: Path, *layers: Path, **environment: str) -> dict[str, dict[str, Any]]:
    """What the variables of each of an inventory's hosts come to, with other inventories laid over it."""
    tasks = [{"name": "Described", "ansible.builtin.debug": {"msg": DESCRIBED}}]
    with tempfile.TemporaryDirectory() as directory:
        look = Path(directory, "look.yml")
        look.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
        more = [argument for layer in layers for argument in ("-i", str(layer))]
        run = play(look, *more, inventory=inventory, **environment)
    assert run.returncode == 0, run.failures()
    return {host: run.named("Described", host)[0]["msg"] for host in run.told["stats"]}


def parsed(description: Mapping[str, Any], **changes: Any) -> list[Described]:
    """As the modules parse a description: Ansible's part first, then ours."""
    told = {**description, **changes}
    parse_max_delete("max_delete", told.pop("max_delete"))  # the pruning's own
    if archive := told.pop("archive"):
        result = ArgumentSpecValidator({"archive": ARCHIVE}).validate({"archive": archive})
        assert result.error_messages == [], result.error_messages
        declared = result.validated_parameters["archive"]
        archive_of("archive", {**declared, "database": {**declared["database"], "service": ""}}, LocalRuntime())
    status = ArgumentSpecValidator({"endpoints": ENDPOINTS}).validate({"endpoints": told.pop("endpoints")})
    assert status.error_messages == [], status.error_messages
    endpoints_of(status.validated_parameters["endpoints"])
    result = ArgumentSpecValidator(backup_info.ARGUMENT_SPEC).validate(told)
    assert result.error_messages == [], result.error_messages
    _stores, databases = backup_info.build(result.validated_parameters)
    return databases
