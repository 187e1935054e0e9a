# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A steady, seeded load on a system of the laboratory, which writes down every request that failed.

Four visitors, each with a pause after every request, on loopback only, for a bounded time. What one is told, it checks:
an answer that lacks what was written before is a failure, too. Failures are JSON lines, the last line is the summary.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import IO, Any

from ansible_collections.runbook.ops.plugins.module_utils._errors import InputError

from .. import erni as erni_system
from .. import sme as sme_system
from .. import valeo as valeo_system
from .erni import Visitor as ErniVisitor
from .record import Record
from .site import Site
from .sme import Visitor as SmeVisitor
from .valeo import Visitor as ValeoVisitor
from .valeo import published

VISITORS = 4
PAUSE_SECONDS = 0.2
"""On average, after each step: some twenty requests a second in all."""
MOST_SECONDS = 3600
SETTLE_SECONDS = 20.0
"""For what was begun and is done in the background."""


def sites() -> dict[str, tuple[Callable[[random.Random, Record], Any], str]]:
    """How a visitor of each system comes about, and where it goes."""
    authority = f"{erni_system.SYSTEM.directory}/{erni_system.AUTHORITY}/ca.crt"
    erni, sme, valeo = erni_system.ADDRESS, sme_system.ADDRESS, valeo_system.ADDRESS
    releases = itertools.cycle(valeo_system.RELEASES)  # half of the visitors go to each

    def one_of_valeo(chance: random.Random, record: Record) -> ValeoVisitor:
        return ValeoVisitor(Site(published(next(releases))), chance, record)

    return {
        "erni": (lambda chance, record: ErniVisitor(Site(f"https://{erni}", authority), chance, record), erni),
        "sme": (lambda chance, record: SmeVisitor(Site(f"http://{sme}"), chance, record), sme),
        "valeo": (one_of_valeo, valeo),
    }


def run(system: str, *, seconds: float, seed: int, output: IO[str] = sys.stdout) -> bool:
    """Put load on ``system``; whether every request went well. SIGINT and SIGTERM end it early, with its summary."""
    if not 0 < seconds <= MOST_SECONDS:
        raise InputError(f"--seconds is {seconds:g}: give a time of at most {MOST_SECONDS}.")
    visitor, address = sites()[system]
    if not ipaddress.ip_address(address).is_loopback:
        raise InputError(f"{system} is on {address}, and load goes to loopback addresses only.")
    record, ended = Record(output), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_received: ended.set())
    deadline = time.monotonic() + seconds

    def visit(number: int) -> None:
        chance = random.Random(f"{seed}/{number}")  # noqa: S311 - the same visits each time
        visiting = visitor(chance, record)
        while not ended.is_set() and time.monotonic() < deadline:
            visiting.step()
            ended.wait(chance.uniform(0.5, 1.5) * PAUSE_SECONDS)
        visiting.settle(time.monotonic() + SETTLE_SECONDS)

    threads = [threading.Thread(target=visit, args=(number,), daemon=True) for number in range(VISITORS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():  # a wait without end would let no signal through
            thread.join(0.2)
    print(json.dumps({"summary": {"system": system, "seed": seed, **record.summary()}}), file=output, flush=True)
    return record.failed == 0
