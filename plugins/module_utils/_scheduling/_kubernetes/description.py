# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A system's description as a pod has it: what lies on the host that this runs on comes along, or is refused."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..._errors import InputError
from .. import inventory
from .places import COLLECTIONS, CONFIGURATION, DECRYPTION_KEY, WORK

INVENTORY, SETTINGS = "inventory.yml", "ansible.cfg"
_OF_THE_HOST = ("kubeconfig", "context")
"""A pod has the account that it runs under instead."""


@dataclass
class Carried:
    """Files that a description names by their paths here, as the pod has them."""

    files: dict[str, str] = field(default_factory=dict)

    def __call__(self, variable: str, path: str) -> str:
        """The path in the pod."""
        try:
            with open(os.path.expanduser(path), encoding="utf-8") as file:
                text = file.read()
        except (OSError, ValueError) as error:
            raise InputError(
                f"{variable} is {path!r}, which cannot be read here to be taken along to the pods "
                f"({getattr(error, 'strerror', None) or 'it is no text'}): give the path of a file that can."
            ) from None
        name = variable.replace("[", "-").replace("]", "")
        self.files[name] = text
        return f"{CONFIGURATION}/{name}"


def files_of(description: Mapping[str, Any], jobs: Collection[str]) -> dict[str, str]:
    """All that the pods are told, by the names of its files: credentials are among it."""
    carried = Carried()
    within = _within(description, jobs, carried)
    return {
        INVENTORY: inventory.inventory(description["system"], "", within),
        SETTINGS: inventory.settings(COLLECTIONS, f"{WORK}/ansible"),
        **carried.files,
    }


def workloads_of(description: Mapping[str, Any]) -> list[str]:
    """Services that are named by their workload, and not by labels."""
    services = {str(database.get("service") or "") for database in description["databases"]}
    return sorted(service for service in services if "/" in service and "=" not in service)


def volume_path(description: Mapping[str, Any], claim: str) -> str:
    """Where the claim's volume is to be, or nothing where no store lies on one."""
    local = [number for number, store in enumerate(description["stores"]) if store["type"] == "local"]
    if local and not claim:
        raise InputError(
            f"stores[{local[0]}].path is a directory, and a pod's disk is gone with the pod: name a PersistentVolumeClaim "
            "in volume_claim, or give schedule_stores those stores alone that are no directory."
        )
    if len(local) > 1:
        raise InputError(
            f"stores[{local[1]}] is a second store of type local, and there is one volume_claim: keep one of them."
        )
    if claim and not local:
        raise InputError(f"volume_claim is {claim!r}, and no store is of type local: remove it.")
    return str(description["stores"][local[0]]["path"]) if local else ""


def _within(description: Mapping[str, Any], jobs: Collection[str], carried: Carried) -> dict[str, Any]:
    databases = [_database(f"databases[{number}]", one, carried) for number, one in enumerate(description["databases"])]
    runtime = {key: value for key, value in description["runtime"].items() if key not in _OF_THE_HOST}
    stores = [_store(f"stores[{number}]", one, carried) for number, one in enumerate(description["stores"])]
    told = {key: value for key, value in description.items() if key not in ("metrics_file", DECRYPTION_KEY)}
    key = description.get(DECRYPTION_KEY)
    # The key that opens backups goes where it is needed, and nowhere else.
    if key and "verify" in jobs and any(database.get("recipients") for database in databases):
        if key == "keyring":
            raise InputError("decryption_key is 'keyring', and pods have none: give the path of a secret key file.")
        told[DECRYPTION_KEY] = carried(DECRYPTION_KEY, key)
    return {**told, "runtime": runtime, "databases": databases, "stores": stores,
            "work_dir": WORK, "cache_dir": f"{WORK}/cache"}  # fmt: skip


def _database(variable: str, database: Mapping[str, Any], carried: Carried) -> dict[str, Any]:
    if database["engine"] in ("files", "sqlite"):
        raise InputError(
            f"{variable} ({database['engine']}/{database['name']}) lies on the host that you run this on, and no pod can read it: "
            "back it up from there, and give schedule_databases the others."
        )
    recipients = [
        carried(f"{variable}.recipients[{number}]", one) if os.path.isfile(os.path.expanduser(one)) else one
        for number, one in enumerate(database.get("recipients") or [])
    ]
    return {**database, **({"recipients": recipients} if recipients else {})}


def _store(variable: str, store: Mapping[str, Any], carried: Carried) -> dict[str, Any]:
    if store.get("profile"):
        raise InputError(
            f"{variable}.profile is {store['profile']!r}, a profile of the host that you run this on: "
            "give access_key and secret_key, or neither where the pods' service account has its own."
        )
    bundle = store.get("aws_ca_bundle")
    return {**store, **({"aws_ca_bundle": carried(f"{variable}.aws_ca_bundle", bundle)} if bundle else {})}
