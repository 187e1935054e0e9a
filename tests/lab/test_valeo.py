# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VALEO in the laboratory is what its documents describe: their commands work on it, and its two releases share nothing."""

from __future__ import annotations

import base64
import json
import re
import time
from pathlib import Path

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import CommandFailed, InputError
from command_line import ROOT
from support.laboratory import Load, told
from support.playbook import described
from support.processes import until

from lab import kubernetes, s3
from lab.load.site import Failed, Site
from lab.load.valeo import published
from lab.valeo import RELEASES, Valeo
from lab.valeo.release import Release, jwt_keys

NEUROERP, VALEO_ERP = RELEASES
SECONDS = 300.0


@pytest.fixture(params=RELEASES, ids=lambda release: release.name)
def release(valeo: Valeo, request: pytest.FixtureRequest) -> Release:
    found: Release = request.param
    return found


def app(release: Release, *command: str, stdin: str = "") -> str:
    return release.kubectl("exec", "-i", f"deployment/{release.name}", "--", *command, stdin=stdin, timeout=SECONDS)


def secret(release: Release, name: str) -> dict[str, str]:
    data = json.loads(release.kubectl("get", "secret", name, "--output", "json"))["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def call(release: Release, what: str) -> str:
    """A function of the archive's, as the document calls it."""
    return app(release, "python", "-c", f"from app.services.archive_service import archive; archive.{what}()")


def rolled_out(release: Release) -> None:
    release.wait("deployment", release.name)


def test_pods_labels_and_names_are_the_documents(valeo: Valeo) -> None:
    assert NEUROERP.kubectl("get", "pods", "-l", "app=postgres", "--output", "name") == "pod/postgres-0\n"
    assert VALEO_ERP.kubectl("get", "pods", "-l", "app=postgresql", "--output", "name") == "pod/postgresql-0\n"
    assert len(VALEO_ERP.kubectl("get", "pods", "-l", "app=valeo-erp", "--output", "name").split()) == 2
    assert {pod.service for pod in valeo.containers() if pod.good} == set(valeo.services)
    assert "neuroerp" in kubernetes.helm("history", "neuroerp", "--namespace", "neuroerp")
    assert valeo.up() is False


def test_health_metrics_and_the_budget(release: Release) -> None:
    site = Site(published(release))
    assert site.ask("GET", "/health")["status"] == site.ask("GET", "/readyz")["status"] == "healthy"
    assert site.ask("GET", "/healthz") == {"status": "alive"}
    told = site.ask("GET", "/metrics")
    for name in (
        "db_connections",
        "sse_connections_active",
        "api_requests_total",
        "api_request_duration_seconds_bucket",
    ):
        assert f"\n{name}" in told
    budget = json.loads(release.kubectl("get", "pdb", release.name, "--output", "json"))
    assert budget["status"]["disruptionsAllowed"] == 1


def test_the_documents_commands_work(valeo: Valeo) -> None:
    assert "invoices of customers that do not exist: 0" in app(
        NEUROERP, "python", "-c", "from app.database import check_integrity; check_integrity()"
    )
    assert re.fullmatch(r"\d+ documents, 0 wrong\n", call(NEUROERP, "verify_all"))
    app(VALEO_ERP, "python", "-c", "from app.core.database_pg import engine; engine.connect()")
    dump = app(NEUROERP, "sh", "-c", "PGPASSWORD=$DB_PASSWORD pg_dump -h $DB_HOST -U $DB_USER neuroerp | head -c 200")
    assert "PostgreSQL database dump" in dump
    assert "Database connected" in NEUROERP.kubectl("logs", "deployment/neuroerp")
    slow = "SELECT query, mean_exec_time FROM pg_stat_statements ORDER BY mean_exec_time DESC LIMIT 10"
    assert VALEO_ERP.kubectl("exec", "postgresql-0", "--", "psql", "-U", "valeo_erp", "-d", "valeo_erp", "-c", slow)


def test_the_backup_job_leaves_a_dump(valeo: Valeo) -> None:
    NEUROERP.kubectl("delete", "job", "backup-by-hand", "--ignore-not-found")
    NEUROERP.kubectl("create", "job", "backup-by-hand", "--from=cronjob/neuroerp-backup")
    NEUROERP.kubectl("wait", "job/backup-by-hand", "--for=condition=complete", "--timeout=120s", timeout=130)
    NEUROERP.kubectl("delete", "job", "backup-by-hand")
    (claim,) = [found for found in json.loads(NEUROERP.kubectl("get", "pvc", "--output", "json"))["items"]
                if found["metadata"]["name"] == "neuroerp-backups"]  # fmt: skip
    volume = json.loads(kubernetes.kubectl("get", "pv", claim["spec"]["volumeName"], "--output", "json"))
    if not kubernetes.given():
        assert list(Path(volume["spec"]["hostPath"]["path"]).glob("neuroerp-*.dump"))


def test_a_document_damaged_in_the_archive_is_found_and_the_index_is_rebuilt(valeo: Valeo) -> None:
    client, copies = s3.client(s3.MINIO.known() or {}), s3.client(s3.MOTO.known() or {})
    key = client.list_objects_v2(Bucket=VALEO_ERP.bucket, MaxKeys=1)["Contents"][0]["Key"]
    whole = client.get_object(Bucket=VALEO_ERP.bucket, Key=key)
    content = whole["Body"].read()
    client.put_object(Bucket=VALEO_ERP.bucket, Key=key, Body=b"damaged", Metadata=whole["Metadata"])
    try:
        with pytest.raises(CommandFailed, match=rf"damaged {key}"):
            call(VALEO_ERP, "verify_all")
    finally:
        copy = copies.get_object(Bucket=VALEO_ERP.copies, Key=key)
        client.put_object(Bucket=VALEO_ERP.bucket, Key=key, Body=copy["Body"].read(), Metadata=copy["Metadata"])
    assert client.get_object(Bucket=VALEO_ERP.bucket, Key=key)["Body"].read() == content
    assert " documents, 0 wrong" in call(VALEO_ERP, "verify_all")
    rows = "SELECT md5(string_agg(concat_ws('|', a.*), E'\\n' ORDER BY object_key)) FROM archive_index a"
    before = VALEO_ERP._psql("valeo_erp", f"{rows};\n")
    call(VALEO_ERP, "rebuild_index")
    assert VALEO_ERP._psql("valeo_erp", f"{rows};\n") == before


def test_the_stream_tells_of_transitions(release: Release) -> None:
    site = Site(published(release))
    token = site.ask("POST", "/auth/token", {"email": "a@example.com"})["access_token"]
    begun = site.ask("POST", "/api/v1/workflows", {"title": "Order"}, token)["id"]
    *_before, last = site.events("/stream/workflow?for_seconds=1", token)
    assert last[0] == "done"
    assert site.ask("POST", f"/api/v1/workflows/{begun}/transitions", token=token) == {"state": "submitted"}
    with pytest.raises(Failed, match="401"):
        site.events("/stream/workflow?for_seconds=1", token[:-4])


def test_the_releases_share_nothing(valeo: Valeo) -> None:
    for name in ("postgres-admin", "db-creds", "jwt-keys"):
        assert set(secret(NEUROERP, name).values()).isdisjoint(secret(VALEO_ERP, name).values())
    token = Site(published(NEUROERP)).ask("POST", "/auth/token", {"email": "a@example.com"})["access_token"]
    with pytest.raises(Failed, match="401"):
        Site(published(VALEO_ERP)).ask("GET", "/api/v1/documents", token=token)
    client = s3.client(s3.MINIO.known() or {})
    keys = [
        {found["Key"] for found in client.list_objects_v2(Bucket=release.bucket)["Contents"]} for release in RELEASES
    ]
    assert keys[0].isdisjoint(keys[1])


def test_an_operator_may_do_what_the_runbook_says_in_one_namespace(release: Release) -> None:
    account = f"--as=system:serviceaccount:{release.namespace}:{release.name}-operator"
    for verb, what in (
        ("create", "pods --subresource=exec"), ("get", "pods --subresource=log"), ("create", "jobs"), ("list", "events"),
        ("patch", "deployments --subresource=scale"), ("get", "cronjobs"), ("create", "secrets"),
    ):  # fmt: skip
        assert release.kubectl("auth", "can-i", verb, *what.split(), account) == "yes\n"
    other = next(found for found in RELEASES if found != release)
    for namespace, verb, what in (
        (other.namespace, "create", "pods --subresource=exec"),
        (release.namespace, "delete", "pvc"),
    ):
        with pytest.raises(CommandFailed, match="no"):
            kubernetes.kubectl("--namespace", namespace, "auth", "can-i", verb, *what.split(), account)


def test_the_load_is_steady_and_nothing_fails_while_the_application_is_rolled_out(valeo: Valeo, load: Load) -> None:
    process = load(valeo, seconds=60)
    time.sleep(2)
    NEUROERP.kubectl("rollout", "restart", "deployment/neuroerp")
    rolled_out(NEUROERP)
    time.sleep(1)
    process.terminate()
    summary, failures = told(process)
    assert failures == []
    assert {"begin", "advance", "store", "fetch", "stream"} <= set(summary["actions"])


def test_the_load_notices_a_database_that_is_away(valeo: Valeo, load: Load) -> None:
    process = load(valeo, seconds=60)
    time.sleep(2)
    VALEO_ERP.kubectl("scale", "statefulset/postgresql", "--replicas=0")
    try:
        until(lambda: "postgresql-0" not in VALEO_ERP.kubectl("get", "pods", "--output", "name"), seconds=SECONDS)
        time.sleep(8)  # longer than a request waits for a connection
    finally:
        VALEO_ERP.kubectl("scale", "statefulset/postgresql", "--replicas=1")
    process.terminate()
    summary, failures = told(process)
    assert summary["failed"] == len(failures) > 0
    until(valeo.stands, seconds=SECONDS)
    assert valeo.up() is False
    rolled_out(VALEO_ERP)
    call(VALEO_ERP, "rebuild_index")  # a document may have been stored, and its row refused
    assert " documents, 0 wrong" in call(VALEO_ERP, "verify_all")


def key_of(token: str) -> str:
    """The head, which names the key. A pod that is about to end may still be asked."""
    return token.split(".", maxsplit=1)[0]


def test_keys_are_exchanged_as_the_document_says_without_a_token_lost(valeo: Valeo) -> None:
    told_by = NEUROERP.kubectl("get", "deployment", "neuroerp", "--output", "json")
    assert '"secretName": "jwt-keys"' in told_by
    site = Site(published(NEUROERP))
    token = site.ask("POST", "/auth/token", {"email": "a@example.com"})["access_token"]
    NEUROERP._secret("jwt-keys-new", jwt_keys())
    chart = f"{valeo.directory}/repository/charts/neuroerp"
    helm = ("upgrade", "neuroerp", chart, "--namespace", "neuroerp", "--reuse-values")
    try:
        kubernetes.helm(*helm, "--set", "jwt.secretName=jwt-keys-new", "--set", "jwt.oldSecretName=jwt-keys")
        rolled_out(NEUROERP)
        assert site.ask("GET", "/api/v1/documents?limit=1", token=token)
        until(
            lambda: key_of(site.ask("POST", "/auth/token", {"email": "a@example.com"})["access_token"]) != key_of(token)
        )
    finally:
        kubernetes.helm(*helm, "--set", "jwt.secretName=jwt-keys", "--set", "jwt.oldSecretName=jwt-keys-new")
        rolled_out(NEUROERP)
        kubernetes.helm(*helm, "--set", "jwt.secretName=jwt-keys", "--set", "jwt.oldSecretName=")
        rolled_out(NEUROERP)
        NEUROERP.kubectl("delete", "secret", "jwt-keys-new")


def test_what_a_killed_helm_left_is_finished(valeo: Valeo) -> None:
    """Helm itself refuses: another operation is in progress."""
    latest = NEUROERP.kubectl(
        "get",
        "secrets",
        "-l",
        "owner=helm,name=neuroerp,status=deployed",
        "--output",
        "jsonpath={.items[0].metadata.name}",
    )
    stuck = json.loads(NEUROERP.kubectl("get", "secret", latest, "--output", "json"))
    revision = int(stuck["metadata"]["labels"]["version"]) + 1
    stuck["metadata"] = {
        "name": f"sh.helm.release.v1.neuroerp.v{revision}", "namespace": "neuroerp",
        "labels": {**stuck["metadata"]["labels"], "status": "pending-upgrade", "version": str(revision)},
    }  # fmt: skip
    NEUROERP.kubectl("create", "--filename", "-", stdin=json.dumps(stuck))
    Path(valeo.directory, ".brought-up").unlink()
    assert valeo.up() is True
    assert valeo.stands()
    assert "pending" not in kubernetes.helm("history", "neuroerp", "--namespace", "neuroerp")


def test_a_namespace_of_somebody_elses_is_left_alone(cluster: None) -> None:
    kubernetes.kubectl("create", "namespace", "runbook-lab-foreign")
    foreign = Release(
        name="x", namespace="runbook-lab-foreign", postgres="postgres", database="x", superuser="x", user="x",
        bucket="x", documents=0, node_port=30099, variable="X",
    )  # fmt: skip
    try:
        with pytest.raises(InputError, match="namespace runbook-lab-foreign that is not the laboratory's"):
            foreign.make_namespace()
        assert foreign.uninstall(data=True) is False
        assert "Active" in kubernetes.kubectl("get", "namespace", "runbook-lab-foreign")
    finally:
        kubernetes.kubectl("delete", "namespace", "runbook-lab-foreign", timeout=180)


def test_what_is_described_for_the_laboratory_is_the_real_description(valeo: Valeo) -> None:
    """But for paths, passwords, keys and buckets, which are the host's."""
    here = described(ROOT / "inventories/valeo", ROOT / "lab/inventories/valeo")
    there = described(ROOT / "inventories/valeo", VALEO_REPOSITORY="/srv/valeo")
    assert set(here) == set(there) == {release.name for release in RELEASES}
    for release in RELEASES:
        mine, real = here[release.name], there[release.name]
        assert mine["runtime"]["namespace"] == real["runtime"]["namespace"] == release.namespace
        assert mine["databases"][0]["password"] == secret(release, "postgres-admin")["password"]
        assert [found["name"] for found in mine["databases"]] == [found["name"] for found in real["databases"]]
        assert mine["stores"][1]["bucket"] == release.copies
        for name in ("system", "schedules", "policy", "keep_last_good", "keep_labelled", "max_delete"):
            assert mine[name] == real[name]
