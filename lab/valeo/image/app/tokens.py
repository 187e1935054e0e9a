# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens signed with RS256. Every public key there is opens them, so that keys can be exchanged while tokens are out."""

from __future__ import annotations

import glob
import hashlib
import time
from pathlib import Path

import jwt

TOKEN_SECONDS = 3600
_SIGNING = Path("/etc/valeo/jwt")
_KEYS = "/etc/valeo/jwt*/public"


def issue(email: str) -> str:
    now = int(time.time())
    kid = _name((_SIGNING / "public").read_text(encoding="ascii"))
    private = (_SIGNING / "private").read_text(encoding="ascii")
    told = {"sub": email, "iat": now, "exp": now + TOKEN_SECONDS}
    return jwt.encode(told, private, algorithm="RS256", headers={"kid": kid})


def subject(token: str) -> str | None:
    """Whose token it is, if one of our keys signed it and it has not expired."""
    keys = {_name(key): key for key in (Path(path).read_text(encoding="ascii") for path in glob.glob(_KEYS))}
    try:
        key = keys[jwt.get_unverified_header(token)["kid"]]
        return str(jwt.decode(token, key, algorithms=["RS256"])["sub"])
    except (jwt.InvalidTokenError, KeyError):
        return None


def _name(public: str) -> str:
    return hashlib.sha256(public.strip().encode()).hexdigest()[:16]
