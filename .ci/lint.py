# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every linter, as many at a time as there are cores; one line each, and the output of those that fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from outcome import Outcome

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 900  # seconds that one command may take

# `ansible-test` keeps its environments below HOME. This one is ours, so that the stand-in for get-pip below is too.
SANITY_HOME = ROOT / ".cache" / "sanity"
# It would fetch this file from a host of its own; the same pip lies inside Python.
GET_PIP = SANITY_HOME / ".ansible/test/cache/get_pip_25_2.py"


@dataclass(frozen=True)
class Linter:
    """Commands that run one after the other until one fails."""

    name: str
    commands: list[list[str]]
    cwd: Path = ROOT
    environment: dict[str, str] = field(default_factory=dict)

    def run(self) -> tuple[bool, str, float]:
        """Whether all went well, what the last one said, and the seconds they took."""
        started = time.monotonic()
        for command in self.commands:
            ended = subprocess.run(
                command,
                cwd=self.cwd,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                timeout=LIMIT,
                check=False,
            )
            if ended.returncode:
                return False, f"$ {' '.join(command)}\n{ended.stdout}", time.monotonic() - started
        return True, ended.stdout, time.monotonic() - started


def linters(stage: Path, scratch: Path) -> list[Linter]:
    """The longest first: the short ones fill the gaps."""
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    tarball = f"runbook-ops-{version}.tar.gz"
    return [
        Linter(
            "ansible-test sanity",
            [["ansible-test", "sanity", "--python", "{}.{}".format(*sys.version_info), "--color", "no"]],
            stage,
            {"HOME": str(SANITY_HOME)},
        ),
        Linter(
            "ansible-lint",
            [["ansible-lint", "-q", "--nocolor"]],
            environment={"ANSIBLE_INVENTORY_UNPARSED_FAILED": "False"},
        ),
        Linter("mypy", [["mypy", "-p", "ansible_collections.runbook.ops.plugins"]]),
        Linter("antsibull-docs", [["antsibull-docs", "lint-collection-docs", "--plugin-docs", "."]], stage),
        Linter(
            "build, install, load",
            [
                ["ansible-galaxy", "collection", "build", str(ROOT)],
                ["ansible-galaxy", "collection", "install", "--offline", "-p", "installed", tarball],
                ["ansible-doc", "--type", "module", *named("plugins/modules/[!_]*.py")],
                ["ansible-doc", "--type", "role", *named("roles/*")],
            ],
            scratch,
            {"ANSIBLE_COLLECTIONS_PATH": str(scratch / "installed")},
        ),
        Linter("molecule", [["molecule", "list", "--format", "plain"]]),
        Linter("antsibull-changelog", [["antsibull-changelog", "lint"]]),
        Linter("yamllint", [["yamllint", "--strict", "."]]),
        Linter("shellcheck", [["shellcheck", ".ci/run", ".ci/find-python"]]),
        Linter("ruff", [["ruff", "check", "--quiet", "."], ["ruff", "format", "--check", "--quiet", "."]]),
    ]


def named(pattern: str) -> list[str]:
    return [f"runbook.ops.{path.stem}" for path in sorted(ROOT.glob(pattern))]


def stage_in(scratch: Path) -> Path:
    """A copy where `ansible-test` wants a collection to be, of all that git knows or would add.

    Without the links to it, without the tests' Python: what pylint demands there is for code on managed hosts; and without
    the charts, whose templates become YAML only in Helm's hands.
    """
    stage = scratch / "ansible_collections/runbook/ops"
    listed = subprocess.run(
        [
            "git",
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            ":!collections",
            ":!tests/*.py",
            ":!lab/*/charts/*",
        ],
        cwd=ROOT,
        capture_output=True,
        check=True,
        encoding="utf-8",
    ).stdout
    for path in filter(os.path.lexists, filter(None, listed.split("\0"))):
        target = stage / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, target, follow_symlinks=False)
    return stage


def lint() -> Outcome:
    outcome = Outcome()
    GET_PIP.parent.mkdir(parents=True, exist_ok=True)
    GET_PIP.write_text("import ensurepip\n\nensurepip.bootstrap()\n")
    with tempfile.TemporaryDirectory(prefix="lint-") as directory, ThreadPoolExecutor(os.cpu_count()) as pool:
        scratch = Path(directory)
        running = [(linter, pool.submit(linter.run)) for linter in linters(stage_in(scratch), scratch)]
        for linter, result in running:
            good, said, seconds = result.result()
            print(f"{'ok' if good else 'FAILED':<8}{linter.name:<24}{seconds:>6.1f} s", flush=True)
            outcome.count(linter.name, good=good)
            if not good:
                print(said, flush=True)
    return outcome
