# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis in a container of a compose project, described as an operator does: by its service, on its own loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._runtime.base import Instance
from contract.subjects.base import Subject
from contract.subjects.redis import RedisSubject
from support.containers import Server


class ContainedRedis(RedisSubject):
    def declaration(self, **also: Any) -> dict[str, Any]:
        return super().declaration(**{"host": "localhost", "scratch": {"memory_mib": 512, "cpus": 1}, **also})

    @property
    def instance(self) -> Instance:
        assert isinstance(self.server, Server)
        return self.server.instance


@contextmanager
def subject(directory: Path, request: pytest.FixtureRequest) -> Iterator[Subject]:
    made = ContainedRedis(request.getfixturevalue("redis_container"))
    made.fill()
    yield made
    with made.connect() as server:
        server.flushall()
