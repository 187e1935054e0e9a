# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ERP keeps in PostgreSQL. Each function is one transaction."""

from __future__ import annotations

from typing import Any

from .core.database_pg import engine

STATES = ("draft", "submitted", "approved", "booked")
_INTEGRITY = {
    "transitions of workflows that do not exist":
        "SELECT count(*) FROM workflow_transitions t LEFT JOIN workflows w ON w.id = t.workflow_id WHERE w.id IS NULL",
    "workflows whose state is not the one of their last transition": """
        SELECT count(*) FROM workflows w JOIN LATERAL (
            SELECT to_state FROM workflow_transitions t WHERE t.workflow_id = w.id ORDER BY t.id DESC LIMIT 1
        ) last ON true WHERE last.to_state <> w.state""",
    "invoices of customers that do not exist":
        "SELECT count(*) FROM invoices i LEFT JOIN customers c ON c.id = i.customer_id WHERE c.id IS NULL",
}  # fmt: skip


def check() -> None:
    """Answers a query; connections that died are replaced."""
    engine.pool.check()
    rows("SELECT 1")


def check_integrity() -> None:
    """Says what is wrong with the data, and ends the program with an error if anything is."""
    wrong = []
    with engine.connect() as connection:
        for what, query in _INTEGRITY.items():
            number = connection.execute(query).fetchone()["count"]
            print(f"{what}: {number}")
            wrong += [what] if number else []
    if wrong:
        raise SystemExit(f"ERROR: the data is damaged: {', '.join(wrong)}")


def begin(title: str, who: str) -> int:
    """A workflow in its first state."""
    with engine.pool.connection() as connection:
        number = connection.execute(
            "INSERT INTO workflows (title, state) VALUES (%s, %s) RETURNING id", (title, STATES[0])
        ).fetchone()["id"]
        _note(connection, number, None, STATES[0], who)
    return int(number)


def advance(number: int, who: str) -> str | None:
    """Its next state, which it has from then on; nothing where there is no such workflow or no further state."""
    with engine.pool.connection() as connection:
        found = connection.execute("SELECT state FROM workflows WHERE id = %s FOR UPDATE", (number,)).fetchone()
        if not found or found["state"] == STATES[-1]:
            return None
        state = STATES[STATES.index(found["state"]) + 1]
        connection.execute("UPDATE workflows SET state = %s, updated_at = now() WHERE id = %s", (state, number))
        _note(connection, number, found["state"], state, who)
    return state


def transitions(after: int, limit: int = 100) -> list[dict[str, Any]]:
    """What happened after this one, oldest first."""
    return rows(
        "SELECT id, workflow_id, from_state, to_state FROM workflow_transitions WHERE id > %s ORDER BY id LIMIT %s",
        after, limit,
    )  # fmt: skip


def last_transition() -> int:
    return int(rows("SELECT coalesce(max(id), 0) AS id FROM workflow_transitions")[0]["id"])


def rows(query: str, *values: Any) -> list[dict[str, Any]]:
    with engine.pool.connection() as connection:
        return connection.execute(query, values).fetchall()


def _note(connection: Any, number: int, before: str | None, after: str, who: str) -> None:
    connection.execute(
        "INSERT INTO workflow_transitions (workflow_id, from_state, to_state, actor) VALUES (%s, %s, %s, %s)",
        (number, before, after, who),
    )
    connection.execute(
        "INSERT INTO audit_logs (action, actor, subject) VALUES (%s, %s, %s)", ("workflow_transition", who, str(number))
    )
