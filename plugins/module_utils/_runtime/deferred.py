# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance that is looked for when it is first used.

A system can so be described, its backups listed and proved, and its other databases backed up, while a service is down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property

from .base import Completed, Instance, Limits, Sink, Streamed


class DeferredInstance(Instance):
    """``find`` is asked once; what it raises is raised by whatever needed the instance."""

    def __init__(self, name: str, find: Callable[[], Instance]) -> None:
        self.name = name
        self._find = find

    @cached_property
    def _found(self) -> Instance:
        return self._find()

    def run(
        self, argv: Sequence[str], *, timeout: float, stdin: bytes = b"", env: Mapping[str, str] | None = None,
        limit: int = 1 << 20,
    ) -> Completed:  # fmt: skip
        return self._found.run(argv, timeout=timeout, stdin=stdin, env=env, limit=limit)

    def stream(
        self, argv: Sequence[str], sink: Sink, *, timeout: float, env: Mapping[str, str] | None = None
    ) -> Streamed:
        return self._found.stream(argv, sink, timeout=timeout, env=env)

    def feed(
        self, argv: Sequence[str], source: Iterable[bytes], *, timeout: float, env: Mapping[str, str] | None = None,
        limit: int = 1 << 20,
    ) -> Completed:  # fmt: skip
        return self._found.feed(argv, source, timeout=timeout, env=env, limit=limit)

    def fetch(self, path: str, sink: Sink, *, timeout: float) -> Streamed:
        return self._found.fetch(path, sink, timeout=timeout)

    def place(self, path: str, source: Iterable[bytes], *, timeout: float, mode: int = 0o600) -> Streamed:
        return self._found.place(path, source, timeout=timeout, mode=mode)

    def endpoint(self, host: str, port: int) -> tuple[str, int]:
        return self._found.endpoint(host, port)

    def twin(self, limits: Limits, user: str) -> AbstractContextManager[Instance] | None:
        return self._found.twin(limits, user)
