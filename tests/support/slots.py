# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schedules whose slots are far from now: what a test has backed up stays up to date until the test has ended."""

from __future__ import annotations

import os
from datetime import datetime, timezone

from command_line import ROOT

FAR_FROM_SLOTS = ROOT / "tests/inventories/far_from_slots"
"""An inventory to lay over a real one."""

# One hour for all that these tests start: reasons name the slot, and a check run's must be the real run's.
_HOUR = os.environ.setdefault("RUNBOOK_TEST_SLOT_HOUR", str((datetime.now(timezone.utc).hour + 12) % 24))

DAILY = f"0 {_HOUR} * * *"
