# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL in a pod, described as an operator does: by its labels, on its own loopback."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from contract.subjects.base import Subject
from contract.subjects.postgresql import postgresql_subject
from contract.subjects.postgresql_in_container import ContainedPostgresql
from support.pods import PodServer


class PodPostgresql(ContainedPostgresql):
    def connect(self, **also: Any) -> psycopg.Connection[Any]:
        host, port = self.instance.endpoint("localhost", self.server.port)
        return super().connect(**{"host": host, "port": port, **also})


@contextmanager
def in_pod(server: PodServer) -> Iterator[PodPostgresql]:
    with postgresql_subject(server, f"shop_{secrets.token_hex(4)}", PodPostgresql.schema, PodPostgresql) as made:
        assert isinstance(made, PodPostgresql)
        yield made


@contextmanager
def subject(directory: Path, request: pytest.FixtureRequest) -> Iterator[Subject]:
    with in_pod(request.getfixturevalue("postgres_pod")) as made:
        yield made
