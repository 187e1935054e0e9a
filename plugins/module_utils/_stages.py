# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps of a stream that work at the same time, each in a thread of its own, a few chunks apart.

Hashing, compressing, reading and writing all let go of Python's lock, so the steps use as many cores as there are. And
while one is held up for a moment, the others have something to do.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from typing import Generic, TypeVar

from ._runtime.base import Sink

Item = TypeVar("Item")

_APART = 8
"""Chunks that may wait between two steps."""


class Behind:
    """A sink that hands on what it is given in a thread of its own.

    What ``sink`` raises, the next call or the end of the context raises; after that it is given nothing more.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._chunks: queue.Queue[bytes | None] = queue.Queue(_APART)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._error: BaseException | None = None
        self._given_up = False

    def __call__(self, data: bytes) -> None:
        if self._error is not None:
            raise self._error
        self._chunks.put(data)

    def __enter__(self) -> Behind:
        self._thread.start()
        return self

    def __exit__(self, raised: type[BaseException] | None, *_about: object) -> None:
        self._given_up = raised is not None
        self._chunks.put(None)
        self._thread.join()
        if self._error is not None and raised is None:
            raise self._error

    def _work(self) -> None:
        while (data := self._chunks.get()) is not None:  # to the end, so that nobody waits for a place in the queue
            if self._error is None and not self._given_up:
                try:
                    self._sink(data)
                except BaseException as error:  # raised in the thread that feeds us
                    self._error = error


def ahead(source: Iterator[Item]) -> Generator[Item, None, None]:
    """What ``source`` gives, fetched in a thread of its own before it is asked for; its exceptions too, in their turn."""
    return _Ahead(source).chunks()


class _Ahead(Generic[Item]):
    def __init__(self, source: Iterator[Item]) -> None:
        self._source = source
        self._chunks: queue.Queue[Item | None] = queue.Queue(_APART)
        self._error: BaseException | None = None
        self._given_up = False

    def chunks(self) -> Generator[Item, None, None]:
        thread = threading.Thread(target=self._work, daemon=True)
        thread.start()
        ended = False
        try:
            while (data := self._chunks.get()) is not None:
                yield data
            ended = True
        finally:  # also when nobody wants the rest
            self._given_up = True
            while not ended and self._chunks.get() is not None:
                pass
            thread.join()
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            for data in self._source:
                if self._given_up:
                    break
                self._chunks.put(data)
        except BaseException as error:  # raised in the thread that asks for it
            self._error = error
        finally:
            self._chunks.put(None)
