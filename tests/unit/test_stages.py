# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps of a stream in threads: the order is kept, an error comes out where somebody looks, and nothing waits for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._stages import _APART, Behind, ahead

CHUNKS = [bytes([number]) for number in range(100)]


class BrokenError(Exception):
    pass


def test_everything_passes_in_order() -> None:
    passed: list[bytes] = []
    with Behind(passed.append) as second, Behind(second) as first:
        for data in ahead(ahead(iter(CHUNKS))):
            first(data)
    assert passed == CHUNKS


@pytest.mark.parametrize("broken_at", [0, 50, 99])
def test_what_the_sink_raises_ends_the_stream(broken_at: int) -> None:
    passed: list[bytes] = []

    def sink(data: bytes) -> None:
        if data == CHUNKS[broken_at]:
            raise BrokenError
        passed.append(data)

    with pytest.raises(BrokenError), Behind(sink) as second, Behind(second) as first:
        for data in CHUNKS:
            first(data)
    assert passed == CHUNKS[:broken_at]


def test_a_stream_that_fails_gives_its_sink_nothing_more() -> None:
    """The sink is held up at its first chunk until the feeding side has failed."""
    passed: list[bytes] = []
    failed = threading.Event()

    def sink(data: bytes) -> None:
        failed.wait(10)
        passed.append(data)

    with suppress(BrokenError), Behind(sink) as behind:
        for data in CHUNKS[:_APART]:
            behind(data)
        threading.Timer(0.05, failed.set).start()
        raise BrokenError
    assert passed in ([], CHUNKS[:1])


@pytest.mark.parametrize("wanted", [0, 1, 50])
def test_a_source_is_asked_for_little_more_than_is_wanted(wanted: int) -> None:
    given: list[bytes] = []

    def source() -> Iterator[bytes]:
        for data in CHUNKS:
            given.append(data)
            yield data

    chunks = ahead(source())
    assert [next(chunks) for _ in range(wanted)] == CHUNKS[:wanted]
    chunks.close()  # type: ignore[attr-defined]
    assert wanted <= len(given) <= wanted + _APART + 2


def test_what_the_source_raises_comes_in_its_turn() -> None:
    def source() -> Iterator[bytes]:
        yield from CHUNKS[:3]
        raise BrokenError

    seen: list[bytes] = []
    with pytest.raises(BrokenError):
        seen.extend(ahead(source()))
    assert seen == CHUNKS[:3]
