# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""BGSAVE, waited for: a background save that began after the request, proved to have succeeded.

What each observation is worth (Redis 6.2 to 8):

- ``rdb_last_save_time`` (LASTSAVE) moves only when a save *succeeds*, but counts whole seconds: two saves in one second
  look like one. So a save is never begun within the second of the last one; then a moved LASTSAVE is proof.
- ``rdb_last_bgsave_status`` stays ``ok`` when the server ends its child on purpose (FLUSHALL, a full resynchronisation):
  ``ok`` is no proof of success, ``err`` is proof of failure.
- ``rdb_saves`` (Redis 7) counts saves when they *begin*: it tells whether a scheduled save has had its turn. Without it
  (6.2), a scheduled save that did not show is asked for once more.
- A server has one child at a time: one that runs is not ours unless BGSAVE was accepted. It may even be a replica's
  transfer, which counts as a save in progress but leaves no file.
- Another ``run_id`` means that the server was restarted and our save died with it; LASTSAVE then is its start.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from .._durations import human_duration
from .._errors import EngineError, TimedOut
from .connection import NotPermitted, Redis, Unavailable

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 1.0


@dataclass(frozen=True)
class State:
    """One answer of INFO: all of it is as of one moment. Times are whole seconds of the server's clock."""

    run_id: str
    now: int
    loading: bool
    saving: bool
    last_save: int
    failed: bool
    saves: int | None
    version: str

    @property
    def last_save_at(self) -> datetime:
        return _utc(self.last_save)

    @classmethod
    def of(cls, server: Redis) -> State:
        info = server.info()
        try:
            return cls(
                run_id=str(info["run_id"]), now=_seconds(info), loading=bool(info["loading"]),
                saving=bool(info["rdb_bgsave_in_progress"]),
                last_save=int(info["rdb_last_save_time"]), failed=info["rdb_last_bgsave_status"] != "ok",
                saves=info.get("rdb_saves"), version=str(info["redis_version"]),
            )  # fmt: skip
        except KeyError as error:
            raise EngineError(
                f"{server} does not tell {error} in INFO: background saves can be followed on Redis 6.2 and later only."
            ) from None


def _seconds(info: Mapping[str, Any]) -> int:
    return int(info["server_time_usec"]) // 1_000_000


@dataclass(frozen=True)
class Saved:
    """A save that succeeded. ``waited_for_another``: one from before the request had to end first."""

    requested_at: datetime
    finished_at: datetime
    waited_for_another: bool
    server_version: str


class BackgroundSave:
    """One request for a save: ``begin``, then ``wait``; both within ``timeout`` seconds from now."""

    def __init__(self, server: Redis, timeout: float) -> None:
        self._server = server
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._pause = _FIRST_PAUSE
        self._before: State | None = None
        self._scheduled = False
        self._waited_for_another = False

    def begin(self) -> None:
        """Return once a save runs, or is scheduled, that holds all that was written before this call.

        The first contact must succeed: a wrong address or password is told at once, not at the time limit.
        """
        state = State.of(self._server) if self._before is None else self._look()
        while True:
            if state is None:
                doing = "not reachable any more"
            elif state.loading:
                doing = "still loading its data set"
            elif state.saving:
                doing = "busy with a save that began earlier"
                self._waited_for_another = True
            elif state.last_save == state.now:
                doing = "in the second of its last save"
            else:
                self._before = state
                if self._ask():
                    self._pause = _FIRST_PAUSE
                    return
                doing = "not reachable any more, or busy with a save of somebody else"
            self._sleep(doing)
            state = self._look()

    def wait(self) -> Saved:
        """Return once that save has succeeded; ``EngineError`` when it failed, ``TimedOut`` when it takes too long.

        Connections may come and go meanwhile; when the server itself was restarted, the save begins anew.
        """
        while True:
            before = self._before
            if before is None:
                raise EngineError("A save is waited for that was not begun.")
            state = self._look()
            if state is None:
                self._sleep("not reachable any more")
            elif state.run_id != before.run_id:
                self.begin()
            elif state.last_save != before.last_save:
                return Saved(_utc(before.now), state.last_save_at, self._waited_for_another, state.version)
            elif state.saving:
                self._sleep("saving")
            elif self._scheduled and state.saves == before.saves:
                self._ask()  # it stays scheduled while an AOF rewrite runs; after that a server may take its time
                self._sleep("busy with an AOF rewrite")
            else:
                raise EngineError(self._failure(state))

    def _ask(self) -> bool:
        """Ask for a save; whether it was taken on. One that somebody began in between may be a replica's, which leaves
        no file, so it is not taken for ours."""
        try:
            reply = str(self._server.command("BGSAVE", "SCHEDULE"))
        except NotPermitted:
            raise
        except EngineError as error:
            already = "already in progress" in str(error)
            if not already and not isinstance(error, Unavailable):
                raise EngineError(_refusal(str(error))) from None
            self._waited_for_another |= already
            return False
        self._scheduled = "scheduled" in reply
        return True

    def _look(self) -> State | None:
        try:
            return State.of(self._server)
        except Unavailable:
            return None

    def _sleep(self, doing: str) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimedOut(
                f"{self._server} has not finished a background save within {human_duration(self._timeout)}, it is {doing}: "
                "give it a longer timeout. A save that runs goes on."
            )
        time.sleep(min(self._pause, left))
        self._pause = min(self._pause * 1.5, _LONGEST_PAUSE)

    def _failure(self, state: State) -> str:
        if not state.failed:
            return (
                f"{self._server} ended the background save before it was complete, as FLUSHALL, SHUTDOWN "
                "and a full resynchronisation of a replica do: save again when that is over."
            )
        return (
            f"The background save of {self._server} {self._target()} failed: the server's log has the reason, mostly a full "
            "disk or a directory that it may not write. While stop-writes-on-bgsave-error is set it may refuse writes "
            "until a save succeeds."
        )

    def _target(self) -> str:
        try:
            return f"to {self._server.rdb_path()}"
        except NotPermitted:
            return "(granting +config|get would show its directory here)"
        except EngineError:
            return "to its directory"


def _utc(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def _refusal(text: str) -> str:
    if "unknown command" in text:
        return f"{text} A managed service does not offer BGSAVE: use its own snapshots."
    if "without a reason" in text:
        return f"{text} It could not fork, mostly for want of memory: its log says, and vm.overcommit_memory=1 helps."
    return text
