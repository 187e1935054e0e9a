# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read every store of a system once, for the status of each of its databases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from .._catalog import ScopeListing, read_scope
from .._description import Objectives
from .._errors import MissingLibrary, StoreError
from .._policy import Policy
from .._records import MANIFEST, Scope, utc_now
from .._store.base import Store
from .status import DatabaseStatus, Schedules, Shelf

_LOOKED_AT = 1000
"""Objects of others: one list page."""


@dataclass(frozen=True)
class Described:
    """One database of the description; ``policies`` belong to the stores, one each."""

    scope: Scope
    policies: Sequence[Policy]
    schedules: Schedules
    objectives: Objectives


def survey(
    stores: Sequence[Store], described: Sequence[Described], cache_dir: str, *, remember: bool
) -> Iterator[DatabaseStatus]:
    """The status of every database. A store that is away is asked once, not again for each database."""
    away: dict[str, str] = {}
    for store in stores:
        try:
            store.check(write=False)
        except (StoreError, MissingLibrary) as error:
            away[store.label] = str(error)

    def listing(store: Store, scope: Scope) -> ScopeListing:
        try:
            if store.label not in away:
                return read_scope(store, scope, cache_dir, remember=remember)
        except StoreError as error:
            away[store.label] = str(error)
        return ScopeListing(scope)

    for database in described:
        shelves = [
            Shelf(store.label, listing(store, database.scope), policy, away.get(store.label))
            for store, policy in zip(stores, database.policies, strict=True)
        ]
        yield DatabaseStatus(database.scope, shelves, database.schedules, database.objectives, utc_now())


def _somebody_elses(store: Store, statuses: Sequence[DatabaseStatus]) -> str | None:
    """Another system of which the store has backups, where it has none of this one: perhaps this one's name is mistyped."""
    ours = [shelf.listing for status in statuses for shelf in status.shelves if shelf.store == store.label]
    if any(listing.backups or listing.unreadable for listing in ours):
        return None
    with suppress(StoreError):  # whoever may list its own part alone
        paths = (entry.key.split("/") for entry in islice(store.entries(""), _LOOKED_AT))
        return next((path[0] for path in paths if path[-1] == MANIFEST), None)
    return None


def stores_away(statuses: Sequence[DatabaseStatus]) -> list[dict[str, Any]]:
    """The stores that at least one database could not be looked up in."""
    reasons = {(i, s.store): s.away for status in statuses for i, s in enumerate(status.shelves) if s.away}
    return [{"index": index, "store": store, "reason": reason} for (index, store), reason in sorted(reasons.items())]


def doubtful(
    system: str, stores: Sequence[Store], statuses: Sequence[DatabaseStatus], away: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """What may be mistyped, and is no error if it is not."""
    for store in stores:
        if store.label in [one["store"] for one in away]:
            continue
        if not store.begun():
            yield f"{store.label} does not exist yet: the first backup creates it. If there should be backups, correct its path."
        elif other := _somebody_elses(store, statuses):
            yield f"{store.label} has backups of {other} and none of {system}. If there should be some, correct runbook_system."
