# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an engine brings to the contract suite: a small real database, and ways to change and to break it.

A module beside this one, named after its engine, has one function:

    @contextmanager
    def subject(directory: Path, request: pytest.FixtureRequest) -> Iterator[Subject]

It makes a small real source (servers come from ``request.getfixturevalue("postgres")`` and the like), yields
the subject, and leaves nothing behind. The suite finds the modules by itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from ansible_collections.runbook.ops.plugins.module_utils._engine.base import Engine


class Subject(ABC):
    """One engine over one small real source. The declarations are those of ``runbook_databases``."""

    secret: str | None = None
    """The password in the declaration, if there is one: it must show up nowhere."""

    holding: Sequence[Mapping[str, Any]] = ()
    """Declared checks that hold for the source as it is when the subject is yielded."""

    failing: Mapping[str, Any]
    """A well-formed declared check that the same source does not meet."""

    @abstractmethod
    def engine(self, checks: Sequence[Mapping[str, Any]]) -> Engine:
        """The engine, declared over the source with these checks."""

    @abstractmethod
    def unreachable(self) -> Engine:
        """The same, declared over a source that is not there."""

    @abstractmethod
    def change(self) -> None:
        """Change the source so that every check in ``holding`` with ``source`` in it would be observed otherwise."""

    def busy(self) -> AbstractContextManager[None] | None:
        """While held, a dump must raise ``Busy``; ``None`` where the engine has no lock of its own."""
        return None
