# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is misspelt is not ignored in silence; what is right, or somebody else's, is."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.filter.misspelt import misspelt, read_by_roles
from ansible_collections.runbook.ops.plugins.module_utils._misspelt import unset

KNOWN = read_by_roles()
DATABASE = {"engine": "postgresql", "name": "shop", "scratch": {"host": "h", "user": "u"}, "policy": {"any": 1}}


def test_what_roles_read_is_known() -> None:
    assert {"runbook_system", "runbook_databases", "runbook_stores", "runbook_policy", "runbook_schedules"} < KNOWN
    assert "runbook_" not in KNOWN


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_every_variable_that_a_role_reads_passes(name: str) -> None:
    assert misspelt({}, ["runbook_system", name]) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("runbook_polcy", "runbook_policy"),
        ("runbook_stroes", "runbook_stores"),
        ("runbook_database", "runbook_databases"),
        ("runbook_scedules", "runbook_schedules"),
        ("runbook_metric_file", "runbook_metrics_file"),
        ("runbook_keep_lasts_good", "runbook_keep_last_good"),
    ],
)
@pytest.mark.parametrize("others", [[], ["runbook_system"]], ids=["alone", "in a description"])
def test_a_slip_is_told_with_the_nearest_name(name: str, meant: str, others: list[str]) -> None:
    (sentence,) = misspelt({}, [*others, name])
    assert sentence.startswith(f"{name} is read by nothing: write {meant}, ")


def test_a_variable_of_somebody_elses_is_refused_only_in_a_description_of_ours() -> None:
    (sentence,) = misspelt({}, ["runbook_system", "runbook_url"])
    assert sentence.startswith("runbook_url is read by nothing: docs/describe_a_system.md has every variable")
    assert misspelt({}, ["runbook_url", "runbook_wiki"]) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("backup_lable", "backup_label"),
        ("backup_verify_nwo", "backup_verify_now"),
        ("archive_restore_wiat", "archive_restore_wait"),
        ("schedule_sate", "schedule_state"),
        ("status_fial", "status_fail"),
    ],
)
def test_a_slip_in_what_a_run_is_asked_for_is_told(name: str, meant: str) -> None:
    (sentence,) = misspelt({}, ["runbook_system"], [name, meant, "backup_stores"])
    assert sentence == f"{name} is read by nothing: write {meant}, or another name."


def test_an_input_without_its_roles_first_word_is_told_by_that_role_alone() -> None:
    (sentence,) = misspelt({}, ["runbook_system"], ["verify_now"], ["runbook.ops.backup_verify"])
    assert sentence == "verify_now is read by nothing: write backup_verify_now, or another name."
    assert misspelt({}, ["runbook_system"], ["verify_now", "now"], ["runbook.ops.backup_prune"]) == []
    for own, role in (("label", "backup"), ("verify_mode", "archive_verify"), ("restore_wait", "archive_restore")):
        assert misspelt({}, ["runbook_system"], [own], [f"runbook.ops.{role}"]) == [], "words that anybody may use"


@pytest.mark.parametrize(
    "name",
    ["backup_dir", "backup_server", "schedule", "status_page_url", "host_name", "backup_database", "backup_store"],
)
def test_what_is_near_to_no_input_is_somebodys_own(name: str) -> None:
    assert misspelt({}, ["runbook_system"], [name]) == []


def test_a_required_variable_that_is_written_otherwise() -> None:
    assert unset("runbook_policy", ["runbook_system", "runbook_polcy"], KNOWN).startswith(
        "runbook_policy is not set, but runbook_polcy is: correct its name"
    )
    # What is near by chance, but is a variable of its own, is no slip.
    assert unset("runbook_stores", ["runbook_schedules"], KNOWN).startswith("runbook_stores is not set: describe")


@pytest.mark.parametrize(
    ("description", "sentences"),
    [
        ({"databases": [DATABASE], "stores": [{"type": "local", "path": "/b"}], "schedules": {"backup": "0 2 * * *"}}, []),
        ({"databases": [DATABASE, {"pasword": "s3cret"}]}, ["runbook_databases[1] has the unknown key 'pasword': write password."]),
        ({"databases": [{"scratch": {"usr": 1}}]}, ["runbook_databases[0].scratch has the unknown key 'usr': write user."]),
        ({"databases": [{"colour": 1}]}, ["runbook_databases[0] has the unknown key 'colour': it takes bin_dir, checks, "]),
        ({"stores": [{"pat": "/b"}, {"buket": "b"}]},
         ["runbook_stores[0] has the unknown key 'pat': write path.", "runbook_stores[1] has the unknown key 'buket': write bucket."]),
        ({"databases": [DATABASE, {"engine": "postgre"}]}, ["runbook_databases[1].engine is 'postgre': write postgresql."]),
        ({"stores": [{"type": "nfs"}]}, ["runbook_stores[0].type is 'nfs': write one of local, s3."]),
        ({"schedules": {"verfy": "0 2 * * *"}}, ["runbook_schedules has the unknown key 'verfy': write verify."]),
        ({"databases": [{7: 1}], "stores": "no list", "schedules": None}, ["runbook_databases[0] has the unknown key '7': it takes"]),
    ],
)  # fmt: skip
def test_unknown_words(description: dict[str, Any], sentences: list[str]) -> None:
    found = misspelt(description, [f"runbook_{name}" for name in description])
    assert len(found) == len(sentences)
    assert all(told.startswith(wanted) for told, wanted in zip(found, sentences, strict=True)), found
    assert "s3cret" not in "".join(found)


def test_a_key_is_told_under_the_name_that_its_description_was_given_by() -> None:
    wrong, roles = {"databases": [{"pasword": "x"}]}, ["runbook.ops.backup_list", "theirs"]
    (own,) = misspelt(wrong, ["runbook_system"], roles=roles)
    (described,) = misspelt(wrong, ["runbook_databases"], roles=roles)
    assert own == "backup_list_databases[0] has the unknown key 'pasword': write password."
    assert described == "runbook_databases[0] has the unknown key 'pasword': write password."
