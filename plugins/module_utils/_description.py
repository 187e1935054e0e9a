# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an inventory's description to the objects that do the work; everything is checked before anything is touched."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ._cipher.base import Decryptor, Encryptor, KeyUnusable
from ._cipher.declared import decryptor, encryptor
from ._durations import parse_duration
from ._engine.base import Engine
from ._errors import InputError
from ._policy import Policy, parse_policy
from ._records import Scope, check_name
from ._runtime.base import Instance, Runtime
from ._runtime.deferred import DeferredInstance
from ._runtime.local import LocalRuntime
from ._schedule import check_schedule
from ._store._s3_bucket import PATIENCE, impatient
from ._store.base import Store
from ._store.declared import store_of


def runtime_of(declared: Mapping[str, Any]) -> Runtime:
    """The platform a system's services run on; only the one that is needed is imported."""
    if declared.get("type") == "local":
        return LocalRuntime()
    if declared.get("type") == "compose":
        from ._runtime.compose import ComposeRuntime

        return ComposeRuntime.declared(declared)
    if declared.get("type") == "kubernetes":
        from ._runtime.kubernetes import KubernetesRuntime

        return KubernetesRuntime.declared(declared)
    raise InputError(
        f"runtime.type is {declared.get('type')!r}, this release runs commands on: local, compose, kubernetes."
    )


def instance_of(variable: str, service: str, runtime: Runtime) -> Instance:
    """Where a database is; a service is looked for when it is needed, so that nothing else waits for it to run."""
    if not service or not runtime.services:
        return runtime.resolve(service, variable)
    return DeferredInstance(service, lambda: runtime.resolve(service, variable))


def engine_of(variable: str, database: Mapping[str, Any], runtime: Runtime, work_dir: str | None = None) -> Engine:
    """The engine of one database; only the one that is needed is imported. ``work_dir`` is for scratch copies."""
    instance = instance_of(f"{variable}.service", database.get("service") or "", runtime)
    name, database = database["engine"], {**database, "work_dir": work_dir}
    if name == "postgresql":
        from ._engine.postgresql import PostgresqlEngine

        return PostgresqlEngine.declared(variable, database, instance)
    if name == "redis":
        from ._engine.redis import RedisEngine

        return RedisEngine.declared(variable, database, instance)
    if name == "sqlite":
        from ._engine.sqlite import SqliteEngine

        return SqliteEngine.declared(variable, database, instance)
    from ._engine.files import FilesEngine

    return FilesEngine.declared(variable, database, instance, runtime.manifest)


@dataclass(frozen=True)
class Objectives:
    """Recovery objectives: how much may be lost (RPO) and how long recovery may take (RTO)."""

    rpo: timedelta | None
    rto: timedelta | None


def objectives_of(variable: str, database: Mapping[str, Any]) -> Objectives:
    rpo, rto = database.get("rpo"), database.get("rto")
    return Objectives(
        parse_duration(f"{variable}.rpo", rpo) if rpo else None,
        parse_duration(f"{variable}.rto", rto) if rto else None,
    )


def scope_of(variable: str, system: str, database: Mapping[str, Any]) -> Scope:
    """The scope that a database's backups live in."""
    return Scope(
        check_name("system", system), str(database["engine"]), check_name(f"{variable}.name", database["name"])
    )


def stores_of(declared: Sequence[Mapping[str, Any]], patience: str | None = None) -> list[Store]:
    """The stores, the primary first; the same store twice would be counted twice, so it is refused.

    With a ``patience``, a store that keeps somebody waiting for longer is away.
    """
    if not declared:
        raise InputError("stores is empty: name at least one store.")
    patient = impatient(parse_duration("patience", patience).total_seconds()) if patience else PATIENCE
    stores = [store_of(f"stores[{number}]", entry, patient) for number, entry in enumerate(declared)]
    labels = [store.label for store in stores]
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(f"stores names {label} twice: keep one.")
    return stores


def policies_of(
    params: Mapping[str, Any], variable: str = "database", database: Mapping[str, Any] | None = None
) -> list[Policy]:
    """A database's policy for each store: the store's own rules before the database's before the system's."""
    return [
        _policy_of(params, {f"stores[{number}].policy": store, f"{variable}.policy": database, "policy": params})
        for number, store in enumerate(params["stores"])
    ]


def _policy_of(params: Mapping[str, Any], owners: Mapping[str, Mapping[str, Any] | None]) -> Policy:
    declared = {name: owner["policy"] for name, owner in owners.items() if owner and owner.get("policy") is not None}
    variable, rules = next(iter(declared.items()), ("policy", None))
    return parse_policy(
        rules,
        keep_last_good=params["keep_last_good"],
        keep_labelled=params["keep_labelled"],
        max_delete=params.get("max_delete", "50%"),
        variable=variable,
    )


def schedule_of(variable: str, declared: Any) -> str | None:
    """A schedule, where one is declared."""
    return check_schedule(variable, declared) if declared else None


def require_recipients(variable: str, database: Mapping[str, Any]) -> None:
    """Files hold secrets, so they go unsealed only when that is asked for in so many words."""
    if database["engine"] == "files" and not database.get("recipients") and not database.get("plaintext"):
        raise InputError(
            f"{variable}.recipients is empty, so {database['name']} would be stored readable by anybody with the store: "
            "name an OpenPGP recipient, or set plaintext to true if that is meant."
        )


def encryptor_of(variable: str, database: Mapping[str, Any]) -> Encryptor | None:
    """Who the backups are sealed to; a key that cannot be used is an ``InputError``."""
    require_recipients(variable, database)
    recipients = database.get("recipients")
    return encryptor(recipients, f"{variable}.recipients") if recipients else None


def require_known_recipients(variable: str, database: Mapping[str, Any]) -> None:
    """A recipient whom this host does not know is a mistake; a key that expired since stops its own database alone."""
    with suppress(KeyUnusable):
        encryptor_of(variable, database)


def decryptor_of(variable: str, key: str | None) -> Decryptor | None:
    """What opens encrypted backups on this host, if anything: a key file, or the keyring of gpg."""
    if not key:
        return None
    if key != "keyring" and not os.path.isfile(key):
        raise InputError(f"{variable} is {key!r}, where there is no file: give a secret key's path, or keyring.")
    return decryptor(None if key == "keyring" else key)
