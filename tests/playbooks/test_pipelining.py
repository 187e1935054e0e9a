# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module's arguments, passwords among them, reach no file of the managed host: ansible.cfg turns pipelining on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import HERE, said
from support.playbook import play, write_inventory

CANARY = "canary-7f3d2b"


@pytest.mark.parametrize(("overridden", "written"), [({}, False), ({"ANSIBLE_PIPELINING": "false"}, True)])
def test_arguments_stay_out_of_files(tmp_path: Path, overridden: dict[str, str], written: bool) -> None:
    """The module itself looks, while it runs, for files that hold its argument."""
    look = f"find {tmp_path} -type f -exec grep --files-with-matches {CANARY} {{}} +"
    found = said(
        "ansible", *HERE, "localhost", "-m", "command", "-a", look, ANSIBLE_REMOTE_TMP=str(tmp_path), **overridden
    )
    assert (str(tmp_path) in found) is written


@pytest.mark.parametrize("connection", ["local", "ssh"])
def test_every_connection_is_pipelined(connection: str) -> None:
    dumped = json.loads(said("ansible-config", "dump", "--type", "connection", "--format", "json"))
    plugins = {name: settings for plugin in dumped for name, settings in plugin.items()}
    assert {setting["name"]: setting["value"] for setting in plugins[connection]}["pipelining"] is True


@pytest.mark.parametrize(
    ("variables", "environment", "warned"),
    [({}, {}, False), ({}, {"ANSIBLE_PIPELINING": "false"}, True), ({"ansible_pipelining": False}, {}, True)],
    ids=["as the collection sets it", "off by the environment", "off by the inventory"],
)
def test_an_operator_is_told_when_it_is_off(
    tmp_path: Path, variables: dict[str, Any], environment: dict[str, str], warned: bool
) -> None:
    described = {
        "runbook_system": "tiny",
        "runbook_databases": [{"engine": "sqlite", "name": "app", "path": str(tmp_path / "app.db")}],
        "runbook_stores": [{"type": "local", "path": str(tmp_path / "store")}],
        "runbook_policy": {"last": {"count": 1}},
        "runbook_cache_dir": str(tmp_path / "cache"),
    }
    inventory = write_inventory(tmp_path / "inventory", {"tiny-host": {**described, **variables}})
    run = play("list_backups.yml", inventory=inventory, **environment)
    assert run.returncode == 0, run.failures()
    (told,) = run.named("say that secrets would touch the disk")
    assert told.get("msg", "").startswith("Pipelining is off, so Ansible writes module arguments") is warned
    assert told.get("skipped", False) is not warned
