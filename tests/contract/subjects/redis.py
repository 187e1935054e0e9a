# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis for the contract suite: every type of value, in two of the server's databases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
import redis
from ansible_collections.runbook.ops.plugins.module_utils._engine.redis import RedisEngine
from ansible_collections.runbook.ops.plugins.module_utils._runtime.base import Instance
from ansible_collections.runbook.ops.plugins.module_utils._runtime.local import LocalInstance
from contract.subjects.base import Subject
from support.containers import Server

from lab.embedded.servers import RedisServer


class RedisSubject(Subject):
    holding = (
        {"keys": "*", "expect": 356},
        {"keys": "guardrail:*", "expect": 350},
        {"keys": "queue", "expect": 1},
    )
    failing: ClassVar = {"keys": "session:*", "expect": ">=1"}

    def __init__(self, server: RedisServer | Server) -> None:
        self.secret = server.password
        self.server = server

    def connect(self, database: int = 0) -> redis.Redis:
        return redis.Redis(self.server.host, self.server.port, password=self.server.password, db=database)

    def declaration(self, **also: Any) -> dict[str, Any]:
        return {
            "engine": "redis", "name": "cache", "host": self.server.host, "port": self.server.port,
            "password": self.server.password, "bin_dir": self.server.bin_dir, "timeout": "60s", **also,
        }  # fmt: skip

    def engine(self, checks: Sequence[Mapping[str, Any]] = (), **also: Any) -> RedisEngine:
        return RedisEngine.declared("databases[0]", self.declaration(checks=checks, **also), self.instance)

    @property
    def instance(self) -> Instance:
        return LocalInstance()

    def unreachable(self) -> RedisEngine:
        return self.engine(port=1)

    def fill(self) -> None:
        with self.connect() as server:
            server.flushall()
            server.mset({f"guardrail:{number}": "allowed " * 20 for number in range(300)})
            server.rpush("queue", *range(500))
            server.sadd("members", *range(200))
            server.zadd("ranks", {str(number): number / 3 for number in range(200)})
            server.hset("settings", mapping={str(number): "value" for number in range(200)})
            server.xadd("events", {"kind": "login"})
            server.set("token", b"\x00\xff" * 40, ex=86400)
        with self.connect(3) as server:
            server.mset({f"guardrail:other:{number}": number for number in range(50)})

    def change(self) -> None:
        with self.connect() as server:
            server.delete("guardrail:0", "guardrail:1")


@contextmanager
def subject(directory: Path, request: pytest.FixtureRequest) -> Iterator[Subject]:
    made = RedisSubject(request.getfixturevalue("redis_server"))
    made.fill()
    yield made
    with made.connect() as server:
        server.flushall()
