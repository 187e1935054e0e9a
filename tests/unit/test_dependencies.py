# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection says it needs is what it uses, no less and no more."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from ansible.galaxy.dependency_resolution.versioning import meets_requirements
from command_line import ROOT

PART_OF_EVERY_INSTALLATION = {"ansible.builtin", "runbook.ops"}
FULL_NAME = re.compile(r"[a-z_]+\.[a-z_]+(?=\.[a-z_0-9]+$)")


def packages_required() -> Iterator[str]:
    """Each package that a module loads by ``require(module, package)``."""
    for path in (ROOT / "plugins").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "require":
                package = node.args[1]
                assert isinstance(package, ast.Constant), f"{path}:{node.lineno}: name the package where it is used"
                yield package.value


def collections_used() -> set[str]:
    """The collections of every task's action in the roles and playbooks."""

    def actions(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            yield from (match[0] for key in node if (match := FULL_NAME.match(str(key))))
        for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else []:
            yield from actions(inner)

    files = [*ROOT.glob("playbooks/*.yml"), *ROOT.glob("roles/*/*/*.yml")]
    return {name for path in files for name in actions(yaml.safe_load(path.read_text()))} - PART_OF_EVERY_INSTALLATION


def declared_collections() -> dict[str, str]:
    declared = yaml.safe_load((ROOT / "requirements.yml").read_text())["collections"]
    return {collection["name"]: collection["version"] for collection in declared}


def test_python_packages() -> None:
    lines = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    assert sorted(re.split("[<>=]", line)[0] for line in lines if line) == sorted(set(packages_required()))


def test_collections() -> None:
    assert set(declared_collections()) == collections_used()
    assert declared_collections() == yaml.safe_load((ROOT / "galaxy.yml").read_text())["dependencies"]


def test_ranges_hold_what_is_locked() -> None:
    """PyPI's `ansible` brings the collections here, Galaxy elsewhere: both within one range."""
    bundled = importlib.util.find_spec("ansible_collections")
    assert bundled and bundled.submodule_search_locations
    for name, wanted in declared_collections().items():
        manifests = [Path(place, *name.split("."), "MANIFEST.json") for place in bundled.submodule_search_locations]
        (manifest,) = [path for path in manifests if path.is_file()]
        assert meets_requirements(json.loads(manifest.read_text())["collection_info"]["version"], wanted), name
