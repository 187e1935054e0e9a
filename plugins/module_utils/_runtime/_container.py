# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs and files of a running container, through the Engine's exec, with a witness beside each program."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from .._errors import CommandFailed, PlatformError, RunbookError, TimedOut
from . import _direct
from ._docker import Docker, Refusal
from ._exec import Exec, NotDirect
from ._witness import Checksum, Count, Testimony
from .base import Completed, Instance, Sink, Streamed, failure

_CONTROL_SECONDS = 60.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class ContainerInstance(Instance):
    """One container; ``user`` is whom programs run as in it, the image's own account unless told otherwise."""

    def __init__(self, docker: Docker, name: str, user: str = "") -> None:
        self.name = name
        self._docker = docker
        self._user = user
        self._direct = _direct.may()

    def run(
        self, argv: Sequence[str], *, timeout: float, stdin: bytes = b"", env: Mapping[str, str] | None = None,
        limit: int = 1 << 20,
    ) -> Completed:  # fmt: skip
        return self._collect(argv, [stdin] if stdin else None, env, timeout, limit)

    def feed(
        self, argv: Sequence[str], source: Iterable[bytes], *, timeout: float, env: Mapping[str, str] | None = None,
        limit: int = 1 << 20,
    ) -> Completed:  # fmt: skip
        return self._collect(argv, source, env, timeout, limit)

    def stream(
        self, argv: Sequence[str], sink: Sink, *, timeout: float, env: Mapping[str, str] | None = None
    ) -> Streamed:
        try:
            streamed, testimony, said = self._passed(argv, None, env, timeout, sink, direct=self._direct)
        except NotDirect:
            self._direct = False
            return self.stream(argv, sink, timeout=timeout, env=env)
        if testimony.returncode != 0:
            raise CommandFailed(failure(argv, testimony.returncode, said))
        return streamed

    def _collect(
        self, argv: Sequence[str], source: Iterable[bytes] | None, env: Mapping[str, str] | None, timeout: float,
        limit: int,
    ) -> Completed:  # fmt: skip
        kept = bytearray()

        def keep(data: bytes) -> None:
            kept.extend(data)
            if len(kept) > limit:
                raise CommandFailed(f"{os.path.basename(argv[0])} wrote more than {limit} bytes; it was ended.")

        _streamed, testimony, said = self._passed(argv, source, env, timeout, keep)
        return Completed(testimony.returncode, bytes(kept), said)

    def _passed(
        self, argv: Sequence[str], source: Iterable[bytes] | None, env: Mapping[str, str] | None, timeout: float,
        sink: Sink, *, direct: bool = False,
    ) -> tuple[Streamed, Testimony, str]:  # fmt: skip
        """All of a program's stdout to ``sink``, proved to be what the program wrote."""
        with self._running(argv, source, env, timeout, direct=direct) as running:
            arrived = Count() if direct else Checksum()
            try:
                for data in running.stdout():
                    if not running.timed_out:
                        arrived.update(data)
                        sink(data)
            except BaseException:
                running.kill()
                running.drain()
                raise
            program = os.path.basename(argv[0])
            if running.timed_out:
                raise TimedOut(f"{program} did not finish within {timeout:g} s and was ended.")
            testimony = running.finish()
            if reason := running.witness.could_not_start:
                raise CommandFailed(
                    f"{argv[0]} could not be started ({reason}) in {self.name}: install it in its image, or see whether its "
                    "path is right."
                )
            if isinstance(arrived, Checksum) and testimony.digest != (arrived.value, arrived.size):
                wrote = testimony.digest[1] if testimony.digest else 0
                raise CommandFailed(
                    f"{program} wrote {wrote} bytes in {self.name}, of which {arrived.size} arrived"
                    f"{' changed' if arrived.size == wrote else ''}: the stream cannot be trusted, try again."
                )
            return Streamed(arrived.size), testimony, running.witness.said

    @contextmanager
    def _running(
        self, argv: Sequence[str], source: Iterable[bytes] | None, env: Mapping[str, str] | None, timeout: float,
        *, direct: bool,
    ) -> Iterator[Exec]:  # fmt: skip
        try:
            running = Exec(self._docker, self.name, argv, env, self._user, source, timeout, direct=direct)
        except Refusal as refusal:
            raise CommandFailed(
                f"{os.path.basename(argv[0])} could not be started in {self.name} ({refusal}): see whether it still runs."
            ) from None
        try:
            yield running
        finally:
            running.close()

    # Files: what ``cat``, ``dd``, ``stat`` and their like do, in every image.

    def fetch(self, path: str, sink: Sink, *, timeout: float) -> Streamed:
        self._judge(path, "read", self._kind(path), ("regular file", "regular empty file"))
        try:
            return self.stream(["cat", path], sink, timeout=timeout)
        except TimedOut:
            raise TimedOut(f"Reading {path} did not finish within {timeout:g} s and was ended.") from None

    def place(self, path: str, source: Iterable[bytes], *, timeout: float, mode: int = 0o600) -> Streamed:
        end = time.monotonic() + timeout
        partial = f"{path}.{secrets.token_hex(4)}.partial"
        sent = Checksum()

        def counted() -> Iterator[bytes]:
            for data in source:
                sent.update(data)
                yield data

        if self._kind(path) == "directory":
            self._judge(path, "written", "directory", ())
        try:
            self._control(path, ["install", "-m", "600", "/dev/null", partial])  # private before it holds anything
            written = self.feed(["dd", f"of={partial}", "bs=64k", "conv=fsync"], counted(), timeout=timeout)
            self._judge(path, "written", _complaint(written), (None,))
            told = self._control(path, ["cksum", partial]).split()
            if [int(part) for part in told[:2]] != [sent.value, sent.size]:
                raise CommandFailed(f"{path} in {self.name} did not take all bytes as they were sent: try again.")
            self._control(path, ["chmod", f"{mode:o}", partial])
            if time.monotonic() > end:
                raise TimedOut(f"Writing {path} did not finish within {timeout:g} s and was ended.")
            self._control(path, ["mv", "-f", partial, path])
            return Streamed(sent.size)
        except TimedOut:
            raise TimedOut(f"Writing {path} did not finish within {timeout:g} s and was ended.") from None
        finally:
            with suppress(RunbookError):
                self.run(["rm", "-f", partial], timeout=_CONTROL_SECONDS)

    def _kind(self, path: str) -> str:
        """``stat``'s word for it, or why there is none."""
        ended = self.run(["stat", "-L", "-c", "%F", path], timeout=_CONTROL_SECONDS)
        return _complaint(ended) or ended.stdout.decode().strip()

    def _control(self, path: str, argv: Sequence[str]) -> str:
        ended = self.run(argv, timeout=_CONTROL_SECONDS)
        self._judge(path, "written", _complaint(ended), (None,))
        return ended.stdout.decode()

    def _judge(self, path: str, verb: str, found: str | None, good: Sequence[str | None]) -> None:
        if found not in good:
            raise CommandFailed(
                f"{path} could not be {verb} ({found}): see whether the path is right in {self.name} and its account may."
            )

    def endpoint(self, host: str, port: int) -> tuple[str, int]:
        if host not in _LOOPBACK:
            return host, port
        found = self._docker.get(f"/containers/{self.name}/json")
        if found["HostConfig"]["NetworkMode"] == "host":
            return host, port
        return _reached(found["NetworkSettings"], port, self.name)


def _complaint(ended: Completed) -> str | None:
    """The system's words at the end of ``cat: /x: No such file or directory``."""
    if ended.returncode == 0:
        return None
    return ended.stderr.splitlines()[-1].rpartition(": ")[2] if ended.stderr else f"return code {ended.returncode}"


def _reached(network: Mapping[str, Any], port: int, name: str) -> tuple[str, int]:
    for attached in network["Networks"].values():
        if address := attached["IPAddress"] or attached["GlobalIPv6Address"]:
            return address, port
    for published in network["Ports"].get(f"{port}/tcp") or []:
        return published["HostIp"].replace("0.0.0.0", "127.0.0.1"), int(published["HostPort"])  # noqa: S104 - all addresses
    raise PlatformError(
        f"{name} has no address on any network and does not publish port {port}, so it cannot be reached from the host: "
        "attach it to a network, or publish the port."
    )
