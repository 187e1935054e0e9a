# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules, roles and playbooks answer to their full names wherever the repository is, with nothing of ours installed."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from command_line import HERE, ROOT, ended, repository_files, said


def names(pattern: str) -> list[str]:
    return [f"runbook.ops.{path.stem}" for path in sorted(ROOT.glob(pattern))]


MODULES = names("plugins/modules/[!_]*.py")
ROLES = names("roles/*/")
PLAYBOOKS = names("playbooks/*.yml")


@dataclass(frozen=True)
class Layout:
    """A place that the collection is used from, and the settings that this place comes with."""

    directory: Path
    environment: dict[str, str]

    def said(self, *argv: str) -> str:
        return said(*argv, cwd=self.directory, **self.environment)


def git(*argv: str | Path, cwd: Path) -> None:
    identity = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.com"]
    subprocess.run(["git", *identity, *argv], cwd=cwd, check=True, capture_output=True)


def clone(scratch: Path) -> Path:
    """A fresh clone of what is here, with what is not committed yet."""
    origin = scratch / "origin"
    for path in repository_files():
        (origin / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, origin / path, follow_symlinks=False)
    git("init", "--quiet", cwd=origin)
    git("add", "--all", cwd=origin)
    git("commit", "--quiet", "--message", "All of it", cwd=origin)
    git("clone", "--quiet", origin, scratch / "clone", cwd=scratch)
    return scratch / "clone"


def awx_project(clone: Path, scratch: Path) -> Layout:
    """As AWX lays it out: a copy without .git, and the project's collections_path copied as text into a longer one."""
    project = scratch / "runner" / "project"
    shutil.copytree(clone, project, symlinks=True, ignore=shutil.ignore_patterns(".git"))
    settings = configparser.ConfigParser()
    settings.read(project / "ansible.cfg")
    searched = [
        str(scratch / "runner" / "requirements_collections"),
        settings["defaults"]["collections_path"],
        str(scratch / "home/.ansible/collections"),
        "/usr/share/ansible/collections",
    ]
    return Layout(project, {"ANSIBLE_COLLECTIONS_PATH": ":".join(searched)})


def installed(clone: Path, scratch: Path) -> Layout:
    """From the built tarball, in a directory where there is nothing else."""
    said("ansible-galaxy", "collection", "build", "--output-path", str(scratch), cwd=clone)
    (tarball,) = scratch.glob("*.tar.gz")
    elsewhere = scratch / "elsewhere"
    elsewhere.mkdir()
    said("ansible-galaxy", "collection", "install", "--offline", "-p", "collections", str(tarball), cwd=elsewhere)
    return Layout(elsewhere, {"ANSIBLE_COLLECTIONS_PATH": str(elsewhere / "collections")})


@pytest.fixture(scope="module", params=["clone", "awx", "installed"])
def layout(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    scratch = tmp_path_factory.mktemp(request.param)
    cloned = clone(scratch)
    made = {
        "clone": lambda: Layout(cloned, {}),
        "awx": lambda: awx_project(cloned, scratch),
        "installed": lambda: installed(cloned, scratch),
    }[request.param]()
    return Layout(made.directory, {"HOME": str(scratch / "home"), **made.environment})


def test_there_is_something_to_resolve() -> None:
    assert MODULES
    assert ROLES
    assert PLAYBOOKS


@pytest.mark.parametrize(("kind", "expected"), [("module", MODULES), ("role", ROLES)])
def test_documentation(layout: Layout, kind: str, expected: list[str]) -> None:
    documented = json.loads(layout.said("ansible-doc", "--json", "--type", kind, *expected))
    assert sorted(documented) == expected


def test_modules_run(layout: Layout) -> None:
    """Called without arguments, each gets as far as complaining: it and all it imports was found and sent."""
    play = [
        {
            "hosts": "localhost",
            "tasks": [{"name": name, name: {}, "check_mode": True, "ignore_errors": True} for name in MODULES],
        }
    ]
    (layout.directory / "modules.yml").write_text(yaml.safe_dump(play))
    told = layout.said("ansible-playbook", *HERE, "modules.yml")
    assert told.count("...ignoring") == len(MODULES), told
    assert not re.search("couldn't resolve|Could not find|Traceback|MODULE FAILURE", told), told


def test_roles_and_playbooks(layout: Layout) -> None:
    play = [{"hosts": "localhost", "tasks": [{"ansible.builtin.import_role": {"name": name}} for name in ROLES]}]
    (layout.directory / "roles.yml").write_text(yaml.safe_dump(play))
    layout.said("ansible-playbook", *HERE, "--syntax-check", "roles.yml", *PLAYBOOKS)


def test_outside_a_layout_nothing_is_found(tmp_path: Path) -> None:
    """What the tests above see is the layout's doing, not a copy that lies about on this machine."""
    result = ended("ansible-doc", "--type", "module", MODULES[0], cwd=tmp_path, HOME=str(tmp_path))
    assert "was not found" in result.stderr


def test_molecule(tmp_path: Path) -> None:
    scenarios = {path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")}
    listed = said("molecule", "list", "--format", "plain", cwd=clone(tmp_path))
    assert scenarios
    assert scenarios <= set(listed.split())
