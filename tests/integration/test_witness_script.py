# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The witness's script under a real shell: what is lost between a program and its stream is lost to the digest too, so it is told."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._runtime._witness import DATA, HELD, PACKED, Checksum, Witness
from ansible_collections.runbook.ops.plugins.module_utils._runtime._witness import Testimony as Told
from support.processes import children, until

TOOLS = ("sh", "setsid", "tee", "cksum", "cat", "head", "zstd")
PIPE = 65536
SIZES = (PIPE + 1000, 120_000, 2 * PIPE - 1)
"""More than our pipe holds, and no more than that and what a copier has in hand: the program has ended, its last bytes wait."""


@pytest.fixture(params=["perl", "tee"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where programs are found, with perl or without."""
    for tool in (*TOOLS, *(["perl"] if request.param == "perl" else [])):
        found = shutil.which(tool)
        if found is None:
            pytest.skip(f"NOT RUN: no {tool} here")
        (tmp_path / tool).symlink_to(found)
    return str(tmp_path)


class Witnessed:
    """A program whose stdout nobody reads before ``taken``."""

    def __init__(self, way: str, path: str, *program: str) -> None:
        self.witness = Witness(way)
        self.process = subprocess.Popen(
            self.witness.argv(program), env={"PATH": path}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )  # fmt: skip
        assert self.process.stdin
        self.process.stdin.write(self.witness.environment({}))
        self.process.stdin.flush()

    def running(self, *names: str) -> list[int]:
        """Those of its processes that are so named."""
        below, found = [self.process.pid], []
        while below:
            for pid, name in children(below.pop()).items():
                below.append(pid)
                found += [pid] if name in names else []
        return found

    def end_input(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()

    def taken(self) -> tuple[Checksum, Told | None]:
        """What arrived, and what was told of it."""
        assert self.process.stdout and self.process.stderr
        arrived = Checksum()
        arrived.update(self.process.stdout.read())
        self.witness.hear(self.process.stderr.read())
        return arrived, self.witness.testimony


@pytest.fixture
def start(path: str) -> Iterator[Callable[..., Witnessed]]:
    begun: list[Witnessed] = []

    def begin(way: str, *program: str) -> Witnessed:
        begun.append(Witnessed(way, path, *program))
        return begun[-1]

    yield begin
    for one in begun:
        with one.process:
            one.process.kill()


def waits_with_its_last_bytes(start: Callable[..., Witnessed], way: str, size: int) -> Witnessed:
    begun = start(way, "head", "-c", str(size), "/dev/urandom")
    until(lambda: begun.running("perl", "tee"))
    until(lambda: not begun.running("head", "zstd"))
    return begun


@pytest.mark.parametrize("way", [DATA, HELD, PACKED])
def test_a_stream_that_nothing_happens_to_is_whole(start: Callable[..., Witnessed], way: str) -> None:
    begun = waits_with_its_last_bytes(start, way, 120_000)
    if way == DATA:
        begun.end_input()  # the rest of it is swallowed to its end
    arrived, told = begun.taken()
    assert told == Told(0, (arrived.value, arrived.size), None) and arrived.size >= 120_000


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", [DATA, HELD, PACKED])
def test_what_copies_the_output_is_killed(start: Callable[..., Witnessed], way: str, size: int) -> None:
    begun = waits_with_its_last_bytes(start, way, size)
    for pid in begun.running("perl", "tee"):
        os.kill(pid, signal.SIGKILL)
    begun.end_input()
    _arrived, told = begun.taken()
    assert told and (told.returncode, told.failed) == (0, "copying")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", [HELD, PACKED])
def test_the_way_in_breaks_alone(start: Callable[..., Witnessed], way: str, size: int) -> None:
    begun = waits_with_its_last_bytes(start, way, size)
    begun.end_input()
    until(lambda: not begun.running("perl", "tee"))
    _arrived, told = begun.taken()
    assert told and (told.returncode, told.failed) == (0, "copying")


def test_what_packs_the_output_is_killed(start: Callable[..., Witnessed]) -> None:
    begun = start(PACKED, "cat", "/dev/urandom")
    until(lambda: begun.running("zstd"))
    for pid in begun.running("zstd"):
        os.kill(pid, signal.SIGKILL)
    _arrived, told = begun.taken()
    assert told and told.failed == "packing"
