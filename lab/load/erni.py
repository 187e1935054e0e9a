# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A visitor of the ERNI system: asks agents, listens to their answers as they come, and has work done in the background."""

from __future__ import annotations

import random
import time
from typing import Any

from .record import Record
from .site import Site

WORDS = ("timber", "roof", "window", "permit", "estimate", "weather", "football", "appointment", "cost", "recipe")
JOB_SECONDS = 15.0
STEPS = {"say": 30, "read": 20, "listen": 8, "work": 8, "follow": 10, "look": 15, "page": 5, "arrive": 4}


class Visitor:
    def __init__(self, site: Site, chance: random.Random, record: Record) -> None:
        self._site, self._chance, self._record = site, chance, record
        self._token = ""
        self._conversation = 0
        self._said: list[int] = []
        self._jobs: dict[int, float] = {}
        """Each job that is not known to be done, and when it has to be."""

    def step(self) -> None:
        """One thing that a visitor does."""
        if not self._conversation:
            self._arrive()
            return
        wanted = self._chance.choices(list(STEPS), weights=list(STEPS.values()))[0]
        getattr(self, f"_{wanted}")()

    def settle(self, deadline: float) -> None:
        """Wait for the jobs that are under way."""
        while self._jobs and time.monotonic() < deadline:
            self._follow()
            time.sleep(0.2)
        for number in self._jobs:
            self._record.fail("job", f"job {number} was accepted and never done")

    def _arrive(self) -> None:
        email = f"visitor{self._chance.randrange(10_000)}@example.com"
        visitor = {"name": "A visitor", "email": email}
        given = self._record.attempt("token", lambda: self._site.ask("POST", "/api/auth/token", visitor))
        if not given:
            return
        token = given["access_token"]
        ask = self._site.ask
        begun = self._record.attempt("begin", lambda: ask("POST", "/api/conversations", visitor, token))
        if begun:  # else the visitor goes on as who it was
            self._token, self._conversation, self._said = token, begun["id"], []

    def _say(self) -> None:
        content = f"What about the {self._chance.choice(WORDS)} of house {self._chance.randrange(200)}?"
        said = self._ask("say", "POST", f"/api/conversations/{self._conversation}/messages", {"content": content})
        if said:
            self._said += [said["id"], said["reply_id"]]

    def _read(self) -> None:
        path = f"/api/conversations/{self._conversation}/messages?limit=200"
        told = self._ask("read", "GET", path)
        if told is not None:
            missing = set(self._said[:200]) - {message["id"] for message in told}
            if missing:
                self._record.fail("read", f"{path}: {len(missing)} messages that were accepted are not there")

    def _listen(self) -> None:
        path = f"/api/conversations/{self._conversation}/stream"
        events = self._record.attempt("stream", lambda: self._site.events(path, self._token))
        if events is None:
            return
        words = [data for kind, data in events if kind == "word"]
        if not events or events[-1] != ("done", str(len(words))):
            self._record.fail("stream", f"{path}: the stream broke off after {len(words)} words")

    def _work(self) -> None:
        wanted = {"conversation": self._conversation, "kind": self._chance.choice(("estimate", "summary"))}
        accepted = self._ask("job", "POST", "/api/jobs", wanted)
        if accepted:
            self._jobs[accepted["id"]] = time.monotonic() + JOB_SECONDS

    def _follow(self) -> None:
        if not self._jobs:
            return
        number, due = next(iter(self._jobs.items()))
        job = self._ask("follow", "GET", f"/api/jobs/{number}")
        if job and job["status"] == "done":
            del self._jobs[number]
        elif job and time.monotonic() > due:
            del self._jobs[number]
            self._record.fail("job", f"job {number} was not done within {JOB_SECONDS:.0f} s")

    def _look(self) -> None:
        what = self._chance.choice(("projects", "conversations", "consultations"))
        self._ask("look", "GET", f"/api/{what}?limit={self._chance.randrange(1, 50)}")

    def _page(self) -> None:
        page = self._ask("page", "GET", "/")
        if page is not None and "</html>" not in page:
            self._record.fail("page", "GET /: the page is not whole")

    def _ask(self, action: str, method: str, path: str, told: Any = None) -> Any:
        return self._record.attempt(action, lambda: self._site.ask(method, path, told, self._token))
