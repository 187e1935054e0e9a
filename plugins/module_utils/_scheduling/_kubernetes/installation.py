# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A system's schedules in its cluster: what should be there, what is to be done about it, and doing it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence

from ..._errors import Busy, InputError
from ..._records import format_time, utc_now
from ..._result import Action
from ..records import Run
from . import observed
from .cluster import Cluster, Found
from .difference import reason, told
from .names import JOB, called, is_ours, owner_of, selector
from .objects import SCRATCH, SINCE, SLOTS, Manifest, Wanted, cronjob_name, manifests

_RIGHTS = ("rolebindings", "roles")
_OF_RUNS = ("cronjobs", "jobs", "pods")
_KINDS = (*_OF_RUNS, *_RIGHTS, "secrets", "serviceaccounts")
_GOING = ("CronJob", "Job", "RoleBinding", "Role", "Secret", "ServiceAccount")
"""In this order: the account, which says in what other namespace it has rights, is last."""


class CronJobs:
    """``plan`` only looks; ``apply`` does what it said. Whatever a killed run left undone, the next plan sees."""

    mechanism = "cronjobs"

    def __init__(self, wanted: Wanted, cluster: Cluster) -> None:
        self._wanted = wanted
        self._cluster = cluster
        self._found: dict[str, Found] = {}
        self._stale: list[Found] = []
        self._changed: list[Manifest] = []

    def plan(self) -> list[Action]:
        wanted = self._wanted
        found = self._cluster.labelled(wanted.namespace, _KINDS, selector(wanted.system))
        ours = [one for one in found if is_ours(one, wanted.owner)]
        for namespace in self._scratch_namespaces(ours):
            rights = self._cluster.labelled(namespace, _RIGHTS, selector(wanted.system))
            ours += [one for one in rights if is_ours(one, wanted.owner)]
        self._found = {called(one): one for one in ours}
        made = manifests(wanted, self._since())
        self._refuse_others(made)
        self._stale = self._no_longer_wanted(ours, made)
        self._refuse_while_running(found)
        changes = [*self._changes(made)]
        self._changed = [one for one, _action in changes]
        why = "it is no longer wanted" if wanted.jobs else "nothing is scheduled any more"
        removals = [Action("remove", called(one), why) for one in self._stale]
        return [*removals, *(action for _one, action in changes)]

    def apply(self, actions: Sequence[Action]) -> None:
        """Rights that are taken back go first, then comes what is new."""
        if not actions:
            return
        self._drop_runs([one for one in self._stale if one["kind"] in ("CronJob", "Job")])
        for one in self._stale:
            if one["kind"] not in ("CronJob", "Job"):
                self._cluster.delete(one)
        self._cluster.apply(self._changed)

    def runs(self) -> list[Run]:
        """The last run of each job that is scheduled now."""
        return runs_of(self._wanted.system, self._wanted.namespace, self._cluster)

    # What is wanted, against what is there.

    def _since(self) -> dict[str, str]:
        """Slots that passed before somebody asked for them were nobody's to serve."""
        now, since = format_time(utc_now()), {}
        for job, slots in self._wanted.jobs.items():
            name = f"CronJob {self._wanted.namespace}/{cronjob_name(self._wanted.system, job)}"
            annotations = self._found[name]["metadata"]["annotations"] if name in self._found else {}
            same = SINCE in annotations and annotations.get(SLOTS) == json.dumps(list(slots))
            since[job] = annotations[SINCE] if same else now
        return since

    def _scratch_namespaces(self, ours: Sequence[Found]) -> list[str]:
        """The one that is wanted, and the one that the account was given rights in before."""
        accounts = (one for one in ours if one["kind"] == "ServiceAccount")
        before = {one["metadata"]["annotations"].get(SCRATCH, "") for one in accounts}
        return sorted({self._wanted.scratch_namespace, *before} - {"", self._wanted.namespace})

    def _refuse_others(self, made: Sequence[Manifest]) -> None:
        """What has a name of ours and is not ours stays as it is."""
        by_namespace: dict[str, list[str]] = {}
        for one in made:
            if called(one) not in self._found:
                name = f"{one['kind']}/{one['metadata']['name']}"
                by_namespace.setdefault(one["metadata"]["namespace"], []).append(name)
        for namespace, names in by_namespace.items():
            for other in self._cluster.named(namespace, names):
                raise InputError(
                    f"system is {self._wanted.system!r}, whose {called(other)} is there already and was not made by this: "
                    "look whose it is, and delete it or give the system another name."
                )

    def _changes(self, made: Sequence[Manifest]) -> Iterator[tuple[Manifest, Action]]:
        """What differs from what the cluster says would come of it. It is asked about what is not there, too: what a quota, a
        policy or the account's rights forbid is told before anything is touched."""
        would_be = {called(one): one for one in self._cluster.would_be([*filter(self._can_be_tried, made)])}
        for one in made:
            name = called(one)
            if name not in self._found:
                yield one, Action("install", name, "it is not there")
            elif told(self._found[name]) != told(would_be[name]):
                yield one, Action("change", name, reason(self._found[name], would_be[name]))

    def _can_be_tried(self, one: Manifest) -> bool:
        """All but a new binding whose role is as new: what is only tried is not there for the next, and who is no administrator is
        refused a binding to nothing."""
        if one["kind"] != "RoleBinding" or called(one) in self._found:
            return True
        return f"Role {one['metadata']['namespace']}/{one['roleRef']['name']}" in self._found

    # What goes.

    def _no_longer_wanted(self, ours: Sequence[Found], made: Sequence[Manifest]) -> list[Found]:
        """A Job goes with its CronJob; one whose CronJob has gone is what a killed run left."""
        kept = {called(one) for one in made}
        scheduled = {_job(one) for one in ours if one["kind"] == "CronJob"} | set(self._wanted.jobs)
        going = [
            one for one in ours
            if (_job(one) not in scheduled if one["kind"] == "Job" else called(one) not in kept and one["kind"] != "Pod")
        ]  # fmt: skip
        return sorted(going, key=lambda one: _GOING.index(one["kind"]))

    def _refuse_while_running(self, found: Sequence[Found]) -> None:
        going = {_job(one) for one in self._stale if one["kind"] in ("CronJob", "Job")}
        if at_work := self._at_work(found, going):
            raise Busy(f"{at_work} is under way: let it finish, nothing was touched.")

    def _drop_runs(self, going: Sequence[Found]) -> None:
        """Nothing new begins, and what has begun since we looked is not cut off."""
        for one in going:
            if one["kind"] == "CronJob":
                self._cluster.delete(one, cascade="orphan")
        jobs = {_job(one) for one in going}
        found = self._cluster.labelled(self._wanted.namespace, _OF_RUNS, selector(self._wanted.system)) if jobs else []
        if at_work := self._at_work(found, jobs):
            raise Busy(f"{at_work} has just begun: let it finish, and run this again to remove the rest.")
        for one in found:
            if one["kind"] == "Job" and self._is_of(one, jobs):
                self._cluster.delete(one)

    def _at_work(self, found: Sequence[Found], jobs: Collection[str]) -> str:
        return next((called(one) for one in observed.running(found) if self._is_of(one, jobs)), "")

    def _is_of(self, found: Found, jobs: Collection[str]) -> bool:
        """A run of ours: what has our labels may be somebody else's, or another system's of a like name."""
        return _job(found) in jobs and is_ours(found, self._wanted.owner)


def _job(found: Found) -> str:
    return str(found["metadata"]["labels"].get(JOB, ""))


def runs_of(system: str, namespace: str, cluster: Cluster) -> list[Run]:
    """Pods are known by the Job that made them."""
    found, owner = cluster.labelled(namespace, _OF_RUNS, selector(system)), owner_of(system, namespace)
    return observed.runs_of(system, [one for one in found if one["kind"] == "Pod" or is_ours(one, owner)])
