# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The systems of the laboratory, brought up once and left standing: the next run finds them. And containers of a test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._runtime import _direct
from ansible_collections.runbook.ops.plugins.module_utils._runtime.compose import ComposeRuntime
from support.containers import programs, project, remove
from support.laboratory import Load, loading
from support.processes import until

from lab.erni import SYSTEM as ERNI
from lab.go import Unavailable
from lab.sme import SYSTEM as SME
from lab.system import System
from lab.valeo import SYSTEM as VALEO
from lab.valeo import Valeo


@pytest.fixture(scope="session")
def erni(engine: None) -> System:
    ERNI.up()
    return ERNI


@pytest.fixture(scope="session")
def sme(engine: None) -> System:
    SME.up()
    return SME


@pytest.fixture(scope="session")
def valeo(cluster: None) -> Valeo:
    try:
        VALEO.up()
    except Unavailable as reason:
        pytest.skip(f"NOT RUN: {reason}")
    return VALEO


@pytest.fixture
def load() -> Iterator[Load]:
    """Starts the load on a system; ``support.laboratory.told`` waits for its end and reads what it wrote down."""
    running: list[subprocess.Popen[str]] = []

    def start(system: System | Valeo, *, seconds: float = 60, seed: int = 1) -> subprocess.Popen[str]:
        running.append(loading(system, seconds=seconds, seed=seed))
        return running[-1]

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture(scope="module")
def idle(engine: None) -> Iterator[ComposeRuntime]:
    with project() as runtime:
        yield runtime


@pytest.fixture
def quiet(idle: ComposeRuntime) -> Iterator[ComposeRuntime]:
    """Nothing that a test started in the container outlives it."""
    yield idle
    until(lambda: not programs(idle))


@pytest.fixture
def several(engine: None) -> Iterator[list[str]]:
    names: list[str] = []
    yield names
    for name in names:
        remove(name)


@pytest.fixture
def unprivileged(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for an account of the socket's group, who may not open another account's pipe."""
    monkeypatch.setattr(_direct, "may", lambda: False)


@pytest.fixture
def root() -> None:
    """Who may open the pipe of any program."""
    if os.geteuid():
        pytest.skip("NOT RUN: only root reads a container's program from its own pipe")


@pytest.fixture(params=["root", "unprivileged"])
def account(request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(request.param)
