# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A system's schedules on this host: what should be there, what is to be done about it, and doing it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from .._errors import Busy, CommandFailed
from .._records import utc_now
from .._result import Action
from . import inventory, units
from .collection import unpack
from .items import Crontab, File, Item, Link
from .layout import Layout
from .mechanism import CRON_D, CRONTAB, SYSTEMD, Mechanism
from .records import JOBS, Run, gauges, read_run, read_runs, write_run

_CLOSED = ("/etc", "/usr", "/boot")
"""What the sandbox closes."""


@dataclass(frozen=True)
class Wanted:
    """What a description asks for; with no ``jobs``, that nothing is left of it."""

    system: str
    jobs: Mapping[str, Sequence[str]]
    description: Mapping[str, Any]
    collection: bytes
    digest: str
    metrics_file: str


class Installation:
    """``plan`` only looks; ``apply`` does what it said. Whatever a killed run left undone, the next plan sees."""

    def __init__(self, wanted: Wanted, mechanism: Mechanism, root: str = "/") -> None:
        self._wanted = wanted
        self._mechanism = mechanism
        self._root = root
        self._layout = Layout.of(wanted.system, root)
        self._metrics_file = os.path.join(root, wanted.metrics_file.lstrip("/")) if wanted.metrics_file else ""
        self._items = list(self._described())

    @property
    def mechanism(self) -> str:
        return self._mechanism.name

    def runs(self) -> list[Run]:
        """The last run of each job that is scheduled now."""
        return read_runs(self._wanted.system, self._root)

    def plan(self) -> list[Action]:
        wanted, layout = self._wanted, self._layout
        if not wanted.jobs:
            self._refuse_while_running()
        actions = []
        if wanted.jobs and not os.path.isdir(layout.collection(wanted.digest)):
            actions.append(Action("install", layout.collection(wanted.digest), "this collection, by what is in it"))
        actions += [action for item in self._items if (action := item.action())]
        for job in JOBS:
            if action := self._record(job):
                actions.append(action)
        changed = {action.object for action in actions}
        actions += self._mechanism.pending(wanted.system, wanted.jobs, changed)
        if not wanted.jobs:
            actions += [Action("remove", path, "nothing is scheduled any more") for path in self._leftovers()]
        return actions

    def apply(self, actions: Sequence[Action]) -> None:
        if not actions:
            return
        try:
            self._apply(actions)
        except OSError as error:
            raise CommandFailed(
                f"{error.filename} could not be written ({error.strerror}): run this again when it can be."
            ) from None

    def _apply(self, actions: Sequence[Action]) -> None:
        wanted, layout = self._wanted, self._layout
        changed = {action.object for action in actions}
        if not wanted.jobs:
            self._mechanism.stop(wanted.system, JOBS)
        elif not os.path.isdir(layout.collection(wanted.digest)):
            self._drop_collections(keep=self._used_digests())
            unpack(wanted.collection, layout.collection(wanted.digest))
        if wanted.jobs:
            os.makedirs(layout.runs, mode=0o755, exist_ok=True)
            for job in JOBS:
                self._write_record(job)
        for item in self._items:
            if item.path in changed:
                item.write()
        self._mechanism.settle(wanted.system, wanted.jobs, changed)
        if wanted.jobs:
            self._write_metrics()
        else:
            self._remove()

    # What is wanted, item by item.

    def _described(self) -> Iterator[Item]:
        wanted, layout = self._wanted, self._layout
        inside = Layout.inside(wanted.system, self._root)
        jobs = wanted.jobs
        text = inventory.inventory(wanted.system, inside.python, wanted.description) if jobs else None
        yield File(layout.inventory, text, 0o600, inventory.shown)
        settings = inventory.settings(inside.collection(wanted.digest), os.path.join(inside.state, "ansible"))
        yield File(layout.settings, settings if jobs else None)
        schedule = {"format": 1, "system": wanted.system, "jobs": {job: list(slots) for job, slots in jobs.items()},
                    "collection": wanted.digest, "metrics_file": wanted.metrics_file}  # fmt: skip
        yield File(layout.schedule, f"{json.dumps(schedule, indent=1)}\n" if jobs else None)
        if self._mechanism.name == CRONTAB:
            yield Crontab(wanted.system, units.cron_lines(inside, wanted.system, jobs, wanted.digest) if jobs else None)
            return  # what root has installed is root's
        yield from self._of_systemd(inside)
        cron = units.cron_file(inside, wanted.system, jobs, wanted.digest)
        name = f"runbook-{wanted.system}".replace(".", "_")  # cron passes over names with a dot
        yield File(os.path.join(self._root, CRON_D, name), cron if jobs and self._mechanism.name == CRON_D else None)

    def _of_systemd(self, inside: Layout) -> Iterator[Item]:
        wanted, directory = self._wanted, os.path.join(self._root, SYSTEMD)
        for job in JOBS:
            name = units.unit(wanted.system, job)
            slots = wanted.jobs.get(job) if self._mechanism.name == SYSTEMD else None
            service = units.service(inside, wanted.system, job, wanted.digest, self._closed_paths()) if slots else None
            yield File(os.path.join(directory, f"{name}.service"), service)
            yield File(
                os.path.join(directory, f"{name}.timer"), units.timer(wanted.system, job, slots) if slots else None
            )
            enabled = os.path.join(directory, "timers.target.wants", f"{name}.timer")
            yield Link(enabled, f"../{name}.timer" if slots else None)

    def _closed_paths(self) -> list[str]:
        """What jobs write to below what the sandbox closes: stores there, and databases, whose reading leaves marks."""
        told = self._wanted.description
        written = [store.get("path") for store in told.get("stores", [])]
        written += [os.path.dirname(database["path"]) for database in told.get("databases", []) if database.get("path")]
        written += [told.get("work_dir"), told.get("cache_dir"), os.path.dirname(told.get("metrics_file") or "")]
        return sorted({path for path in written if path and path.startswith(tuple(f"{closed}/" for closed in _CLOSED))})

    # Records: they say what is scheduled to whoever looks, and since when.

    def _record(self, job: str) -> Action | None:
        found, slots = read_run(self._layout, job), tuple(self._wanted.jobs.get(job, ()))
        path = os.path.join(self._layout.runs, f"{job}.json")
        if not found:
            return Action("install", path, "where it is written down how the job went") if slots else None
        if not slots:
            return Action("remove", path, "the job is not scheduled any more")
        return (
            Action("change", path, f"slots {', '.join(found.slots)} -> {', '.join(slots)}")
            if slots != found.slots
            else None
        )

    def _write_record(self, job: str) -> None:
        found, slots = read_run(self._layout, job), tuple(self._wanted.jobs.get(job, ()))
        if not slots:
            for name in (f"{job}.json", f"{job}.log", f"{job}.summary.json"):
                with suppress(FileNotFoundError):
                    os.unlink(os.path.join(self._layout.runs, name))
        elif not found or found.slots != slots:
            # Slots that passed before somebody wrote them down were nobody's to serve.
            write_run(
                self._layout,
                replace(found or Run(self._wanted.system, job, slots, utc_now()), slots=slots, since=utc_now()),
            )

    def _write_metrics(self) -> None:
        if self._metrics_file:
            runs = read_runs(self._wanted.system, self._root)
            File(self._metrics_file, gauges(runs, utc_now())).write()

    # Removal.

    def _refuse_while_running(self) -> None:
        for job in JOBS:
            if (found := read_run(self._layout, job)) and found.running:
                raise Busy(
                    f"A scheduled {job} of {self._wanted.system} is under way: let it finish, nothing was touched."
                )

    def _leftovers(self) -> Iterator[str]:
        """What goes with the last schedule, beside the items."""
        if os.path.isdir(self._layout.state):
            yield self._layout.state
        if os.path.exists(self._metrics_file):
            yield self._metrics_file
        for digest in sorted(self._digests() - self._used_digests(but=self._wanted.system)):
            yield self._layout.collection(digest)

    def _remove(self) -> None:
        shutil.rmtree(self._layout.state, ignore_errors=True)
        with suppress(FileNotFoundError):
            os.unlink(self._metrics_file)
        self._drop_collections(keep=self._used_digests(but=self._wanted.system))
        layout = self._layout
        for directory in (layout.configuration, os.path.dirname(layout.configuration), os.path.dirname(layout.state),
                          os.path.dirname(layout.collection("_")), layout.library):  # fmt: skip
            with suppress(OSError):  # another system's, or the environment's
                os.rmdir(directory)

    def _digests(self) -> set[str]:
        with suppress(FileNotFoundError):
            return set(os.listdir(os.path.dirname(self._layout.collection("_"))))
        return set()

    def _used_digests(self, but: str = "") -> set[str]:
        """The collections that the systems of this host run; a run that is under way has its files until the next change."""
        used, directory = set(), os.path.dirname(self._layout.configuration)
        for system in os.listdir(directory) if os.path.isdir(directory) else []:
            with suppress(OSError, ValueError, KeyError):
                if system != but:
                    with open(Layout.of(system, self._root).schedule, encoding="utf-8") as file:
                        used.add(json.load(file)["collection"])
        return used

    def _drop_collections(self, keep: set[str]) -> None:
        for digest in self._digests() - keep:
            shutil.rmtree(self._layout.collection(digest), ignore_errors=True)
