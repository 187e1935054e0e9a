# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A visitor of the SME ERP: signs in, looks at products, places orders and finds them again."""

from __future__ import annotations

import random
from typing import Any

from ..embedded import sme
from .record import Record
from .site import Site

STEPS = {"order": 30, "find": 25, "look": 30, "ready": 10, "arrive": 5}


class Visitor:
    def __init__(self, site: Site, chance: random.Random, record: Record) -> None:
        self._site, self._chance, self._record = site, chance, record
        self._token = ""
        self._orders: dict[int, dict[str, int]] = {}

    def step(self) -> None:
        """One thing that a visitor does."""
        if not self._token:
            self._arrive()
            return
        wanted = self._chance.choices(list(STEPS), weights=list(STEPS.values()))[0]
        getattr(self, f"_{wanted}")()

    def settle(self, deadline: float) -> None:
        """Nothing is done in the background: look once more for the newest order."""
        if self._orders:
            self._find_one(max(self._orders))

    def _arrive(self) -> None:
        user = {"email": f"user{self._chance.randint(1, sme.USERS)}@example.com"}
        given = self._record.attempt("login", lambda: self._site.ask("POST", "/auth/login", user))
        if given:
            self._token, self._orders = given["access_token"], {}

    def _order(self) -> None:
        wanted = {"product": self._chance.randint(1, sme.PRODUCTS), "quantity": self._chance.randint(1, 20)}
        placed = self._ask("order", "POST", "/orders", wanted)
        if placed:
            self._orders[placed["id"]] = wanted

    def _find(self) -> None:
        if self._orders:
            self._find_one(self._chance.choice(list(self._orders)))

    def _find_one(self, number: int) -> None:
        found = self._ask("find", "GET", f"/orders/{number}")
        wanted = self._orders[number]
        if found and (found["product_id"], found["quantity"]) != (wanted["product"], wanted["quantity"]):
            self._record.fail("find", f"order {number} is not what was ordered")

    def _look(self) -> None:
        self._ask("look", "GET", f"/products?limit={self._chance.randrange(1, 100)}")

    def _ready(self) -> None:
        self._ask("ready", "GET", "/health/ready")

    def _ask(self, action: str, method: str, path: str, told: Any = None) -> Any:
        return self._record.attempt(action, lambda: self._site.ask(method, path, told, self._token))
