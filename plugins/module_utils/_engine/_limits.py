# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a throw-away container may take: a verification must not be what production runs out of memory by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._errors import InputError
from .._runtime.base import Limits

DEFAULTS: Mapping[str, int] = {"memory_mib": 2048, "cpus": 2}
_LEAST: Mapping[str, float] = {"memory_mib": 256, "cpus": 0.1}

DEFAULT_LIMITS = Limits(DEFAULTS["memory_mib"] << 20, DEFAULTS["cpus"])


def limits_of(variable: str, declared: Mapping[str, Any] | None) -> Limits:
    """From a database's ``scratch``; what is not said has a default."""
    said = {key: value for key, value in (declared or {}).items() if key in DEFAULTS and value is not None}
    given: dict[str, float] = {**DEFAULTS, **said}
    for key, least in _LEAST.items():
        if given[key] < least:
            raise InputError(f"{variable}.{key} is {given[key]}, too little for a server: give {least} or more.")
    return Limits(int(given["memory_mib"]) << 20, float(given["cpus"]))
