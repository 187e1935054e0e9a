# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The application's connections to PostgreSQL: a pool that lives as long as the process."""

from __future__ import annotations

import logging
import os
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

log = logging.getLogger("valeo")


def _told(connection: psycopg.Connection) -> None:
    log.info("Database connected: server process %s", connection.info.backend_pid)


class Engine:
    """``connect`` gives a connection of one's own, ``pool`` shared ones."""

    def __init__(self) -> None:
        self._parameters: dict[str, Any] = {
            "host": os.environ["DB_HOST"], "port": os.environ.get("DB_PORT", "5432"), "dbname": os.environ["DB_NAME"],
            "user": os.environ["DB_USER"], "password": os.environ["DB_PASSWORD"],
            "application_name": os.environ.get("RELEASE", "valeo"), "row_factory": dict_row, "connect_timeout": 5,
        }  # fmt: skip
        self.pool = ConnectionPool(
            kwargs=self._parameters, min_size=1, max_size=10, timeout=5, open=False, configure=_told
        )

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(**self._parameters)


engine = Engine()
