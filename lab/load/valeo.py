# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A visitor of VALEO: moves workflows on, listens to their stream, and hands documents to the archive and fetches them."""

from __future__ import annotations

import atexit
import random
import re
import subprocess
from typing import Any

from ansible_collections.runbook.ops.plugins.module_utils._errors import CommandFailed

from .. import kubernetes
from ..valeo import ADDRESS
from ..valeo.release import Release
from .record import Record
from .site import Site

STEPS = {
    "begin": 15,
    "advance": 25,
    "look": 15,
    "listen": 5,
    "store": 8,
    "fetch": 15,
    "list": 8,
    "health": 5,
    "arrive": 4,
}
LISTEN_SECONDS = 1.5
LAST = "booked"
_FORWARDING = re.compile(rb"Forwarding from [\d.]+:(\d+)")


class Visitor:
    def __init__(self, site: Site, chance: random.Random, record: Record) -> None:
        self._site, self._chance, self._record = site, chance, record
        self._token = ""
        self._workflows: dict[int, str] = {}
        """The state that each is known to have been in last."""
        self._documents: dict[str, str] = {}

    def step(self) -> None:
        """One thing that a visitor does."""
        if not self._token:
            self._arrive()
            return
        wanted = self._chance.choices(list(STEPS), weights=list(STEPS.values()))[0]
        getattr(self, f"_{wanted}")()

    def settle(self, deadline: float) -> None:
        """Nothing is done in the background: look once more for the newest of what was written."""
        if self._workflows:
            self._look_at(max(self._workflows))
        if self._documents:
            self._fetch_one(list(self._documents)[-1])

    def _arrive(self) -> None:
        user = {"email": f"user{self._chance.randrange(1000)}@example.com"}
        given = self._record.attempt("token", lambda: self._site.ask("POST", "/auth/token", user))
        if given:
            self._token = given["access_token"]

    def _begin(self) -> None:
        begun = self._ask("begin", "POST", "/api/v1/workflows", {"title": f"Order {self._chance.randrange(10_000)}"})
        if begun:
            self._workflows[begun["id"]] = "draft"

    def _advance(self) -> None:
        waiting = [number for number, state in self._workflows.items() if state != LAST]
        if not waiting:
            return
        number = self._chance.choice(waiting)
        moved = self._ask("advance", "POST", f"/api/v1/workflows/{number}/transitions")
        if moved:
            self._workflows[number] = moved["state"]
        else:  # it may have been moved all the same
            del self._workflows[number]

    def _look(self) -> None:
        if self._workflows:
            self._look_at(self._chance.choice(list(self._workflows)))

    def _look_at(self, number: int) -> None:
        found = self._ask("look", "GET", f"/api/v1/workflows/{number}")
        if found and found["state"] != self._workflows[number]:
            self._record.fail("look", f"workflow {number} is {found['state']}, not {self._workflows[number]}")

    def _listen(self) -> None:
        path = f"/stream/workflow?for_seconds={LISTEN_SECONDS}"
        events = self._record.attempt("stream", lambda: self._site.events(path, self._token))
        if events is None:
            return
        moved = [data for kind, data in events if kind == "transition"]
        if not events or events[-1] != ("done", str(len(moved))):
            self._record.fail("stream", f"{path}: the stream broke off after {len(moved)} transitions")

    def _store(self) -> None:
        title = f"Notiz {self._chance.randrange(10_000)}"
        content = f"{title}: " + self._chance.randbytes(self._chance.randrange(200, 2_000)).hex()
        stored = self._ask("store", "POST", "/api/v1/documents", {"title": title, "content": content})
        if stored:
            self._documents[stored["key"]] = content

    def _fetch(self) -> None:
        if self._documents:
            self._fetch_one(self._chance.choice(list(self._documents)))

    def _fetch_one(self, key: str) -> None:
        found = self._ask("fetch", "GET", f"/api/v1/documents/{key}")
        if found is not None and found != self._documents[key]:
            self._record.fail("fetch", f"document {key} is not what was handed in")

    def _list(self) -> None:
        what = self._chance.choice(("documents", "audit/logs"))
        self._ask("list", "GET", f"/api/v1/{what}?limit={self._chance.randrange(1, 50)}")

    def _health(self) -> None:
        self._ask("health", "GET", "/health")

    def _ask(self, action: str, method: str, path: str, told: Any = None) -> Any:
        return self._record.attempt(action, lambda: self._site.ask(method, path, told, self._token))


def published(release: Release) -> str:
    """A release's URL on loopback: in a given cluster, which publishes nothing here, forwarded while this program runs."""
    if not kubernetes.given():
        return f"http://{ADDRESS}:{release.node_port}"
    argv = [kubernetes.program("kubectl"), "--kubeconfig", kubernetes.kubeconfig(),
            *(f"--context={name}" for name in kubernetes.context()), "--namespace", release.namespace,
            "port-forward", "--address", ADDRESS, f"service/{release.name}", ":80"]  # fmt: skip
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    atexit.register(process.kill)
    line = process.stdout.readline() if process.stdout else b""
    found = _FORWARDING.match(line)
    if not found:
        raise CommandFailed(f"{release.name} could not be forwarded to: kubectl ended with {process.wait()}.")
    return f"http://{ADDRESS}:{int(found[1])}"
