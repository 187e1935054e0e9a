# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VALEO NeuroERP as its runbooks describe it: two releases of one chart on Kubernetes, which share nothing but the cluster."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible_collections.runbook.ops.plugins.module_utils._errors import InputError

from .. import engine, images, kubernetes, s3
from ..embedded import configuration
from ..place import held, home
from ..system import Container
from . import archive, namespaces
from .release import Release

CHART = Path(__file__).resolve().parent / "charts" / "neuroerp"
ADDRESS = "127.0.0.1"
S3_URL = "RUNBOOK_LAB_S3_URL"
MINIO_URL = "RUNBOOK_LAB_MINIO_URL"
ENV_FILE = ".env"
STAMP = ".brought-up"
SERVICES = ("neuroerp", "postgres", "valeo-erp", "postgresql")
RELEASES = (
    Release(
        name="neuroerp", namespace="neuroerp", postgres="postgres", database="neuroerp", superuser="postgres",
        user="neuroerp", bucket="neuroerp-archive", documents=400, node_port=30080, variable="NEUROERP_DB_PASSWORD",
    ),
    Release(
        name="valeo-erp", namespace="production", postgres="postgresql", database="valeo_erp", superuser="valeo_erp",
        user="valeo_erp", bucket="valeo-erp-archive", documents=120, node_port=30081,
        variable="VALEO_ERP_DB_PASSWORD",
    ),
)  # fmt: skip


class Valeo:
    """To be brought up, looked at and taken away like the systems on a Docker Engine."""

    name = "valeo"
    address = ADDRESS
    services = SERVICES

    @property
    def directory(self) -> str:
        return home(self.name)

    def up(self) -> bool:
        """Bring up what is not there; whether anything had to be done."""
        if not kubernetes.given():
            engine.ensure()
        stored = kubernetes.ensure()
        stored = s3.MOTO.up([release.copies for release in RELEASES]) or stored
        stored = s3.MINIO.up([release.bucket for release in RELEASES]) or stored
        _inside(s3.MOTO, S3_URL)
        endpoint = _inside(s3.MINIO, MINIO_URL)
        with held(self.name) as directory:
            os.chmod(directory, 0o711)  # noqa: S103 - to pass through and see nothing
            if not os.path.exists(os.path.join(directory, ENV_FILE)):
                # What an earlier laboratory left is closed to us: its passwords went with its directory.
                for release in RELEASES:
                    _begin_anew(release)
            namespaces.make(namespaces.SCRATCH)
            _configure(directory)
            chart = _lay_chart(directory)
            # One image after the other, for they are built on the same base.
            app, postgres = (kubernetes.image(images.ensure(name)) for name in ("valeo-app", "postgres"))
            values = {release.name: _values(release, app, postgres, endpoint) for release in RELEASES}
            version = _digest(chart, values)
            if _stamp(directory) == version and self.stands():
                return stored
            with ThreadPoolExecutor(len(RELEASES)) as pool:
                for done in [
                    pool.submit(_bring_up, release, directory, chart, values[release.name]) for release in RELEASES
                ]:
                    done.result()
            configuration.write(os.path.join(directory, STAMP), version.encode(), replace=True)
        return True

    def stands(self) -> bool:
        return bool(kubernetes.version()) and all(release.stands() for release in RELEASES)

    def containers(self) -> list[Container]:
        """Its pods."""
        return sorted(_pods(), key=lambda pod: pod.name) if kubernetes.version() else []

    def down(self, *, data: bool) -> bool:
        """Remove its releases; with ``data`` its namespaces and directory, too. Whether there was anything."""
        removed = False
        if kubernetes.version():
            for release in RELEASES:
                removed = release.uninstall(data=data) or removed
            if data and namespaces.ours(namespaces.SCRATCH):
                namespaces.remove(namespaces.SCRATCH)
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(self.directory, STAMP))
        if data and os.path.isdir(self.directory):
            with held(self.name) as directory:
                shutil.rmtree(directory)
            removed = True
        return removed


SYSTEM = Valeo()


def passwords(directory: str) -> dict[str, str]:
    """The superusers', each by the variable that the inventory knows it by."""
    lines = Path(directory, ENV_FILE).read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line)


def _begin_anew(release: Release) -> None:
    """On our own cluster; in a given one it may be the laboratory of somebody else."""
    if kubernetes.given() and release.present():
        raise InputError(
            f"The given cluster has a namespace {release.namespace} already, whose passwords are not here: "
            "delete the namespace, or give another cluster."
        )
    release.uninstall(data=True)


def _configure(directory: str) -> None:
    lines = "".join(f"{release.variable}={secrets.token_hex(24)}\n" for release in RELEASES)
    configuration.write(os.path.join(directory, ENV_FILE), lines.encode())
    configuration.write_keys(os.path.join(directory, "keys"), "VALEO <backup@valeo.example.com>")
    for release in RELEASES:
        for name in ("backups", "metrics", "cache", "work"):
            os.makedirs(os.path.join(directory, release.name, name), mode=0o700, exist_ok=True)
        for name in ("", "work"):
            os.chmod(os.path.join(directory, release.name, name), 0o711)  # noqa: S103 - for scratch servers' account


def _lay_chart(directory: str) -> str:
    """A checkout of the system's repository, as far as there is one: the chart, where the runbook has it."""
    target = os.path.join(directory, "repository", "charts", "neuroerp")
    for source in CHART.rglob("*"):
        if source.is_file():
            path = os.path.join(target, source.relative_to(CHART))
            configuration.write(path, source.read_bytes(), replace=True)
    return target


def _inside(server: s3.Shared, variable: str) -> str:
    """An S3 server, as pods reach it."""
    state = server.known() or {}
    if kubernetes.given():
        url = os.environ.get(variable)
        if not url:
            raise InputError(
                f"{variable} is not set: give the URL by which pods of the given cluster reach the laboratory's S3 server "
                f"at {state['endpoint_url']}."
            )
        return url
    return kubernetes.publish(state["port"])


def _values(release: Release, app: str, postgres: str, endpoint: str) -> dict[str, Any]:
    service: dict[str, Any] = {"type": "NodePort", "nodePort": release.node_port}
    return {
        "image": {"name": app}, "service": {} if kubernetes.given() else service,
        "db": {"name": release.database}, "postgres": {"name": release.postgres, "image": postgres},
        "archive": {"bucket": release.bucket, "endpointUrl": endpoint},
    }  # fmt: skip


def _bring_up(release: Release, directory: str, chart: str, values: dict[str, Any]) -> None:
    state = s3.MINIO.known() or {}
    documents, copies = (s3.client(state), release.bucket), (s3.client(s3.MOTO.known() or {}), release.copies)
    filled = os.path.join(directory, release.name, "archive.rows")
    if os.path.exists(filled) and archive.is_empty(documents):
        # The index speaks of documents that went with their server's data.
        release.uninstall(data=True)
        os.unlink(filled)
    release.make_namespace()
    keys = {name: state[name] for name in ("access_key", "secret_key")}
    release.make_secrets(passwords(directory)[release.variable], keys)
    release.install(chart, values, os.path.join(directory, release.name, "values.json"))
    documents[0].put_bucket_versioning(Bucket=release.bucket, VersioningConfiguration={"Status": "Enabled"})
    if not os.path.exists(filled):
        rows = archive.fill(release.name, release.documents, documents, copies)
        configuration.write(filled, "\n".join(rows).encode())
    release.wait("statefulset", release.postgres)
    release.fill(Path(filled).read_text(encoding="utf-8").splitlines())
    release.wait("deployment", release.name)


def _digest(chart: str, values: dict[str, Any]) -> str:
    digest = hashlib.sha256(repr(sorted(values.items())).encode())
    for path in sorted(Path(chart).rglob("*")):
        if path.is_file():
            digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _stamp(directory: str) -> str | None:
    with suppress(FileNotFoundError):
        return Path(directory, STAMP).read_text(encoding="ascii")
    return None


def _pods() -> Iterator[Container]:
    for release in RELEASES:
        for pod in release.pods():
            conditions = {one["type"]: one["status"] for one in pod["status"].get("conditions", [])}
            ready = conditions.get("Ready") == "True"
            application = pod["metadata"]["labels"].get("app") == release.name
            yield Container(
                name=pod["metadata"]["name"], service=pod["metadata"]["labels"].get("app", ""),
                state=pod["status"]["phase"].lower(), health="healthy" if ready else "none",
                ports=f"{ADDRESS}:{release.node_port}" if application and not kubernetes.given() else "",
            )  # fmt: skip
