# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of each request."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone
from typing import IO, Any, TypeVar

from .site import Failed

T = TypeVar("T")


class Record:
    """Counts what went well and writes down at once what did not; shared by all visitors."""

    def __init__(self, output: IO[str]) -> None:
        self._output = output
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._times: list[float] = []
        self._counts: Counter[str] = Counter()
        self._good_at = self._started
        self._gap = 0.0
        self.failed = 0

    def attempt(self, action: str, ask: Callable[[], T]) -> T | None:
        """What the request was answered, or nothing where it failed."""
        began = time.monotonic()
        try:
            answer = ask()
        except Failed as failure:
            self.fail(action, str(failure), time.monotonic() - began)
            return None
        now = time.monotonic()
        with self._lock:
            self._counts[action] += 1
            self._times.append(now - began)
            self._gap = max(self._gap, now - self._good_at)
            self._good_at = now
        return answer

    def fail(self, action: str, error: str, seconds: float = 0.0) -> None:
        line = {
            "at": datetime.now(timezone.utc).isoformat(),
            "action": action,
            "error": error,
            "seconds": round(seconds, 3),
        }
        with self._lock:
            self.failed += 1
            print(json.dumps(line), file=self._output, flush=True)

    def summary(self) -> dict[str, Any]:
        """``longest_gap_ms`` is the longest time in which nothing at all went well."""
        with self._lock:
            seconds, times = time.monotonic() - self._started, sorted(self._times)
            quantiles = {
                f"p{percent}_ms": round(times[min(len(times) - 1, len(times) * percent // 100)] * 1000, 1)
                for percent in (50, 95, 99) if times
            }  # fmt: skip
            return {
                "seconds": round(seconds, 1), "requests": len(times) + self.failed, "failed": self.failed,
                "per_second": round(len(times) / seconds, 1), **quantiles,
                "longest_gap_ms": round(max(self._gap, time.monotonic() - self._good_at) * 1000, 1),
                "actions": dict(sorted(self._counts.items())),
            }  # fmt: skip
