# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job's pod is told, and the last words it leaves."""

from __future__ import annotations

import json
import shlex
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.runbook.ops.plugins.module_utils._errors import InputError
from ansible_collections.runbook.ops.plugins.module_utils._scheduling import pod as pod_program
from ansible_collections.runbook.ops.plugins.module_utils._scheduling._kubernetes import difference
from ansible_collections.runbook.ops.plugins.module_utils._scheduling._kubernetes.description import (
    files_of,
)
from ansible_collections.runbook.ops.plugins.module_utils._scheduling._kubernetes.objects import Wanted
from ansible_collections.runbook.ops.plugins.module_utils._scheduling.pod import errors
from ansible_collections.runbook.ops.plugins.module_utils._scheduling.run import said_by
from support.cronjobs import JOBS, SECRET, described, made, scheduled


def within(
    description: dict[str, Any], jobs: tuple[str, ...] = ("backup", "verify")
) -> tuple[dict[str, Any], dict[str, str]]:
    files = files_of(description, jobs)
    return yaml.safe_load(files["inventory.yml"])["all"]["hosts"]["shop"], files


def test_a_pod_has_its_account_and_its_own_places() -> None:
    told, files = within(described(work_dir="/srv", cache_dir="/srv", metrics_file="/srv/x.prom", max_delete="50%"))
    assert told["runbook_runtime"] == {"type": "kubernetes", "namespace": "production", "scratch_namespace": "scratch"}
    assert "/srv" not in json.dumps(told) and told["runbook_max_delete"] == "50%"
    assert told["runbook_databases"][0]["password"] == SECRET
    assert set(files) == {"inventory.yml", "ansible.cfg"} and SECRET not in files["ansible.cfg"]


def test_files_that_a_description_names_come_along(tmp_path: Path) -> None:
    for name in ("key", "recipient", "bundle"):
        (tmp_path / name).write_text(f"the {name}")
    database = {
        "engine": "postgresql",
        "name": "shop",
        "recipients": [str(tmp_path / "recipient"), "somebody@example.com"],
    }
    store = {"type": "s3", "bucket": "b", "aws_ca_bundle": str(tmp_path / "bundle")}
    description = described(databases=[database], stores=[store], decryption_key=str(tmp_path / "key"))
    told, files = within(description)
    paths = [
        told["runbook_decryption_key"],
        told["runbook_databases"][0]["recipients"][0],
        told["runbook_stores"][0]["aws_ca_bundle"],
    ]
    assert [files[path.removeprefix("/etc/runbook.ops/")] for path in paths] == [
        "the key",
        "the recipient",
        "the bundle",
    ]
    assert told["runbook_databases"][0]["recipients"][1] == "somebody@example.com"
    without, files = within(description, ("backup",))
    assert "runbook_decryption_key" not in without and "the key" not in files.values()


CLAIMLESS = "a pod's disk is gone with the pod"
REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "image": ({}, {"image": ""}, "image is empty, and jobs of a system on kubernetes run in one"),
    "namespace": ({"runtime": {"type": "kubernetes"}}, {}, "runtime.namespace is None"),
    "scratch": ({"runtime": {"type": "kubernetes", "namespace": "a"}}, {}, "runtime.scratch_namespace is not set"),
    "same": (
        {"runtime": {"type": "kubernetes", "namespace": "a", "scratch_namespace": "a"}}, {},
        "runtime.scratch_namespace is 'a', where production runs",
    ),
    "directory": ({"stores": [{"type": "local", "path": "/b"}]}, {}, CLAIMLESS),
    "two": (
        {"stores": [{"type": "local", "path": "/b"}, {"type": "local", "path": "/c"}]}, {"volume_claim": "x"},
        "stores[1] is a second store of type local",
    ),
    "claim": ({}, {"volume_claim": "x"}, "volume_claim is 'x', and no store is of type local"),
    "files": (
        {"databases": [{"engine": "files", "name": "env", "paths": ["/etc"]}]}, {},
        "databases[0] (files/env) lies on the host that you run this on",
    ),
    "profile": ({"stores": [{"type": "s3", "bucket": "b", "profile": "me"}]}, {}, "stores[0].profile is 'me'"),
    "bundle": (
        {"stores": [{"type": "s3", "bucket": "b", "aws_ca_bundle": "/nowhere"}]}, {},
        "stores[0].aws_ca_bundle is '/nowhere', which cannot be read here",
    ),
    "keyring": (
        {"databases": [{"engine": "redis", "name": "c", "recipients": ["x"]}], "decryption_key": "keyring"}, {},
        "decryption_key is 'keyring', and pods have none",
    ),
    "empty": (
        {"databases": [{"engine": "redis", "name": "c", "password": ""}]}, {}, "databases[0].password is empty",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", REFUSED)
def test_what_no_pod_could_do_is_refused(mistake: str) -> None:
    changes, given_to, said = REFUSED[mistake]
    scheduled(described())
    with pytest.raises(InputError) as refused:
        scheduled(described(**changes), **given_to)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_a_directory_lies_on_the_claim() -> None:
    wanted = Wanted("shop", "production", "", "image", JOBS, {}, "claim", "/backups")
    pod = made("CronJob", wanted)[0]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["volumes"][-1] == {"name": "store", "persistentVolumeClaim": {"claimName": "claim"}}
    assert pod["containers"][0]["volumeMounts"][-1] == {"name": "store", "mountPath": "/backups"}


def test_what_differs_is_shown_without_a_secret() -> None:
    def secret(password: str, bucket: str) -> dict[str, Any]:
        database = {"engine": "postgresql", "name": "shop", "password": password}
        stores = [{"type": "s3", "bucket": bucket}]
        files = files_of(described(databases=[database], stores=stores), ["backup"])
        (one,) = made("Secret", Wanted("shop", "production", "", "image", JOBS, files))
        return one

    before = secret("first-one", "a")
    assert difference.reason(before, secret("other-one", "a")) == "a credential, which is not shown"
    told = difference.reason(before, secret("other-one", "b"))
    assert '- "bucket": "a"' in told and '+ "bucket": "b"' in told and "-one" not in told


def test_last_words_are_the_errors_that_ansible_marks() -> None:
    said = (
        b"[WARNING]: x\n[ERROR]: Task failed: Module failed: stores is empty: name at least one store.\nOrigin: /a:1\n"
        b"[ERROR]: Task failed: Action failed: Failed: b.\n[ERROR]: Task failed: Action failed: Failed: b.\n"
    )
    assert errors(said.splitlines(keepends=True)) == ["stores is empty: name at least one store.", "Failed: b."]


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        ('{"failed": ["one.", "two."]}', "one. two."),
        ('{"failed": []}', ""),
        ("{", ""),
        (None, ""),
    ],
)
def test_a_summary_is_heard_where_there_is_one(tmp_path: Path, summary: str | None, said: str) -> None:
    path = tmp_path / "summary"
    if summary is not None:
        path.write_text(summary)
    assert said_by(str(path)) == said


@pytest.mark.parametrize("summary", [None, '{"failed": ["the server refuses the password."]}'])
def test_a_pod_that_is_ended_waits_for_its_playbook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, summary: str | None
) -> None:
    """SIGTERM goes on to what it runs, and what is said after it is still heard."""
    wrote = f"echo {shlex.quote(summary)} > {tmp_path}/backup.summary.json" if summary else ":"
    program = tmp_path / "program"
    program.write_text(
        f"end() {{\n{wrote}\necho '[ERROR]: it was ended' >&2\nexit 3\n}}\n"
        "trap end TERM\nsleep 0.5\nkill -TERM $PPID\nsleep 1\nsleep 1\nexit 9\n"
    )
    monkeypatch.setattr(pod_program, "argv_of", lambda *_given: ["sh", str(program)])
    monkeypatch.setattr(pod_program.places, "WORK", str(tmp_path))
    monkeypatch.setattr(pod_program.places, "TERMINATION", str(tmp_path / "last"))
    monkeypatch.setattr("sys.argv", ["runbook-job", "backup"])
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert pod_program.main() == 3
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (tmp_path / "last").read_text() == ("the server refuses the password." if summary else "it was ended")
