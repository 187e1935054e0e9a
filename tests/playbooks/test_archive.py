# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two playbooks of the document archive, as an operator runs them on one with planted damage."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.runbook.ops.plugins.module_utils._archive.declared import archive_of
from ansible_collections.runbook.ops.plugins.module_utils._arguments import ARCHIVE
from ansible_collections.runbook.ops.plugins.module_utils._runtime.local import LocalRuntime
from command_line import ROOT, ended
from support.archives import AWKWARD, Documents, archive, documents, new_bucket, objects_of
from support.playbook import Run, differences, play, write_inventory
from support.secrets_scanner import Secrets, Watch

from lab.embedded.servers import PostgresServer, S3Server

PLAIN = tuple(f"2025/01/{number}.pdf" for number in range(6))
GONE, SHORT = PLAIN[1], AWKWARD[1]


@dataclass(frozen=True)
class Scene:
    made: Documents
    inventory: Path

    def play(self, playbook: str, *arguments: str) -> Run:
        return play(playbook, *arguments, inventory=self.inventory)

    def everything(self) -> Any:
        declared = self.made.declared
        return self.made.rows(), [objects_of(place).contents() for place in (declared["objects"], *declared["sources"])]


@pytest.fixture
def scene(postgres: PostgresServer, s3: S3Server, tmp_path: Path) -> Iterator[Scene]:
    with archive(postgres, new_bucket(s3), [new_bucket(s3)]) as made:
        made.store(documents([*PLAIN, *AWKWARD]))
        hosts = {
            "papers": {"runbook_system": "papers", "runbook_archive": made.declared},
            "paperless": {"runbook_system": "paperless"},
        }
        yield Scene(made, write_inventory(tmp_path / "inventory", hosts))


def damage(made: Documents) -> None:
    made.objects.delete(GONE)
    made.objects.put(SHORT, made.contents[SHORT][:-1])
    made.objects.put("extra.pdf", b"not indexed")


def test_a_sound_archive(scene: Scene, tmp_path: Path) -> None:
    gauges = tmp_path / "archive.prom"
    run = scene.play("archive_verify.yml", "-e", f"archive_verify_metrics_file={gauges}")
    assert (run.returncode, run.counts("papers")["changed"]) == (0, 0), run.failures()
    assert "papers: SOUND (quick): 12 rows, 12 objects in s3:" in run.summary("papers")
    assert 'runbook_archive_objects{system="papers",state="good"} 12' in gauges.read_text()


def test_a_system_without_an_archive_is_told(scene: Scene) -> None:
    for playbook in ("archive_verify.yml", "archive_restore.yml"):
        run = scene.play(playbook, "--limit", "paperless")
        assert run.returncode == 0
        (said,) = run.named("Say that there is nothing to do")
        assert said["msg"].startswith("paperless describes no document archive (runbook_archive): nothing to")


def test_damage_is_told_restored_and_gone(scene: Scene, tmp_path: Path) -> None:
    """The whole way: found, predicted, mended, sound, and nothing to do a second time."""
    damage(scene.made)
    report = tmp_path / "report.json"
    found = scene.play("archive_verify.yml", "-e", f"archive_verify_report_file={report}")
    assert found.returncode != 0
    assert found.failures("papers") == [
        "papers: 1 missing, 1 damaged of 12 rows of the index; see what would be restored with archive_restore.yml --check --diff, "
        "then run it without --check."
    ]
    told = json.loads(report.read_text())
    assert ([one["key"] for one in told["missing"]], [one["key"] for one in told["damaged"]]) == ([GONE], [SHORT])
    assert (told["counts"]["extra"], told["system"]) == (1, "papers")
    assert f"MISSING {GONE}: there is no object" in found.summary("papers")

    rebuild = ("-e", "archive_restore_rebuild_index=true")
    before = scene.everything()
    predicted = scene.play("archive_restore.yml", "--check", "--diff", *rebuild)
    assert (predicted.returncode, scene.everything()) == (0, before)
    done = scene.play("archive_restore.yml", "--diff", *rebuild)
    assert (done.returncode, differences(predicted, done)) == (0, [])
    assert done.kinds("papers") == {"restore", "index"} and done.counts("papers")["changed"] == 1
    assert "restored 2" in done.summary("papers") and "added 1 rows" in done.summary("papers")
    assert {key: scene.made.objects.get(key) for key in scene.made.contents} == scene.made.contents

    after = scene.everything()
    second = scene.play("archive_restore.yml", *rebuild)
    assert (second.returncode, second.counts("papers")["changed"], scene.everything()) == (0, 0, after)
    assert scene.play("archive_verify.yml", "-e", "archive_verify_mode=deep").returncode == 0


def test_what_has_no_copy_fails_and_is_named(scene: Scene) -> None:
    damage(scene.made)
    scene.made.copies.delete(GONE)
    run = scene.play("archive_restore.yml")
    assert run.returncode != 0 and run.kinds("papers") == {"restore"}  # the other one is mended all the same
    assert f"1 have no good copy anywhere, such as {GONE}: name another source" in run.failures("papers")[-1]
    assert f"LOST {GONE}: there is no object; no source has it" in run.summary("papers")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"objcts": {}}, "archive has the unknown key 'objcts': write objects."),
        (
            {"columns": {"key": "k", "size": "s", "checksum": "c", "sum": "c"}},
            "archive.columns has the unknown key 'sum'",
        ),
        ({"table": "papers"}, "archive.table is 'papers', but database"),
        ({"objects": {"type": "s3"}}, "archive.objects.bucket is None: write the name of a bucket"),
    ],
)
@pytest.mark.parametrize("playbook", ["archive_verify.yml", "archive_restore.yml"])
def test_a_mistake_is_one_sentence(scene: Scene, playbook: str, changes: dict[str, Any], sentence: str) -> None:
    values = {"runbook_system": "papers", "runbook_archive": {**scene.made.declared, **changes}}
    write_inventory(scene.inventory, {"papers": values})
    run = scene.play(playbook)
    assert run.returncode != 0
    (said,) = set(run.failures())
    assert sentence in said and "Traceback" not in said


def test_a_misspelt_variable_is_told(scene: Scene) -> None:
    write_inventory(scene.inventory, {"papers": {"runbook_system": "papers", "runbook_archve": scene.made.declared}})
    run = scene.play("archive_verify.yml")
    assert run.failures() == [
        "runbook_archve is read by nothing: write runbook_archive, or a name that does not begin with runbook_."
    ]


def test_no_secret_is_seen(scene: Scene, tmp_path: Path) -> None:
    damage(scene.made)
    declared = scene.made.declared
    secrets = Secrets({
        "the database's password": declared["database"]["password"], "the bucket's key": declared["objects"]["secret_key"],
    })  # fmt: skip
    temporary = {name: tmp_path / name for name in ("controller", "host", "tmp")}
    for directory in temporary.values():
        directory.mkdir()
    for playbook in ("archive_verify", "archive_restore"):
        with Watch(secrets, list(temporary.values())) as watch:
            result = ended(
                "ansible-playbook", "-vvvv", "--diff", "-i", str(scene.inventory), f"playbooks/{playbook}.yml",
                "-e", f"{playbook}_report_file={tmp_path}/{playbook}.json", TMPDIR=str(temporary["tmp"]),
                ANSIBLE_LOCAL_TEMP=str(temporary["controller"]), ANSIBLE_REMOTE_TMP=str(temporary["host"]),
                ANSIBLE_INJECT_INVOCATION="true",
            )  # fmt: skip
        assert "module_args" in result.stdout and (tmp_path / f"{playbook}.json").exists()
        assert watch.rounds > 10 and not watch.leaks, watch.leaks
        assert not secrets.in_text(result.stdout + result.stderr, "output")
        assert not secrets.in_files([tmp_path / f"{playbook}.json"])


@pytest.mark.parametrize(
    ("role", "module"), [("archive_verify", "archive_verification"), ("archive_restore", "archive_restore")]
)
def test_a_role_in_a_strangers_play(scene: Scene, role: str, module: str) -> None:
    """Its own inputs alone describe the archive."""
    damage(scene.made)
    inputs = {f"{role}_system": "papers", f"{role}_archive": scene.made.declared}
    playbook = scene.inventory / f"{role}.yml"
    roles = [{"role": f"runbook.ops.{role}", "vars": inputs}]
    playbook.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "roles": roles}]))
    run = play(playbook, inventory=write_inventory(scene.inventory / "barn", {"barn": {}}))
    (result,) = [result for _task, result in run.results() if "report" in result]
    assert (result["report"]["counts"]["missing"], result["report"]["counts"]["damaged"]) == (1, 1)
    assert run.kinds() == ({"restore"} if role == "archive_restore" else set()) and bool(run.returncode) == (
        role == "archive_verify"
    )


def test_the_described_example_is_understood() -> None:
    page = (ROOT / "docs/document_archive.md").read_text()
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    result = ArgumentSpecValidator({"archive": ARCHIVE}).validate({"archive": yaml.safe_load(block)["runbook_archive"]})
    assert result.error_messages == []
    declared = result.validated_parameters["archive"]
    made = archive_of("archive", {**declared, "database": {**declared["database"], "service": ""}}, LocalRuntime())
    assert (made.objects.label, made.kind) == ("local:/data/archives", "sha256")
