# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file systems that a system's data and backups are on."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from .._errors import CommandFailed
from .finding import Finding, Level

WARN, CRITICAL = 0.80, 0.90
"""Document 002, infrastructure metrics: disk usage below 80 % is normal, above 90 % critical."""


@dataclass(frozen=True)
class Disk:
    """One file system, named by the first of the directories that are on it."""

    path: str
    used: int
    available: int

    @property
    def share(self) -> float:
        """As ``df`` has it: what is kept back for root is neither used nor available."""
        return self.used / (self.used + self.available) if self.used else 0.0


def disks(paths: Iterable[str]) -> list[Disk]:
    """Each file system once. A directory that is yet to be made will be where the nearest one above it is."""
    found: dict[int, Disk] = {}
    for path in paths:
        there = os.path.abspath(os.path.expanduser(path))
        while not os.path.exists(there) and there != "/":
            there = os.path.dirname(there)
        try:
            device, space = os.stat(there).st_dev, os.statvfs(there)
        except OSError as error:
            raise CommandFailed(f"{there} cannot be looked at: {error.strerror}.") from None
        used = (space.f_blocks - space.f_bfree) * space.f_frsize
        found.setdefault(device, Disk(there, used, space.f_bavail * space.f_frsize))
    return list(found.values())


def judge_disk(disk: Disk) -> Finding:
    share = disk.share
    facts = {"used_percent": round(share * 100, 1), "used_bytes": disk.used, "available_bytes": disk.available}
    if share < WARN:
        return Finding(disk.path, facts=facts)
    remedy = "prune_backups.yml deletes the backups that the policy no longer keeps; else find what grew, or enlarge it"
    if share > CRITICAL:
        return Finding(disk.path, Level.RED, f"is {share:.0%} full, over {CRITICAL:.0%}", remedy, facts)
    return Finding(disk.path, Level.AMBER, f"is {share:.0%} full, {WARN:.0%} or more", remedy, facts)
