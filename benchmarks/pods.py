# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A system on Kubernetes: bytes out of a pod, and VALEO's backup against its document's."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.runbook.ops.plugins.module_utils._description import runtime_of
from ansible_collections.runbook.ops.plugins.module_utils._runtime._pod import PodInstance
from support import pods

from lab import engine, kubernetes
from lab.embedded import erni

from . import laboratory
from .containers import CONVERSATIONS
from .laboratory import Scale
from .module import run_module
from .pairs import Contestant, take_turns
from .rows import Row, at_most, faster, slower

_STREAM, _SCRIPT, _PEAK = 1.15, 1.0, 120.0
_STREAMED_MIB = 1024
_SECONDS = 3600.0
_FILE = "/tmp/benchmark"
_NAME = "postgres"


def measure(scale: Scale) -> Iterator[Row]:
    try:
        engine.ensure()
        kubernetes.ensure()
    except (engine.Unavailable, kubernetes.Unavailable) as reason:
        yield Row("A system on Kubernetes", f"NOT RUN: {reason}")
        return
    with _postgres() as pod, laboratory.workplace() as place:
        yield from _stream(pod, scale)
        yield from _backup(pod, place, scale)


@dataclass(frozen=True)
class _Pod:
    """A PostgreSQL in a namespace of its own."""

    namespace: str
    password: str

    @property
    def runtime(self) -> dict[str, str]:
        context = kubernetes.context()
        return {
            "type": "kubernetes", "kubeconfig": kubernetes.kubeconfig(), "namespace": self.namespace,
            **({"context": context[0]} if context else {}),
        }  # fmt: skip

    @property
    def instance(self) -> PodInstance:
        found = runtime_of(self.runtime).resolve(f"app={_NAME}")
        assert isinstance(found, PodInstance)
        return found

    def exec(self, *argv: str) -> list[str]:
        """As a document has it."""
        chosen = [f"--context={name}" for name in kubernetes.context()]
        where = ["--kubeconfig", kubernetes.kubeconfig(), *chosen, "--namespace", self.namespace]
        return [kubernetes.program("kubectl"), *where, "exec", _NAME, "--", *argv]


@contextmanager
def _postgres() -> Iterator[_Pod]:
    password = secrets.token_urlsafe(18)
    environment = {"POSTGRES_USER": erni.OWNER, "POSTGRES_DB": erni.DATABASE, "POSTGRES_PASSWORD": password}
    ready = {"exec": {"command": ["pg_isready", "-q", "-h", "127.0.0.1"]}, "periodSeconds": 1}
    container = {
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "readinessProbe": ready,
    }
    with pods.namespace() as namespace:
        pods.pod(
            namespace, _NAME, image="postgres", argv=("postgres", "-c", "shared_buffers=256MB"), container=container
        )
        yield _Pod(namespace, password)


def _stream(pod: _Pod, scale: Scale) -> Iterator[Row]:
    size = _STREAMED_MIB if scale.judged else scale.megabytes
    _timed(pod.exec("sh", "-c", f"head -c {size}M /dev/urandom > {_FILE}"))
    read = ["cat", _FILE]

    def stream() -> float:
        with closing(pod.instance) as instance:
            started = time.monotonic()
            instance.stream(read, lambda _data: None, timeout=_SECONDS)
            return time.monotonic() - started

    ours = Contestant("the runtime", stream, scale.rounds)
    peer = Contestant("kubectl exec", lambda: _timed(pod.exec(*read)), scale.rounds)
    take_turns(f"{size} MiB out of a pod", ours, peer)
    _timed(pod.exec("rm", _FILE))
    yield slower(
        ours, peer, f"{size} MiB out of a pod, digested at the source: as long as `kubectl exec ... cat`", _STREAM
    )


def _backup(pod: _Pod, place: Path, scale: Scale) -> Iterator[Row]:
    with closing(pod.instance) as instance:
        host, port = instance.endpoint("127.0.0.1", 5432)
        postgres: dict[str, Any] = {
            "host": host, "port": port, "superuser": erni.OWNER, "superuser_password": pod.password, "password": pod.password,
        }  # fmt: skip
        conversations = CONVERSATIONS * scale.megabytes
        erni.create(postgres, erni.DATABASE, {"demo.projects": 1_500, "demo.conversations": conversations})
    store, dump, peaks = place / "store", place / "dump", [0.0]

    def backup() -> float:
        ran = run_module("backup", {
            "system": "bench", "runtime": pod.runtime, "work_dir": str(place), "store": {"type": "local", "path": str(store)},
            "database": {
                "engine": "postgresql", "service": f"app={_NAME}", "name": erni.DATABASE, "user": erni.OWNER,
                "password": pod.password,
            },
        })  # fmt: skip
        peaks.append(ran.peak)
        shutil.rmtree(store)
        return ran.seconds

    def document() -> float:
        with dump.open("wb") as file:
            return _timed(pod.exec("pg_dump", "-U", erni.OWNER, erni.DATABASE), file.fileno())

    ours = Contestant("the module", backup, scale.rounds)
    script = Contestant("the document's", document, scale.rounds)
    take_turns(f"VALEO's backup, {scale.megabytes} MB", ours, script)
    what = f"VALEO's backup from its pod, {scale.megabytes} MB:"
    yield faster(
        ours, script, f"{what} faster than the document's `kubectl exec ... pg_dump > file`, not compressed", _SCRIPT
    )
    yield at_most("VALEO's backup: peak memory of the module's process", max(peaks), _PEAK, " MiB")


def _timed(argv: Sequence[str], output: int = subprocess.DEVNULL) -> float:
    started = time.monotonic()
    subprocess.run(argv, stdout=output, check=True, env=os.environ)
    return time.monotonic() - started
