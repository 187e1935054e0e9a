# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers for the tests, one of each for a session, and directories that they can reach."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import containers, pods

from lab.embedded.servers import (
    PostgresServer,
    RedisServer,
    S3Server,
    start_postgres,
    start_redis,
    start_s3,
)

pytest_plugins = ["support.fault_report"]

PASSABLE = 0o711
"""As root, servers run under another account, which must get through to their directories."""


def pytest_configure(config: pytest.Config) -> None:
    # pytest's own place for temporary directories is closed to the servers' account, and closed again at every start.
    if os.geteuid() == 0 and not config.option.basetemp and not hasattr(config, "workerinput"):
        config.option.basetemp = tempfile.mkdtemp(prefix="runbook-tests-", dir="/var/tmp")
        config.add_cleanup(lambda: shutil.rmtree(config.option.basetemp, ignore_errors=True))


@pytest.fixture(scope="session", autouse=True)
def passable(tmp_path_factory: pytest.TempPathFactory) -> None:
    base = tmp_path_factory.getbasetemp()
    for directory in (base, base.parent) if "PYTEST_XDIST_WORKER" in os.environ else (base,):
        directory.chmod(PASSABLE)


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """pytest's, open to be passed through."""
    tmp_path.chmod(PASSABLE)
    return tmp_path


@pytest.fixture(scope="session")
def engine() -> None:
    """A Docker Engine: the one that is there, else the laboratory's own."""
    from lab import engine as laboratory

    try:
        laboratory.ensure()
    except laboratory.Unavailable as reason:
        pytest.skip(f"NOT RUN: {reason}")


@pytest.fixture(scope="session")
def cluster(engine: None) -> None:
    """A Kubernetes: the one whose kubeconfig is given, else the laboratory's own; its images come from the Engine."""
    from lab import kubernetes as laboratory

    try:
        laboratory.ensure()
    except laboratory.Unavailable as reason:
        pytest.skip(f"NOT RUN: {reason}")


@pytest.fixture(scope="session")
def postgres_container(engine: None) -> Iterator[containers.Server]:
    with containers.postgres() as server:
        yield server


@pytest.fixture(scope="session")
def redis_container(engine: None) -> Iterator[containers.Server]:
    with containers.redis_server() as server:
        yield server


BUILT = ("cluster", "kubernetes", "_pod", "minio", "faults_of_s3", "valeo", "lab-up", "lab-status")
"""Words in the names of tests and fixtures that need a server which has to be built from its sources."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of tests/lab needs the laboratory, and some of it a server that is built first."""
    for item in items:
        if "lab" in item.path.relative_to(Path(__file__).parent).parts:
            item.add_marker(pytest.mark.lab)
        names = " ".join([item.nodeid, *getattr(item, "fixturenames", ())])
        if item.get_closest_marker("lab") and any(word in names for word in BUILT):
            item.add_marker(pytest.mark.built)


def _directory(factory: pytest.TempPathFactory, name: str) -> Path:
    directory = factory.mktemp(name)
    directory.chmod(PASSABLE)
    return directory


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    server = start_postgres(_directory(tmp_path_factory, "postgres"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = start_redis(_directory(tmp_path_factory, "redis"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = start_s3(_directory(tmp_path_factory, "s3"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A stricter S3 server, built from its sources."""
    from lab import minio as laboratory
    from lab.go import Unavailable

    try:
        server = laboratory.start(_directory(tmp_path_factory, "minio"))
    except Unavailable as reason:
        pytest.skip(f"NOT RUN: {reason}")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_pod(cluster: None) -> Iterator[pods.PodServer]:
    with pods.postgres() as server:
        yield server
