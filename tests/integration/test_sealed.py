# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of databases sealed to a recipient: unreadable where they lie, proved with the key, checked without it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pysequoia
import pytest
import redis
import zstandard
from ansible_collections.runbook.ops.plugins.module_utils._description import decryptor_of, encryptor_of
from ansible_collections.runbook.ops.plugins.module_utils._errors import InputError
from ansible_collections.runbook.ops.plugins.module_utils._pipeline import StoredArtefacts
from ansible_collections.runbook.ops.plugins.module_utils._protect.verification import VerificationJob
from ansible_collections.runbook.ops.plugins.module_utils._records import Manifest, Verification, utc_now
from ansible_collections.runbook.ops.plugins.module_utils._store.local import LocalStore
from support.procedures import Protected, damage, failed, postgresql, sqlite

CANARY = "canary-9c41e0"
ZSTD = b"\x28\xb5\x2f\xfd"
"""zstd's magic number."""


@dataclass(frozen=True)
class Key:
    """A key pair in files; ``fingerprint`` as manifests name it."""

    public: str
    secret: str
    fingerprint: str


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Key]:
    directory = tmp_path_factory.mktemp("keys")
    made = {}
    for name in ("ops", "stranger"):
        key = pysequoia.Tsk.generate(f"{name}@example.org", profile=pysequoia.Profile.RFC4880)
        public, secret = directory / f"{name}.asc", directory / f"{name}.secret"
        public.write_text(str(key.extract_certificate()))
        secret.write_text(str(key))
        made[name] = Key(str(public), str(secret), key.extract_certificate().fingerprint.upper())
    return made


def a_postgresql(request: pytest.FixtureRequest, directory: Path, stack: ExitStack) -> Protected:
    schema = f"CREATE TABLE orders AS SELECT n AS id, '{CANARY}' AS text FROM generate_series(1, 500) n"
    return stack.enter_context(postgresql(request.getfixturevalue("postgres"), directory, schema))


def a_redis(request: pytest.FixtureRequest, directory: Path, stack: ExitStack) -> Protected:
    server = request.getfixturevalue("redis_server")
    client = stack.enter_context(closing(redis.Redis(server.host, server.port, password=server.password)))
    client.flushall()
    client.mset({f"session:{number}": f"{number} {CANARY}" for number in range(100)})
    stack.callback(client.flushall)
    (directory / "work").mkdir()
    declared = {
        "engine": "redis", "name": "cache", "host": server.host, "port": server.port, "password": server.password,
        "bin_dir": str(Path(server.server_binary).parent), "timeout": "60s",
        "checks": [{"keys": "session:*", "expect": 100}],
    }  # fmt: skip
    return Protected(declared, str(directory / "work"))


def a_sqlite(request: pytest.FixtureRequest, directory: Path, stack: ExitStack) -> Protected:
    protected = sqlite(directory)
    with closing(sqlite3.connect(protected.database["path"])) as connection, connection:
        connection.execute("INSERT INTO entry (data) VALUES (?)", [CANARY])
    return protected


Source = Callable[[pytest.FixtureRequest, Path, ExitStack], Protected]
SOURCES: dict[str, Source] = {"postgresql": a_postgresql, "redis": a_redis, "sqlite": a_sqlite}


@dataclass(frozen=True)
class Sealed:
    """A database whose backup lies sealed in a store."""

    protected: Protected
    store: LocalStore
    manifest: Manifest

    def job(self, key: str | None) -> VerificationJob:
        return replace(self.protected.verification(self.store), decryptor=decryptor_of("decryption_key", key))

    def verified(self, key: str | None) -> Verification:
        """The verdict, which must be the one recorded beside the backup."""
        job = self.job(key)
        target, _actions = job.plan(utc_now(), remember=False)
        assert target
        verdict = job.run(target).verification
        (backup,) = self.protected.listing(self.store).backups
        assert backup.verification == verdict
        return verdict

    def stored(self) -> dict[str, bytes]:
        return {a.name: self.store.get(f"{self.manifest.path}/{a.name}") for a in self.manifest.artefacts}


@contextmanager
def sealed_backup(request: pytest.FixtureRequest, engine: str, directory: Path, key: Key) -> Iterator[Sealed]:
    with ExitStack() as stack:
        protected = SOURCES[engine](request, directory, stack)
        protected = replace(protected, database={**protected.database, "recipients": [key.public]})
        store = LocalStore(str(directory / "store"))
        job = replace(protected.backup(store), encryptor=encryptor_of("database", protected.database))
        manifest = job.take(job.preflight(job.look(remember=False)))
        assert manifest
        yield Sealed(protected, store, manifest)


@pytest.fixture
def small(request: pytest.FixtureRequest, tmp_path: Path, keys: dict[str, Key]) -> Iterator[Sealed]:
    """The cheapest one."""
    with sealed_backup(request, "sqlite", tmp_path, keys["ops"]) as made:
        yield made


@pytest.mark.parametrize("engine", SOURCES)
def test_only_the_key_opens_it(
    request: pytest.FixtureRequest, tmp_path: Path, keys: dict[str, Key], engine: str
) -> None:
    with sealed_backup(request, engine, tmp_path, keys["ops"]) as sealed:
        assert sealed.manifest.artefacts
        for artefact in sealed.manifest.artefacts:
            assert artefact.name.endswith(".zst.gpg") and artefact.raw_sha256 is None
            assert artefact.encryption == {"method": "gpg", "recipients": [keys["ops"].fingerprint]}
        stored = sealed.stored()
        for data in stored.values():
            assert CANARY.encode() not in data and ZSTD not in data

        plain = b""
        reader = StoredArtefacts(sealed.store, sealed.manifest, decryptor_of("decryption_key", keys["ops"].secret))
        for name in reader.names():
            plain += b"".join(reader.read(name))
        assert CANARY.encode() in plain, "so it would have been found"

        with_key = sealed.verified(keys["ops"].secret)
        assert (with_key.passed, with_key.method, with_key.reason) == (True, "restore", None)
        assert with_key.checks and with_key.restore_seconds is not None
        without = sealed.verified(None)
        assert (without.passed, without.method, without.checks) == (True, "checksum", ())
        assert without.restore_seconds is None

        damage(sealed.store, f"{sealed.manifest.path}/{sealed.manifest.artefacts[0].name}", "flipped")
        broken = sealed.verified(None)
        assert (broken.passed, broken.method) == (False, "checksum")
        assert broken.reason and "its bytes changed" in broken.reason


def test_an_unsealed_backup_is_what_the_search_would_find(tmp_path: Path) -> None:
    """The looks above are worth something: unsealed, the same bytes are zstd and hold the row."""
    with ExitStack() as stack:
        protected = a_sqlite(None, tmp_path, stack)  # type: ignore[arg-type]
        store = LocalStore(str(tmp_path / "store"))
        manifest = protected.take(store)
    (artefact,) = manifest.artefacts
    data = store.get(f"{manifest.path}/{artefact.name}")
    assert data.startswith(ZSTD) and artefact.raw_sha256
    assert CANARY.encode() in zstandard.ZstdDecompressor().decompressobj().decompress(data)


ONLY = "; only its bytes will be compared, as the backup is encrypted and no decryption key is given"


@pytest.mark.parametrize(("owner", "said"), [(None, ONLY), ("ops", "")])
@pytest.mark.parametrize(("schedule", "due"), [(None, "asked for"), ("0 4 * * *", "no backup was verified yet")])
def test_that_nothing_will_be_restored_is_said_beforehand(
    small: Sealed, keys: dict[str, Key], owner: str | None, said: str, schedule: str | None, due: str
) -> None:
    job = replace(small.job(owner and keys[owner].secret), schedule=schedule)
    _target, (action,) = job.plan(utc_now(), remember=False)
    assert action.reason == f"{due}{said}"


@pytest.mark.parametrize("change", ["flipped", "truncated"])
def test_damage_is_seen_with_the_key_too(small: Sealed, keys: dict[str, Key], change: str) -> None:
    damage(small.store, f"{small.manifest.path}/{small.manifest.artefacts[0].name}", change)
    verdict = small.verified(keys["ops"].secret)
    assert (verdict.passed, verdict.method, verdict.checks) == (False, "restore", ())
    assert verdict.reason


def test_the_wrong_key_is_no_verdict_on_the_backup(small: Sealed, keys: dict[str, Key]) -> None:
    job = small.job(keys["stranger"].secret)
    target, _actions = job.plan(utc_now(), remember=False)
    assert target
    said = failed(InputError, lambda: job.run(target))
    assert "none of those that the backup was encrypted to" in said
    (backup,) = small.protected.listing(small.store).backups
    assert backup.verification is None
