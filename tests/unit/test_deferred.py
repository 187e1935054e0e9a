# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service that does not run is in nobody's way but its own backup's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._description import engine_of
from ansible_collections.runbook.ops.plugins.module_utils._errors import InputError, Unsupported
from ansible_collections.runbook.ops.plugins.module_utils._runtime.base import Instance, Runtime
from ansible_collections.runbook.ops.plugins.module_utils._runtime.deferred import DeferredInstance
from ansible_collections.runbook.ops.plugins.module_utils._runtime.local import LocalInstance

DOWN = "database.service is 'db', of which nothing runs: start it."


class Services(Runtime):
    """A platform that the host is one instance of, and services others; it counts how often it was asked for those."""

    type = "services"

    def __init__(self, up: bool) -> None:
        self.up = up
        self.asked = 0

    def resolve(self, service: str, variable: str = "service") -> Instance:
        if service:
            self.asked += 1
            if not self.up:
                raise InputError(DOWN)
        return LocalInstance()


SERVED: dict[str, dict[str, Any]] = {
    "postgresql": {"user": "u", "password": "p", "host": "127.0.0.1", "port": 5432},
    "redis": {"password": "p", "host": "127.0.0.1", "port": 6379},
}


@pytest.mark.parametrize("engine", SERVED)
def test_describing_asks_for_nothing_and_reaching_says_what_is_wrong(engine: str) -> None:
    runtime = Services(up=False)
    made = engine_of("database", {"engine": engine, "name": "a", "service": "db", **SERVED[engine]}, runtime)
    assert runtime.asked == 0
    with pytest.raises(InputError, match="of which nothing runs"):
        made.preflight()
    assert runtime.asked == 1


@pytest.mark.parametrize("engine", ["sqlite", "files"])
def test_what_cannot_be_inside_a_service_is_told_at_once(engine: str) -> None:
    with pytest.raises(Unsupported, match="inside db"):
        engine_of("database", {"engine": engine, "name": "a", "service": "db"}, Services(up=False))


USES: dict[str, Callable[[Instance, str], object]] = {
    "run": lambda instance, path: instance.run(["cat", path], timeout=9).stdout,
    "stream": lambda instance, path: instance.stream(["cat", path], lambda data: None, timeout=9).size,
    "feed": lambda instance, path: instance.feed(["cat"], [b"text"], timeout=9).stdout,
    "fetch": lambda instance, path: instance.fetch(path, lambda data: None, timeout=9).size,
    "place": lambda instance, path: instance.place(path, [b"text"], timeout=9, mode=0o640).size,
    "endpoint": lambda instance, path: instance.endpoint("127.0.0.1", 1),
}


@pytest.mark.parametrize("use", USES)
def test_it_is_the_instance_it_stands_for(use: str, tmp_path: Path) -> None:
    runtime, path = Services(up=True), tmp_path / "file"
    path.write_bytes(b"text")
    deferred = DeferredInstance("db", lambda: runtime.resolve("db"))
    assert [USES[use](deferred, str(path)) for _time in range(2)] == [USES[use](LocalInstance(), str(path))] * 2
    assert runtime.asked == 1
