# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers of the laboratory's Kubernetes as processes: found again, not confused with others, ended by force if need be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import CommandFailed, InputError

from lab.kubernetes import network
from lab.kubernetes.component import Component


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Component]:
    (tmp_path / "run").mkdir()
    shell = shutil.which("sh") or "sh"
    argv = [shell, "-c", "trap '' TERM; touch \"$1/ready\"; while :; do sleep 0.05; done", "sh", str(tmp_path)]
    made = Component("server", str(tmp_path), argv, (tmp_path / "ready").exists, patience=0.2)
    yield made
    made.stop()


def test_it_is_started_once_and_ended_even_if_it_does_not_want_to(server: Component) -> None:
    assert server.start() is True
    server.wait()
    pid = server.running()
    assert server.good() and server.start() is False and server.running() == pid
    assert server.stop() is True
    assert server.running() is None and server.stop() is False


def test_other_configuration_starts_it_anew(server: Component) -> None:
    server.start()
    server.wait()
    other = Component(server.name, server.directory, server.argv, server.ready, b"other", patience=0.2)
    before = server.running()
    assert other.start() is True
    assert other.running() not in (None, before)


def test_a_number_that_another_program_has_by_now_is_not_taken_for_it(server: Component) -> None:
    Path(server.directory, "run/server.pid").write_text(f"{os.getpid()} {server._version()}\n")
    assert server.running() is None and server.stop() is False
    assert server.start() is True


def test_one_that_ends_at_once_is_told_with_what_it_said(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    argv = [shutil.which("sh") or "sh", "-c", "echo the port is taken; exit 1", "sh", str(tmp_path)]
    server = Component("server", str(tmp_path), argv, lambda: False)
    server.start()
    with pytest.raises(CommandFailed, match=r"^server ended: the port is taken\.$"):
        server.wait()


def test_the_cluster_of_another_laboratory_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(network, "owner", lambda: "/somewhere/else")
    monkeypatch.setattr(network, "run", lambda *_given, **_named: pytest.fail("nothing may be run"))
    with pytest.raises(InputError, match="cluster of another laboratory, /somewhere/else, is on this machine"):
        network.up(str(tmp_path))
