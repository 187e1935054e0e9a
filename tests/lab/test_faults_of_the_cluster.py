# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What befalls the cluster of a database while it is backed up; and that the next backup works."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import PlatformError, RunbookError
from contract.shelf import Shelf
from contract.subjects.postgresql_in_pod import PodPostgresql, in_pod
from support import pods
from support.fault_report import Fault
from support.pods import PodServer
from support.processes import until

from lab import kubernetes
from lab.kubernetes import cluster as own
from lab.kubernetes import components
from lab.place import home

pytestmark = pytest.mark.skipif(
    kubernetes.given() is not None, reason="NOT RUN: a given cluster's servers are not ours to stop"
)

NODE_SECONDS = 300.0


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    (tmp_path / "shelf").mkdir()
    return Shelf(tmp_path / "shelf")


@pytest.fixture
def database(postgres_pod: PodServer) -> Iterator[PodPostgresql]:
    """With more in it than pipes and buffers hold, so that it is broken while it is dumped."""
    with in_pod(postgres_pod) as made:
        with made.connect() as connection:
            connection.execute("CREATE TABLE bulk AS SELECT repeat(md5(n::text), 500) FROM generate_series(1, 20000) n")
        yield made


def broken(database: PodPostgresql, shelf: Shelf, break_it: Callable[[], object]) -> str:
    """What is said of a dump in the middle of which ``break_it`` is called; nothing of it is taken for whole, nothing stays."""
    server = database.server
    assert isinstance(server, PodServer)
    shelf.interfere = break_it
    with pytest.raises(RunbookError) as caught:
        shelf.take(database.engine())
    assert len(str(caught.value).splitlines()) == 1
    assert "data" not in [name.partition(".")[0] for name in shelf.names()]
    until(lambda: not [argv for argv in pods.programs(server.project, server.container) if "pg_dump" in argv])
    return str(caught.value)


def test_the_api_server_is_restarted_in_the_middle_of_a_dump(
    database: PodPostgresql, shelf: Shelf, fault: Fault
) -> None:
    said = broken(database, shelf, own.restart_api_server)
    shelf.take(database.engine())
    fault("the API server is restarted in the middle of a dump", said, "nothing complete; the next run works")


@contextmanager
def stopped_kubelet() -> Iterator[None]:
    """The node's agent is silent, as when the machine hangs, until the control plane takes the node for lost."""
    (kubelet,) = [one for one in components.all_of(home("kubernetes")) if one.name == "kubelet"]
    pid = kubelet.running()
    assert pid
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: node_ready() != "True", NODE_SECONDS)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
        until(lambda: node_ready() == "True", NODE_SECONDS)


def node_ready() -> str:
    return pods.kubectl(
        "get", "node", components.NODE, "--output", "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    )


def test_a_node_that_is_not_ready(database: PodPostgresql, shelf: Shelf, fault: Fault) -> None:
    server = database.server
    assert isinstance(server, PodServer)
    with stopped_kubelet():
        until(lambda: "False" in pods.kubectl("--namespace", server.project, "get", "pod", server.container, "--output",
                                              "jsonpath={.status.conditions[?(@.type=='Ready')].status}"))  # fmt: skip
        with pytest.raises(PlatformError, match=r"no ready pod \(\S+ is on a node that is not ready\)") as caught:
            pods.on(server.project).resolve(f"app={server.container}")
    until(lambda: serves(server))
    shelf.take(database.engine())
    fault("the pod's node is not ready", caught.value, "nothing was begun; when it is back, the next run works")


def serves(server: PodServer) -> bool:
    try:
        return bool(pods.on(server.project).resolve(f"app={server.container}"))
    except RunbookError:
        return False
