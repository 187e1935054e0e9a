# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is asking (a signed token), and whether what they ask is the business's (a verdict, remembered in Redis)."""

from __future__ import annotations

import hashlib
import json
import os
import time

import jwt
import redis

TOKEN_SECONDS = 3600
VERDICT_SECONDS = 30 * 86_400
_TOPICS = ("timber", "roof", "project", "house", "window", "estimate", "appointment", "meeting", "permit", "cost")


class Guard:
    def __init__(self) -> None:
        self._key = os.environ["JWT_SECRET_KEY"]
        self.cache = redis.Redis(
            host=os.environ.get("REDIS_HOST", "redis"), password=os.environ["REDIS_PASSWORD"], max_connections=20,
            socket_timeout=5, socket_connect_timeout=5, health_check_interval=10, decode_responses=True,
        )  # fmt: skip

    def token(self, email: str) -> str:
        now = int(time.time())
        return jwt.encode({"sub": email, "iat": now, "exp": now + TOKEN_SECONDS}, self._key, algorithm="HS256")

    def customer(self, token: str) -> str | None:
        """Whose token it is, if it is one of ours and has not expired."""
        try:
            return str(jwt.decode(token, self._key, algorithms=["HS256"])["sub"])
        except (jwt.InvalidTokenError, KeyError):
            return None

    def relevant(self, content: str) -> tuple[bool, bool]:
        """Whether the business deals with it, and whether that was known already."""
        key = f"guardrail:relevance:{hashlib.sha256(content.encode()).hexdigest()[:16]}"
        if known := self.cache.get(key):
            return bool(json.loads(known)["relevant"]), True
        verdict = any(topic in content.lower() for topic in _TOPICS)
        self.cache.set(key, json.dumps({"relevant": verdict, "model": "words"}), ex=VERDICT_SECONDS)
        return verdict, False
