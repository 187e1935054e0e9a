# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose memory a throw-away server needs: its own limit's wherever it is, and this host's where it runs on it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._engine import redis
from ansible_collections.runbook.ops.plugins.module_utils._engine._redis_scratch import TwinPlace
from ansible_collections.runbook.ops.plugins.module_utils._errors import NoSpace
from ansible_collections.runbook.ops.plugins.module_utils._runtime._container import ContainerInstance
from ansible_collections.runbook.ops.plugins.module_utils._runtime._docker import Docker
from ansible_collections.runbook.ops.plugins.module_utils._runtime._kubectl import Kubectl
from ansible_collections.runbook.ops.plugins.module_utils._runtime._pod import PodInstance
from ansible_collections.runbook.ops.plugins.module_utils._runtime._pods import Pod
from ansible_collections.runbook.ops.plugins.module_utils._runtime.base import Completed

MIB = 1 << 20


class _Telling:
    def run(self, _argv: Sequence[str], **_also: Any) -> Completed:
        return Completed(0, b"Redis server v=7.2.4 sha=0", "")


class APod(_Telling, PodInstance):
    def __init__(self) -> None:
        super().__init__(Pod(Kubectl(), "scratch", "twin", "scratch", "uid", 0))


class AContainer(_Telling, ContainerInstance):
    def __init__(self) -> None:
        super().__init__(Docker(), "twin")


@pytest.fixture(autouse=True)
def _a_host_with_next_to_none_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis, "open", lambda *_a, **_k: io.StringIO("MemAvailable:   65536 kB\n"), raising=False)


@pytest.mark.parametrize(
    ("twin", "needed", "refused"),
    [
        (APod, 63 * MIB, ""),
        (APod, 512 * MIB, ""),
        (APod, 513 * MIB, "may take 512 MiB of memory, the data set took 513 MiB .*: raise databases.0..scratch.memory_mib"),
        (AContainer, 63 * MIB, ""),
        (AContainer, 512 * MIB, "This host has 64 MiB of memory free, the data set took 512 MiB"),
        (AContainer, 513 * MIB, "may take 512 MiB of memory"),
    ],
)  # fmt: skip
def test_a_data_set_must_fit_where_it_is_loaded(twin: type[APod | AContainer], needed: int, refused: str) -> None:
    made = twin()
    engine = redis.RedisEngine.declared("databases[0]", {"engine": "redis", "name": "cache"}, made)
    with pytest.raises(NoSpace, match=refused) if refused else nullcontext():
        engine._require_memory(needed, TwinPlace(made, "redis-server", 512 * MIB))
