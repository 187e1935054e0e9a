# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation says to type works, its links lead somewhere, and its examples are understood."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.runbook.ops.plugins.filter.misspelt import read_by_roles
from ansible_collections.runbook.ops.plugins.module_utils._checks import parse_checks
from command_line import ROOT, ended
from support.playbook import Demo, described, parsed

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ELSEWHERE = {"restore_by_hand.md", "describe_a_system.md", "lab.md", "scheduling.md"}
"""Their steps are executed by tests of their own."""

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def blocks(page: Path, language: str) -> list[str]:
    return [body for written, body in _BLOCK.findall(page.read_text()) if written == language]


def heading(line: str) -> str:
    """The anchor that a heading makes."""
    return re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")


def written_commands() -> Iterator[str]:
    for page in PAGES:
        if page.name not in ELSEWHERE:
            yield from (line for block in blocks(page, "bash") for line in block.splitlines() if line)
        if page.name != "restore_by_hand.md":
            yield from re.findall(r"`(ansible-(?:playbook|doc) [^`]+|make demo[\w-]*)`", page.read_text())


COMMANDS = list(dict.fromkeys(written_commands()))
MADE = [command for command in COMMANDS if command.startswith("make ")]
TYPED = [command for command in COMMANDS if command not in MADE]


def test_there_is_something_to_type() -> None:
    assert {"make demo", "make demo-stop", "make demo-clean", "make test"} <= set(MADE)
    assert sum("ansible-playbook" in command for command in TYPED) >= 8


@pytest.mark.parametrize("command", TYPED)
def test_a_command_works(demo: Demo, command: str, tmp_path: Path) -> None:
    """In the order of the pages: the first takes the backups that others need."""
    typed = command.replace("/tmp/", f"{tmp_path}/")
    result = ended(*shlex.split(typed), **demo.environment)
    assert result.returncode == 0, f"{typed}\n{result.stdout[-3000:]}\n{result.stderr}"
    if typed != command:
        assert list(tmp_path.iterdir())


@pytest.mark.parametrize("command", MADE)
def test_what_is_made_exists(command: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([\w -]+):", makefile, re.MULTILINE))
    assert command.split()[1] in {name for line in targets for name in line.split()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text()):
        if "://" in link:
            continue
        path, _hash, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in {heading(line) for line in target.read_text().splitlines() if line.startswith("#")}, link


def test_every_page_is_found_from_the_readme() -> None:
    reached, ahead = set(), [PAGES[0]]
    while ahead:
        page = ahead.pop()
        reached.add(page)
        linked = {(page.parent / link.partition("#")[0]).resolve() for link in _LINK.findall(page.read_text())}
        ahead += [found for found in linked if found.suffix == ".md" and found.exists() and found not in reached]
    assert reached == set(PAGES)


DESCRIBE = ROOT / "docs/describe_a_system.md"


def test_the_table_of_variables_is_what_roles_read() -> None:
    rows = [line.split("|")[1] for line in DESCRIBE.read_text().splitlines() if line.startswith("| `runbook_")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == read_by_roles()


def test_the_described_example_is_understood(tmp_path: Path) -> None:
    """Written to the files that the page names, with nothing added."""
    for block in blocks(DESCRIBE, "yaml"):
        path = re.match(r"# (inventories/\S+)\n", block)
        assert path, block
        target = tmp_path / path[1]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block)
    (told,) = described(tmp_path / "inventories/acme", SHOP_DB_PASSWORD="of-shop").values()
    assert (told["system"], told["databases"][0]["password"]) == ("acme", "of-shop")
    for database in told["databases"]:  # no keyring of a test's holds the example's key
        database.update(recipients=[], plaintext=True)
    assert [str(found.scope) for found in parsed(told)] == ["acme/postgresql/shop", "acme/files/configuration"]
    (told,) = described(tmp_path / "inventories/nimbus", SHOP_DB_PASSWORD="of-shop").values()
    told["databases"][1].update(recipients=[], plaintext=True)
    assert [str(found.scope) for found in parsed(told)] == ["nimbus/postgresql/shop", "nimbus/files/configuration"]
    assert told["runtime"]["scratch_namespace"] == "shop-scratch"


def test_every_kind_of_check_is_shown_and_understood() -> None:
    (shown,) = (yaml.safe_load(block) for block in blocks(DESCRIBE, "text") if block.startswith("checks:"))
    engines = {"extension": "postgresql", "role": "postgresql", "keys": "redis", "file": "files"}
    for check in shown["checks"]:
        assert parse_checks("checks", [check], next((engines[key] for key in check if key in engines), "sqlite"))
    kinds = {key for check in shown["checks"] for key in check}
    assert {"table", "newest", "sql", *engines} < kinds


def examples() -> list[tuple[str, str, dict[str, Any]]]:
    """Every task with a module of ours that a page shows."""
    found = []
    for page in PAGES:
        for block in blocks(page, "yaml"):
            tasks = yaml.safe_load(block)
            for task in tasks if isinstance(tasks, list) else []:
                found += [(page.name, name, task[name]) for name in task if name.startswith("runbook.ops.")]
    return found


@pytest.mark.parametrize(("page", "module", "arguments"), examples())
def test_a_shown_task_is_understood(page: str, module: str, arguments: dict[str, Any]) -> None:
    path = module.replace("runbook.ops.", "ansible_collections.runbook.ops.plugins.modules.")
    result = ArgumentSpecValidator(importlib.import_module(path).ARGUMENT_SPEC).validate(arguments)
    assert result.error_messages == []
