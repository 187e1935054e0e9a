# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL in a container of a compose project, described as an operator does: by its service, on its own loopback."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._runtime.base import Instance
from contract.subjects.base import Subject
from contract.subjects.postgresql import SCHEMA, PostgresqlSubject, postgresql_subject
from support.containers import Server


class ContainedPostgresql(PostgresqlSubject):
    extension = "pg_trgm"
    schema = SCHEMA.replace("vector;", "pg_trgm;").replace("vector(3)", "text")

    def declaration(self, **also: Any) -> dict[str, Any]:
        return super().declaration(**{"host": "localhost", "scratch": {"memory_mib": 512, "cpus": 1}, **also})

    @property
    def instance(self) -> Instance:
        assert isinstance(self.server, Server)
        return self.server.instance


@contextmanager
def contained(server: Server) -> Iterator[ContainedPostgresql]:
    with postgresql_subject(
        server, f"shop_{secrets.token_hex(4)}", ContainedPostgresql.schema, ContainedPostgresql
    ) as made:
        assert isinstance(made, ContainedPostgresql)
        yield made


@contextmanager
def subject(directory: Path, request: pytest.FixtureRequest) -> Iterator[Subject]:
    with contained(request.getfixturevalue("postgres_container")) as made:
        yield made
