# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a platform that knows more than processes says beside its services: releases, and events that warn."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

DEPLOYED, FAILED = "deployed", "failed"
PENDING = ("pending-install", "pending-upgrade", "pending-rollback", "uninstalling")
"""Helm's own words. While one of the pending holds, Helm refuses to touch the release; a killed Helm leaves it so for ever."""


@dataclass(frozen=True)
class Release:
    """The last revision of a Helm release; ``since`` is when its status began."""

    name: str
    revision: int
    status: str
    since: datetime | None


@dataclass(frozen=True)
class Event:
    """One warning, told ``count`` times, the last time at ``last``; ``object`` is such as ``Pod/neuroerp-0``."""

    object: str
    reason: str
    message: str
    count: int
    last: datetime | None
