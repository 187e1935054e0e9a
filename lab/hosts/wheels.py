# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role ``host`` installs, as wheels for hosts without network: fetched here, for the Python that they have."""

from __future__ import annotations

from pathlib import Path

from .. import wheels as lock

PYTHON = "3.11.2"
"""Debian bookworm's."""

_LOCK = Path(__file__).resolve().parents[2] / "roles/host/files/requirements.lock"


def wheels() -> str:
    """The directory that has a wheel for each line of the lock."""
    return lock.fetched(_LOCK, PYTHON, "hosts")
