# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the contract suite cannot ask of Redis: files that are not ours, files that no server here can load, old servers."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._checks import Check
from ansible_collections.runbook.ops.plugins.module_utils._engine.redis import RedisEngine
from ansible_collections.runbook.ops.plugins.module_utils._errors import (
    Damaged,
    EngineError,
    InputError,
    MissingLibrary,
    NoSpace,
)
from ansible_collections.runbook.ops.plugins.module_utils._records import CheckResult
from ansible_collections.runbook.ops.plugins.module_utils._redis.rdb import crc64
from ansible_collections.runbook.ops.plugins.module_utils._runtime.base import Completed, Sink, Streamed
from ansible_collections.runbook.ops.plugins.module_utils._runtime.local import LocalInstance
from contract.shelf import Shelf
from integration.redis_servers import MAJORS, PASSWORD, Running, binary_of, running, until

from lab.embedded.servers import RedisServer


class Elsewhere(LocalInstance):
    """A host whose file of that name is another one."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def fetch(self, path: str, sink: Sink, *, timeout: float) -> Streamed:
        return super().fetch(self._path, sink, timeout=timeout)

    def run(self, argv: Sequence[str], **also: Any) -> Completed:
        return super().run([self._path if word.endswith("dump.rdb") else word for word in argv], **also)


@pytest.fixture
def server(redis_server: RedisServer, tmp_path: Path) -> Iterator[Running]:
    with running(redis_server.server_binary, tmp_path / "redis") as made:
        made.client().set("greeting", "hello")
        yield made


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    (tmp_path / "shelf").mkdir()
    return Shelf(tmp_path / "shelf")


@pytest.fixture
def scratch(tmp_path: Path) -> str:
    (tmp_path / "scratch").mkdir(mode=0o711)
    return str(tmp_path / "scratch")


def engine(server: Running, instance: LocalInstance | None = None, **also: Any) -> RedisEngine:
    declared = {
        "engine": "redis", "name": "cache", "host": server.login.host, "port": server.login.port,
        "password": PASSWORD, "bin_dir": str(Path(server.binary).parent), "timeout": "30s", **also,
    }  # fmt: skip
    return RedisEngine.declared("databases[0]", declared, instance or LocalInstance())


def restored(made: RedisEngine, shelf: Shelf, scratch: str) -> list[CheckResult]:
    with made.scratch(shelf, scratch) as place:
        made.restore(shelf, place)
        return made.verify(shelf, place)


def string(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def crafted(
    path: Path, body: bytes, header: bytes = b"REDIS0009", used_memory: int = 1000, made_seconds_ago: int = -5
) -> Path:
    """A file from after any save whose frame is right, whatever is in it."""
    fields = {"redis-ver": "99.0.0", "ctime": str(int(time.time()) - made_seconds_ago), "used-mem": str(used_memory)}
    content = header + b"".join(b"\xfa" + string(key) + string(value) for key, value in fields.items()) + body + b"\xff"
    path.write_bytes(content + crc64(content).to_bytes(8, "little"))
    return path


KEY = b"\xfe\x00\x00\x01a\xc0\x01"
BROKEN_VALUE = b"\xfe\x00\x0b\x01a\x05hello"
MODULE_VALUE = b"\xfe\x00\x07\x01a\x81\x12\x34\x56\x78\x90\xab\xcd\xef\x00"


def test_a_file_from_before_our_save_is_not_taken_for_it(server: Running, shelf: Shelf, tmp_path: Path) -> None:
    old = crafted(tmp_path / "old.rdb", KEY, made_seconds_ago=2)
    with pytest.raises(EngineError, match="before the save"):
        shelf.take(engine(server, Elsewhere(old)))
    assert shelf.names() == []


def test_bytes_that_changed_on_the_way_are_not_published(server: Running, shelf: Shelf) -> None:
    class Flipping(LocalInstance):
        def fetch(self, path: str, sink: Sink, *, timeout: float) -> Streamed:
            return super().fetch(path, lambda data: sink(data.replace(b"hello", b"hellp")), timeout=timeout)

    with pytest.raises(Damaged, match="CRC-64"):
        shelf.take(engine(server, Flipping()))
    assert shelf.names() == []


def test_the_servers_own_checker_has_its_say_where_it_is_installed(
    server: Running, shelf: Shelf, tmp_path: Path
) -> None:
    instance = Elsewhere(crafted(tmp_path / "crafted.rdb", BROKEN_VALUE))
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "redis-check-rdb").symlink_to(server.binary)  # the checker is the server under another name
    with pytest.raises(Damaged, match=r"redis-check-rdb rejects .*Intset integrity check failed") as caught:
        shelf.take(engine(server, instance, bin_dir=str(tools)))
    assert "Reading key" not in str(caught.value)
    assert shelf.names() == []
    shelf.take(engine(server, instance, bin_dir=str(tmp_path)))


def test_a_checker_that_is_older_than_the_file_has_none(server: Running, shelf: Shelf, tmp_path: Path) -> None:
    """As Debian's in PATH, beside a server from elsewhere."""
    (tmp_path / "redis-check-rdb").symlink_to(server.binary)
    shelf.take(engine(server, Elsewhere(crafted(tmp_path / "crafted.rdb", KEY, b"REDIS0999")), bin_dir=str(tmp_path)))
    assert shelf.names() == ["data.rdb"]


def test_a_value_that_no_server_can_read_is_damage_found_by_restoring(
    server: Running, shelf: Shelf, scratch: str, tmp_path: Path
) -> None:
    made = engine(server, Elsewhere(crafted(tmp_path / "crafted.rdb", BROKEN_VALUE)))
    shelf.take(made)
    with pytest.raises(Damaged, match="Intset integrity check failed"):
        restored(made, shelf, scratch)
    assert os.listdir(scratch) == []


@pytest.mark.parametrize(
    ("body", "header", "said"),
    [(KEY, b"REDIS0999", "RDB format version 999"), (MODULE_VALUE, b"REDIS0009", "module")],
    ids=["newer", "module"],
)
def test_a_sound_file_that_the_server_here_cannot_load_is_no_damage(
    server: Running, shelf: Shelf, scratch: str, tmp_path: Path, body: bytes, header: bytes, said: str
) -> None:
    made = engine(server, Elsewhere(crafted(tmp_path / "crafted.rdb", body, header)))
    shelf.take(made)
    with pytest.raises(EngineError, match=rf"written by Redis 99\.0\.0 .*{said}.* set bin_dir"):
        restored(made, shelf, scratch)


def test_a_data_set_that_would_not_fit_in_memory_is_not_loaded(
    server: Running, shelf: Shelf, scratch: str, tmp_path: Path
) -> None:
    made = engine(server, Elsewhere(crafted(tmp_path / "crafted.rdb", KEY, used_memory=1 << 50)))
    shelf.take(made)
    with pytest.raises(NoSpace, match="MiB of memory free"):
        restored(made, shelf, scratch)


def test_a_file_that_would_not_fit_on_the_disk_is_not_unpacked(server: Running, shelf: Shelf, scratch: str) -> None:
    made = engine(server)
    shelf.take(made)
    huge = replace(shelf.manifest.artefacts[0], raw_size=1 << 60)
    shelf.manifest = replace(shelf.manifest, artefacts=(huge,))
    with pytest.raises(NoSpace, match="MiB free"):
        restored(made, shelf, scratch)


def test_a_server_that_writes_no_checksums_can_be_backed_up(
    redis_server: RedisServer, tmp_path: Path, shelf: Shelf, scratch: str
) -> None:
    with running(redis_server.server_binary, tmp_path / "redis", rdbchecksum="no") as server:
        server.client().set("greeting", "hello")
        made = engine(server, checks=[{"keys": "*", "expect": 1}])
        shelf.take(made)
        assert all(result.passed for result in restored(made, shelf, scratch))


def test_keys_that_expired_since_fail_no_backup(server: Running, shelf: Shelf, scratch: str) -> None:
    server.client().set("session:1", "short-lived", px=2500)
    checks = [{"keys": "*", "expect": 2}, {"keys": "session:*", "expect": ">=1"}, {"keys": "s*", "expect": ">=2"}]
    made = engine(server, checks=checks)
    dump = shelf.take(made)
    assert dump.observed == {"keys:*": 2, "keys:session:*": 1, "keys:s*": 1}
    until(lambda: not server.client().exists("session:1"))
    assert [(result.observed, result.passed) for result in restored(made, shelf, scratch)] == [
        ("1, 1 expired since", True), ("0, 1 expired since", True), (0, False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("expected", "found", "expired", "passed"),
    [
        (">=1", 0, 12, True), (">=13", 0, 12, False), (">=1", 0, 0, False), (5, 3, 12, True), ("==5", 3, 1, False),
        (5, 6, 12, False), ("<=5", 6, 12, False), ("<=5", 5, 12, True), ("many", 0, 12, False),
    ],
)  # fmt: skip
def test_expired_keys_excuse_as_many_as_they_are(expected: Any, found: int, expired: int, passed: bool) -> None:
    assert Check("keys", "*", expected).judge_count(found, expired).passed is passed


@pytest.mark.parametrize(("host", "said"), [("a..b", "a..b:6379"), ("", "no Redis server")], ids=["host", "answer"])
def test_what_is_no_redis_server_is_told(host: str, said: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def answer() -> None:
            with listening.accept()[0] as connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
                connection.recv(1000)

        port = 6379 if host else listening.getsockname()[1]
        threading.Thread(target=answer, daemon=True).start()
        made = RedisEngine.declared("databases[0]", {"host": host or "127.0.0.1", "port": port}, LocalInstance())
        with pytest.raises(EngineError, match=said) as caught:
            made.preflight()
    assert f":{port}" in str(caught.value)


@pytest.mark.parametrize("major", MAJORS)
def test_backups_of_every_major_load_in_the_newest(
    major: str, redis_server: RedisServer, tmp_path: Path, shelf: Shelf, scratch: str
) -> None:
    binary = binary_of(major, redis_server.server_binary)
    if binary is None:
        pytest.skip(f"NOT RUN: this machine has no redis-server {major}: name one in RUNBOOK_REDIS_SERVERS")
    with running(binary, tmp_path / "redis", databases="64") as server:
        server.client(db=63).mset({f"key:{number}": number for number in range(500)})
        server.client().zadd("ranks", {str(number): number / 7 for number in range(500)})
        newest = str(Path(redis_server.server_binary).parent)
        checks = [{"keys": "key:*", "expect": 500}, {"keys": "*", "expect": 501}]
        made = engine(server, checks=checks, bin_dir=newest)
        assert shelf.take(made).server_version.startswith(major)
    assert [result for result in restored(made, shelf, scratch) if not result.passed] == []


def test_the_rights_that_a_backup_needs(server: Running, shelf: Shelf) -> None:
    checks = [{"keys": "greet*", "expect": 1}]
    made = engine(server, user="backup", password="theirs", checks=checks)

    def grant(*rules: str) -> None:
        server.client().execute_command("ACL", "SETUSER", "backup", "reset", "on", ">theirs", *rules)

    grant("+info", "+bgsave")
    for step in (made.preflight, lambda: shelf.take(made)):
        with pytest.raises(EngineError, match=r"CONFIG GET: grant it \+config\|get\."):
            step()
    grant("+info", "+bgsave", "+config|get")
    with pytest.raises(EngineError, match=r"SCAN: grant it \+scan\."):
        shelf.take(made)
    grant("+info", "+bgsave", "+config|get", "+scan")
    assert shelf.take(made).observed == {"keys:greet*": 1}


def test_without_a_server_here_nothing_can_be_verified(server: Running, shelf: Shelf, scratch: str) -> None:
    made = engine(server, bin_dir="/nonexistent")
    shelf.take(made)
    with pytest.raises(MissingLibrary, match="no redis-server in bin_dir /nonexistent"):
        restored(made, shelf, scratch)


def test_the_throw_away_server_is_gone_with_its_place(server: Running, shelf: Shelf, scratch: str) -> None:
    made = engine(server)
    shelf.take(made)
    with made.scratch(shelf, scratch) as place:
        made.restore(shelf, place)
        process = place.server.process  # type: ignore[attr-defined]
        assert process.poll() is None
    assert process.poll() is not None
    assert os.listdir(scratch) == []


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"port": 70000}, r"databases\[0\]\.port"),
        ({"port": "six"}, r"databases\[0\]\.port"),
        ({"user": "backup"}, r"databases\[0\]\.password is not set"),
        ({"timeout": "0s"}, r"databases\[0\]\.timeout"),
        ({"checks": [{"table": "t", "rows": 1}]}, r"databases\[0\]\.checks\[0\]"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused_by_name(declared: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        RedisEngine.declared("databases[0]", {"engine": "redis", "name": "cache", **declared}, LocalInstance())
