# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's applications, as far as backups notice them: rows that keep arriving, at a bounded rate.

``python -m lab.embedded.writer``, options as JSON on stdin. Orders go to SQLite five times a second, a message to
PostgreSQL every ten seconds.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psycopg

from . import erni, sme
from .unprivileged import become, read_options

ORDER_SECONDS = 0.2
ORDERS_A_MESSAGE = 50


def main() -> None:
    options = read_options()
    become(options["account"], options["parent"])
    chance = random.Random()  # noqa: S311 - which rows is of no importance
    orders = sme.connect(options["sqlite"])
    count = 0
    while True:
        seldom = count % ORDERS_A_MESSAGE == 0
        if seldom:
            with suppress(psycopg.Error):  # the server may be restarting: the next message is soon
                _say(options["postgres"])
        with orders:
            sme.place_order(orders, chance)
            if seldom:
                sme.forget_old_orders(orders)
        count += 1
        time.sleep(ORDER_SECONDS)


def _say(postgres: Mapping[str, Any]) -> None:
    with erni.connected(postgres, erni.DATABASE, erni.OWNER, postgres["password"]) as connection:
        connection.execute(
            "INSERT INTO messages (conversation_id, role, content)"
            " SELECT max(id), 'user', 'Is there anything new about my project?' FROM conversations"
        )


if __name__ == "__main__":
    main()
