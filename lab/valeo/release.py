# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One release of VALEO: its namespace, its secrets, its chart, and the data in its database."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.runbook.ops.plugins.module_utils._errors import CommandFailed
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from .. import kubernetes
from ..embedded.configuration import write
from ..place import LABEL
from . import namespaces

START_SECONDS = 180.0
FILL_SECONDS = 120.0
_SCHEMA = Path(__file__).resolve().parent / "schema.sql"
_PREPARE = _SCHEMA.with_name("prepare.sql")
_SCRAM_ROUNDS = 4096


@dataclass(frozen=True)
class Release:
    """``postgres`` names the database's pods, ``superuser`` its first account, ``user`` the application's."""

    name: str
    namespace: str
    postgres: str
    database: str
    superuser: str
    user: str
    bucket: str
    documents: int
    node_port: int
    variable: str
    """By which the superuser's password is given."""

    @property
    def copies(self) -> str:
        """The bucket of another server, which the archive is restored from, with the off-site backups beside it."""
        return f"{self.bucket}-backup"

    def present(self) -> bool:
        return self._get("namespace", self.namespace) is not None

    def make_namespace(self) -> None:
        namespaces.make(self.namespace)

    def make_secrets(self, password: str, s3: Mapping[str, str]) -> None:
        """Those that are missing: what was rotated since is not put back."""
        user_password = password if self.user == self.superuser else secrets.token_hex(24)
        for name, values in {
            "postgres-admin": {"username": self.superuser, "password": password},
            "db-creds": {"username": self.user, "password": user_password},
            "archive-s3": dict(s3),
        }.items():
            if not self._get("secret", name):
                self._secret(name, values)
        if not self._get("secret", "jwt-keys"):
            self._secret("jwt-keys", jwt_keys())

    def install(self, chart: str, values: Mapping[str, Any], path: str) -> None:
        """Install it or bring it up to date; it need not be ready yet."""
        write(path, json.dumps(values, indent=2).encode(), replace=True)
        self._unlock()
        kubernetes.helm(
            "upgrade", "--install", self.name, chart, "--namespace", self.namespace, "--values", path,
            "--history-max", "10",
        )  # fmt: skip

    def wait(self, kind: str, name: str) -> None:
        seconds = f"--timeout={START_SECONDS:.0f}s"
        self.kubectl("rollout", "status", f"{kind}/{name}", seconds, timeout=START_SECONDS + 20)

    def fill(self, rows: Sequence[str]) -> None:
        """Role, database, tables and rows, where they are missing; the tables come in one transaction."""
        credentials = self._get("secret", "db-creds")
        if not credentials:
            raise CommandFailed(f"The namespace {self.namespace} has no secret db-creds: bring the system up again.")
        verifier = _scram(base64.b64decode(credentials["data"]["password"]).decode())
        values = {"role": self.user, "database": self.database, "verifier": verifier}
        variables = "".join(f"\\set {name} '{value}'\n" for name, value in values.items())
        self._psql("postgres", variables + _PREPARE.read_text(encoding="utf-8"))
        if self._psql(self.database, "SELECT to_regclass('archive_index');\n").strip():
            return
        lines = "".join(f"{row}\n" for row in rows)
        self._psql(
            self.database,
            "BEGIN;\nCREATE EXTENSION IF NOT EXISTS pg_stat_statements;\n"
            f"SET LOCAL ROLE {self.user};\n{_SCHEMA.read_text(encoding='utf-8')}"
            f"COPY archive_index FROM STDIN;\n{lines}\\.\nCOMMIT;\nVACUUM ANALYZE;\n",
        )

    def stands(self) -> bool:
        """Whether both its database and as many of the application as are wanted are ready."""
        for kind, name in (("statefulset", self.postgres), ("deployment", self.name)):
            found = self._get(kind, name)
            if not found or found["status"].get("readyReplicas", 0) < max(1, found["spec"]["replicas"]):
                return False
        return True

    def pods(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", "pods", "--output", "json"))["items"]
        return found

    def uninstall(self, *, data: bool) -> bool:
        """Remove the release; with ``data`` its namespace, and so its volumes and secrets. Whether there was any."""
        if not namespaces.ours(self.namespace):
            return False
        if data:
            namespaces.remove(self.namespace)
            return True
        installed = self.name in kubernetes.helm("list", "--all", "--short", "--namespace", self.namespace).split()
        if installed:
            kubernetes.helm("uninstall", self.name, "--namespace", self.namespace, "--wait")
        return installed

    def kubectl(self, *arguments: str, timeout: float = 60, stdin: str = "") -> str:
        return kubernetes.kubectl("--namespace", self.namespace, *arguments, timeout=timeout, stdin=stdin)

    def _unlock(self) -> None:
        """What a killed Helm left in the midst of its work: without it, Helm does the work again."""
        label = f"owner=helm,name={self.name},status in (pending-install,pending-upgrade,pending-rollback)"
        self.kubectl("delete", "secret", "--selector", label)

    def _psql(self, database: str, text: str) -> str:
        argv = ["psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-U", self.superuser, "-d", database]
        return self.kubectl("exec", "-i", f"{self.postgres}-0", "--", *argv, stdin=text, timeout=FILL_SECONDS)

    def _secret(self, name: str, values: Mapping[str, str]) -> None:
        metadata = {"name": name, "namespace": self.namespace, "labels": {LABEL: "1"}}
        self._apply({"kind": "Secret", "metadata": metadata, "stringData": dict(values)})

    def _apply(self, told: Mapping[str, Any]) -> None:
        kubernetes.kubectl("apply", "--server-side", "--filename", "-", stdin=json.dumps({"apiVersion": "v1", **told}))

    def _get(self, kind: str, name: str) -> dict[str, Any] | None:
        with suppress(ValueError):
            found: dict[str, Any] = json.loads(
                self.kubectl("get", kind, name, "--ignore-not-found", "--output", "json")
            )
            return found
        return None


def jwt_keys() -> dict[str, str]:
    """A pair for RS256."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return {"private": key.private_bytes(*form).decode(), "public": key.public_key().public_bytes(*public).decode()}


def _scram(password: str) -> str:
    """What PostgreSQL keeps of a password: made here, so that no log and no statistics of its can show the password."""
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _SCRAM_ROUNDS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    parts = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return "SCRAM-SHA-256${}:{}${}:{}".format(_SCRAM_ROUNDS, *parts)
