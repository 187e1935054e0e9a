# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One connection to a Redis server, whose refusals are sentences an operator can act on."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from .._errors import EngineError
from .._require import require

ANSWER = 30.0
"""Seconds a server may take for one answer: forking a large one to save it blocks it for some."""


class Unavailable(EngineError):
    """The server does not answer now; it may later."""


class NotPermitted(EngineError):
    """The user's ACL does not allow the command."""


@dataclass(frozen=True)
class Login:
    """Where a server is and how to get in."""

    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    validate_certs: bool = True
    ca_certs: str | None = None
    client_cert: str | None = None
    client_key: str | None = None

    def __str__(self) -> str:
        return f"redis {self.host}:{self.port}"


class Redis:
    """A lazily opened connection; reopened when it was lost."""

    def __init__(self, login: Login, *, answer_within: float = ANSWER, database: int = 0) -> None:
        self.login = login
        self._library = require("redis", "redis")
        self._answer_within = answer_within
        self._client = self._connect(database)
        self._client.set_response_callback("BGSAVE", lambda reply, **_: reply)  # the library drops the text

    def _connect(self, database: int) -> Any:
        login, options = self.login, {}
        if login.tls:
            options = {
                "ssl": True, "ssl_cert_reqs": "required" if login.validate_certs else "none",
                "ssl_check_hostname": login.validate_certs, "ssl_ca_certs": login.ca_certs,
                "ssl_certfile": login.client_cert, "ssl_keyfile": login.client_key,
            }  # fmt: skip
        return self._library.Redis(
            host=login.host, port=login.port, username=login.user, password=login.password, db=database,
            socket_timeout=self._answer_within, socket_connect_timeout=min(self._answer_within, 10.0),
            retry=None, protocol=2, encoding_errors="replace", decode_responses=True, **options,
        )  # fmt: skip

    def __str__(self) -> str:
        return str(self.login)

    def close(self) -> None:
        self._client.close()

    def info(self) -> Mapping[str, Any]:
        """All that INFO tells, as of one moment."""
        return dict(self.command("INFO"))

    def setting(self, name: str) -> str:
        """A value of the server's configuration."""
        found = self.command("CONFIG GET", name)
        if name not in found:
            raise EngineError(f"{self} has no setting {name}.")
        return str(found[name])

    def rdb_path(self) -> str:
        """Where the server writes its RDB file, as its own host calls it."""
        return posixpath.join(self.setting("dir"), self.setting("dbfilename"))

    def count_keys(self, pattern: str) -> int:
        """Keys in all databases whose names match the glob ``pattern``, as they are while they are counted."""
        databases = {int(name[2:]): entry["keys"] for name, entry in self.info().items() if _is_database(name)}
        if pattern == "*":
            return sum(databases.values())
        return sum(self._count_in(database, pattern) for database in databases)

    def _count_in(self, database: int, pattern: str) -> int:
        # A connection of its own: SELECT on this one would be forgotten when it is lost and opened again.
        with closing(Redis(self.login, answer_within=self._answer_within, database=database)) as server:
            cursor, found = -1, 0
            while cursor != 0:
                cursor, keys = server.command("SCAN", max(cursor, 0), "MATCH", pattern, "COUNT", 1000)
                found += len(keys)
            return found

    def command(self, *words: Any) -> Any:
        """Run a command. ``Unavailable``, ``NotPermitted``, or ``EngineError`` in the server's own words."""
        errors = self._library.exceptions
        try:
            return self._client.execute_command(*words)
        except errors.NoPermissionError:
            grant = "+" + str(words[0]).lower().replace(" ", "|")
            user = f"the user {self.login.user!r}" if self.login.user else "this user"
            raise NotPermitted(f"{self} does not allow {user} the command {words[0]}: grant it {grant}.") from None
        except errors.AuthenticationError as error:
            raise EngineError(self._login_refused(str(error))) from None
        except (errors.BusyLoadingError, errors.TimeoutError, errors.ConnectionError) as error:
            raise Unavailable(self._unavailable(error)) from None
        except errors.ResponseError as error:
            text = str(error)
            if text.startswith(("BUSY ", "MASTERDOWN ")):
                raise Unavailable(f"{self} takes no commands now: {text}.") from None
            raise EngineError(f"{self} refused {words[0]}: {text or 'without a reason'}.") from None
        except (errors.RedisError, UnicodeError) as error:  # no answer of Redis's, or no name that a host can have
            raise EngineError(
                f"{self} is no Redis server that can be talked to ({error}): correct host and port."
            ) from None

    def _login_refused(self, text: str) -> str:
        if not self.login.password:
            return f"{self} wants a password and none is set: set the password that its requirepass or ACL has."
        if "without any password" in text or "no password is set" in text:
            return f"{self} has no password, but one is set for it: remove the password here, or set requirepass there."
        user = f"user {self.login.user!r}" if self.login.user else "default user"
        return f"{self} refused the password of the {user}: correct the password, or the user."

    def _unavailable(self, error: Exception) -> str:
        errors = self._library.exceptions
        if isinstance(error, errors.BusyLoadingError):
            return f"{self} is loading its data set from disk."
        if isinstance(error, errors.TimeoutError):
            return (
                f"{self} does not answer within {self._answer_within:g} s: see whether its process is stopped or stuck."
            )
        return f"{self} cannot be reached ({error}): see whether it runs, and correct host and port."


def _is_database(name: str) -> bool:
    return name.startswith("db") and name[2:].isdigit()
