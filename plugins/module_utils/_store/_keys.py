# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which keys a store accepts: what is safe as a path in a directory and as a name in a bucket alike."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .._errors import Refused

PARTIAL = ".partial"
"""How the names of unfinished files end; no key may, or its object would be taken for one."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def segments(text: str) -> Sequence[str]:
    """The segments of a relative path that cannot lead out of where it begins; ``ValueError`` says what is wrong."""
    if _CONTROL.search(text):
        raise ValueError("it holds a control character")
    parts = text.split("/")
    if "" in parts:
        raise ValueError("it is absolute, or a segment of it is empty")
    if "." in parts or ".." in parts:
        raise ValueError("a segment of it is '.' or '..'")
    return parts


def check_key(label: str, key: str) -> str:
    """``key``, or ``Refused`` when it could name something outside the store or hide inside it."""
    try:
        segments(key)
        if key.endswith(PARTIAL):
            raise ValueError(f"{PARTIAL} is how unfinished files end")
    except ValueError as error:
        raise Refused(f"{label}: {key!r} cannot be a key ({error}): use relative paths of plain names.") from None
    return key


def check_prefix(label: str, prefix: str) -> str:
    """``prefix`` as a listing takes it: a directory that ends with ``/``, or empty for all."""
    if prefix:
        if not prefix.endswith("/"):
            raise Refused(f"{label}: {prefix!r} cannot be listed: a directory ends with '/'.")
        check_key(label, prefix[:-1])
    return prefix
