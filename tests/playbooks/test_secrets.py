# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets reach what needs them and nothing else: no output, fact, temporary file, argument, log or record holds one.

Every playbook runs while all this is looked at. The same look at a playbook that leaks finds every leak.
"""

from __future__ import annotations

import secrets as randomness
import shutil
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
import yaml
from ansible.release import __version__ as ansible_version
from command_line import ROOT, ended, said
from support.playbook import Demo, write_inventory
from support.secrets_scanner import Leak, Secrets, Watch
from support.slots import DAILY

ROLES = ("backup", "backup_list", "backup_prune", "backup_verify")
ARTEFACTS = ("data.*", "globals.*")
"""Hold the data itself, plain where a database has no recipients."""


@dataclass
class Observation:
    """What could be seen of a playbook's run, by channel."""

    leaks: dict[str, set[Leak]] = field(default_factory=dict)
    programs: set[str] = field(default_factory=set)
    output: str = ""

    def found(self) -> dict[str, set[str]]:
        return {channel: {leak.secret for leak in leaks} for channel, leaks in self.leaks.items() if leaks}


@dataclass(frozen=True)
class Scene:
    """A demo whose secrets are known, with every log turned up, and an inventory with a vaulted password."""

    demo: Demo
    place: Path
    inventory: Path
    vault_password: Path
    values: dict[str, str]

    @property
    def logs(self) -> dict[str, Path]:
        return {f"{name}'s log": self.demo.directory / name / "server.log" for name in ("postgres", "redis", "s3")}

    def observe(
        self, playbook: Path, *arguments: str, afterwards: Callable[[], None] = lambda: None, **environment: str
    ) -> Observation:
        """Run a playbook as talkative as can be, and look everywhere."""
        here = self.place / randomness.token_hex(4)
        temporary = {name: here / name for name in ("controller", "host", "tmp")}
        for directory in (*temporary.values(), here / "facts"):
            directory.mkdir(parents=True)
        for log in self.logs.values():
            log.write_bytes(b"")  # append-only, so the server goes on at the end
        looked = Secrets(self.values)
        with Watch(looked, list(temporary.values())) as watch:
            result = ended(
                "ansible-playbook", "-i", str(ROOT / "inventories/demo"), "-i", str(self.inventory), str(playbook),
                "--vault-password-file", str(self.vault_password), "--diff", *arguments,
                TMPDIR=str(temporary["tmp"]), ANSIBLE_LOCAL_TEMP=str(temporary["controller"]),
                ANSIBLE_REMOTE_TMP=str(temporary["host"]), ANSIBLE_INJECT_INVOCATION="true",
                ANSIBLE_CACHE_PLUGIN="ansible.builtin.jsonfile", ANSIBLE_CACHE_PLUGIN_CONNECTION=str(here / "facts"),
                **self.demo.environment, **environment,
            )  # fmt: skip
        assert result.returncode == 0, result.stdout[-9000:]
        assert watch.rounds > 10
        afterwards()
        state = self.demo.state
        seen = {
            "output": looked.in_text(result.stdout + result.stderr, "output"),
            "arguments": {leak for leak in watch.leaks if leak.where.startswith("arguments")},
            "temporary files": {leak for leak in watch.leaks if not leak.where.startswith("arguments")},
            "facts": looked.in_files([here / "facts"]),
            "work directory": looked.in_files([Path(state["work_dir"])]),
            "local store": looked.in_files([Path(state["backups"])], except_for=ARTEFACTS),
            "sealed artefacts": looked.in_files(Path(state["backups"]).glob("*/files/*/*/data.*")),
            "bucket": self._in_bucket(looked),
            "cache": looked.in_files([self.demo.directory / "cache"]),
            "metrics": looked.in_files([Path(state["metrics_file"])]),
            "report": looked.in_files(sorted(self.place.glob("*.json"))),
            **{name: looked.in_files([log]) for name, log in self.logs.items()},
        }
        return Observation(seen, watch.programs, result.stdout)

    def _in_bucket(self, looked: Secrets) -> set[Leak]:
        client, bucket = self.demo.bucket()
        keys = [key for key in self.demo.objects() if not any(Path(key).match(pattern) for pattern in ARTEFACTS)]
        bodies = {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}
        return {leak for key, body in bodies.items() for leak in looked.in_bytes(body, key)}


def superuser(demo: Demo, *statements: str, database: str = "postgres") -> None:
    postgres = demo.state["postgres"]
    with psycopg.connect(
        host=postgres["host"], port=postgres["port"], dbname=database, autocommit=True,
        user=postgres["superuser"], password=postgres["superuser_password"],
    ) as connection:  # fmt: skip
        for statement in statements:
            connection.execute(statement)


def redis_server(demo: Demo) -> redis.Redis:
    state = demo.state["redis"]
    return redis.Redis(host=state["host"], port=state["port"], password=state["password"])


@pytest.fixture(scope="module")
def scene(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    state, place = demo.state, tmp_path_factory.mktemp("scene")
    env = dict(
        line.split("=", 1) for line in Path(state["configuration"]["directory"], ".env").read_text().splitlines()
    )
    key = Path(state["configuration"]["directory"], "nginx/ssl/erni.key").read_text().splitlines()
    values = {
        "PostgreSQL's password": state["postgres"]["password"],
        "PostgreSQL's superuser's password": state["postgres"]["superuser_password"],
        "Redis' password": state["redis"]["password"],
        "S3's secret key": state["s3"]["secret_key"],
        "a vaulted password": f"vaulted-{randomness.token_urlsafe(18)}",
        "the vault's password": f"vault-{randomness.token_urlsafe(18)}",
        "OPENAI_API_KEY in .env": env["OPENAI_API_KEY"],
        "JWT_SECRET_KEY in .env": env["JWT_SECRET_KEY"],
        "the TLS key": key[1],
        "a row": f"row-{randomness.token_hex(12)}",
    }
    with redis_server(demo) as server:
        server.acl_setuser(
            "keeper", enabled=True, passwords=[f"+{values['a vaulted password']}"], commands=["+@all"], keys=["*"]
        )
        server.set("guardrail:relevance:canary", values["a row"])
    vault_password = place / "vault password"
    vault_password.write_text(values["the vault's password"])
    vaulted = said(
        "ansible-vault", "encrypt_string", "--vault-password-file", str(vault_password), "--name", "vaulted_password",
        values["a vaulted password"],
    )  # fmt: skip
    inventory = demo.smaller(place / "inventory", "secretive")
    variables = inventory / "group_vars/all"
    (variables / "vaulted.yml").write_text(vaulted)
    declared = yaml.safe_load((variables / "smaller.yml").read_text())
    declared["runbook_databases"][1].update(user="keeper", password="{{ vaulted_password }}")
    (variables / "smaller.yml").write_text(yaml.safe_dump(declared))
    superuser(
        demo, "ALTER SYSTEM SET log_statement = 'all'", "ALTER SYSTEM SET log_connections = on", "SELECT pg_reload_conf()",
        f"UPDATE messages SET content = '{values['a row']}' WHERE id = 1", database="secretive",
    )  # fmt: skip
    yield Scene(demo, place, inventory, vault_password, values)
    superuser(demo, "ALTER SYSTEM RESET log_statement", "ALTER SYSTEM RESET log_connections", "SELECT pg_reload_conf()")
    with redis_server(demo) as server:
        server.acl_deluser("keeper")


def one_after_the_other(scene: Scene, playbooks: Sequence[str]) -> Path:
    """A playbook of ours after the other, with facts gathered so that there is a fact cache."""
    plays: list[dict[str, Any]] = [
        {"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.setup": {"gather_subset": ["min"]}}]}
    ]
    plays += [{"ansible.builtin.import_playbook": f"runbook.ops.{name}"} for name in playbooks]
    path = scene.place / "one after the other.yml"
    path.write_text(yaml.safe_dump(plays))
    return path


ARGUMENTS = (
    "-e", "backup_label=manual", "-e", "backup_verify_now=true", "-e", '{"runbook_policy": {"last": {"count": 1}}}',
    "-e", "backup_prune_max_delete=90%",
)  # fmt: skip
"""Have every playbook do all it can: take, copy, delete and restore."""


@pytest.mark.parametrize(
    ("callback", "playbooks"),
    [
        ("ansible.builtin.default", ("backup", "list_backups", "prune_backups", "verify_backups")),
        ("ansible.posix.json", ("backup", "prune_backups")),  # its backup is the second, so there is one to delete
    ],
)
def test_no_secret_is_seen_anywhere(scene: Scene, callback: str, playbooks: Sequence[str]) -> None:
    reports = [f"-e{role}_report_file={scene.place}/{role}.json" for role in ROLES]
    playbook = one_after_the_other(scene, playbooks)
    seen = scene.observe(playbook, "-vvvv", *ARGUMENTS, *reports, ANSIBLE_STDOUT_CALLBACK=callback)
    assert seen.found() == {}, seen.leaks
    # What was looked at was there to be seen.
    assert {"pg_dump", *(["pg_restore"] if "verify_backups" in playbooks else [])} <= seen.programs
    assert "module_args" in seen.output and len(list(scene.place.glob("*.json"))) == len(ROLES)
    assert "COPY public.messages" in scene.logs["postgres's log"].read_text()
    assert "Background saving" in scene.logs["redis's log"].read_text()


@pytest.fixture
def leaking(scene: Scene) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A playbook that does all the wrong that a playbook can do, and the wrong that others then do."""
    secret, state = scene.values["a vaulted password"], scene.demo.state
    client, bucket = scene.demo.bucket()
    written = [
        Path(state["work_dir"], "leak"),
        Path(state["backups"], "leak/redis/cache/id/manifest.json"),
        Path(state["backups"], "leak/files/configuration/id/data.tar.zst.gpg"),
        scene.demo.directory / "cache/leak.json",
        scene.place / "leak.json",
    ]
    metrics = Path(state["metrics_file"])
    before = metrics.read_bytes() if metrics.exists() else b""

    def afterwards() -> None:
        for path in written:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{{'user': 'keeper', 'password': '{secret}'}}")
        metrics.write_text(f'runbook_backup_verified{{system="{secret}"}} 1')
        with scene.logs["s3's log"].open("a") as log:
            log.write(f"Authorization: {secret}")
        client.put_object(Bucket=bucket, Key="leak/manifest.json", Body=b64encode(f"keeper:{secret}".encode()))
        superuser(scene.demo, f"SELECT '{secret}'")
        with redis_server(scene.demo) as server:
            server.execute_command("DEBUG", "LOG", secret)

    vaulted = "{{ vaulted_password }}"
    argv = ["{{ ansible_playbook_python }}", "-c", "import time; time.sleep(0.5)", vaulted]
    tasks: list[dict[str, Any]] = [
        {"name": "Into the output", "ansible.builtin.debug": {"msg": vaulted}},
        {"name": "Into the fact cache", "ansible.builtin.set_fact": {"leaked": vaulted, "cacheable": True}},
        {"name": "Into arguments and temporary files", "ansible.builtin.command": {"argv": argv}},
    ]
    playbook = scene.place / "leaking.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    yield playbook, afterwards
    client.delete_object(Bucket=bucket, Key="leak/manifest.json")
    shutil.rmtree(Path(state["backups"], "leak"))
    metrics.write_bytes(before)
    for path in written:
        path.unlink(missing_ok=True)


def test_the_scanner_sees_a_leak_in_every_channel(scene: Scene, leaking: tuple[Path, Callable[[], None]]) -> None:
    playbook, afterwards = leaking
    seen = scene.observe(playbook, afterwards=afterwards, ANSIBLE_PIPELINING="false")
    assert seen.found() == {channel: {"a vaulted password"} for channel in seen.leaks}


PASSWORD = f"canary-{randomness.token_hex(12)}"
REDIS = {"engine": "redis", "name": "cache", "host": "127.0.0.1", "port": 1}
WRONG: dict[str, dict[str, Any]] = {
    "a database for the list": {"runbook_databases": {**REDIS, "password": PASSWORD}},
    "a text for the list": {"runbook_databases": f"redis://:{PASSWORD}@127.0.0.1"},
    "texts in the list": {"runbook_databases": [f"password={PASSWORD}"]},
    "a list in the list": {"runbook_databases": [["redis", PASSWORD]]},
    "a misspelt key": {"runbook_databases": [{**REDIS, "pasword": PASSWORD}]},
    "a list of passwords": {"runbook_databases": [{**REDIS, "password": [PASSWORD, PASSWORD]}]},
    "a scratch server in one text": {"runbook_databases": [{"engine": "postgresql", "name": "x", "scratch": [PASSWORD]}]},
    "no engine": {"runbook_databases": [{"name": "x", "password": PASSWORD}]},
    "a store for the list": {"runbook_stores": {"type": "s3", "secret_key": PASSWORD}},
    "texts for stores": {"runbook_stores": [f"s3://key:{PASSWORD}@bucket"]},
    "a key that is a mapping": {"runbook_stores": [{"type": "s3", "bucket": "b", "access_key": "a", "secret_key": {"is": PASSWORD}}]},
    "half of a key": {"runbook_stores": [{"type": "s3", "bucket": "bucket", "secret_key": PASSWORD}]},
    "credentials in the address": {"runbook_stores": [{"type": "s3", "bucket": "bucket", "endpoint_url": f"http://a:{PASSWORD}@h"}]},
}  # fmt: skip
"""Descriptions whose shape is wrong, each with a password somewhere in it."""

INVOCATION = {"a misspelt key", "a list of passwords", "a scratch server in one text"}
"""Before 2.21, Ansible shows what a failed module was called with, and knows of no secret in a place that is none."""
if [int(part) for part in ansible_version.split(".")[:2]] < [2, 21]:
    WRONG = {name: values for name, values in WRONG.items() if name not in INVOCATION}


def test_a_wrong_type_gives_no_secret_away(tmp_path: Path) -> None:
    good = {
        "runbook_system": "wrong", "runbook_databases": [{**REDIS, "password": PASSWORD}],
        "runbook_stores": [{"type": "local", "path": str(tmp_path / "store")}], "runbook_policy": {"last": {"count": 1}},
        "runbook_schedules": {"backup": DAILY},
    }  # fmt: skip
    hosts = {name.replace(" ", "_"): {**good, **values} for name, values in WRONG.items()}
    inventory = write_inventory(tmp_path / "inventory", hosts)
    result = ended("ansible-playbook", "-vvvv", "--diff", "-i", str(inventory), "playbooks/backup.yml")
    found = Secrets({"the password": PASSWORD}).in_text(result.stdout + result.stderr, "output")
    lines = [line for line in result.stdout.splitlines() if PASSWORD in line]
    assert not found, lines
    assert result.stdout.count("failed=1") == len(WRONG), result.stdout[-9000:]
