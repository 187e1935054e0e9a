# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A background save is waited for, and never believed to have succeeded when it has not: on real servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import redis
from ansible.module_utils.testing import patch_module_args
from ansible_collections.runbook.ops.plugins.module_utils import _server
from ansible_collections.runbook.ops.plugins.module_utils._errors import EngineError, RunbookError, TimedOut
from ansible_collections.runbook.ops.plugins.module_utils._redis.connection import (
    Login,
    NotPermitted,
    Redis,
    Unavailable,
)
from ansible_collections.runbook.ops.plugins.module_utils._redis.save import BackgroundSave, Saved
from ansible_collections.runbook.ops.plugins.modules import redis_bgsave
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from integration.redis_servers import MAJORS, PASSWORD, Running, binary_of, running, until
from support.fault_report import Fault

from lab.embedded.servers import RedisServer


@pytest.fixture(params=MAJORS)
def binary(request: pytest.FixtureRequest, redis_server: RedisServer) -> str:
    found = binary_of(request.param, redis_server.server_binary)
    if found is None:
        pytest.skip(f"NOT RUN: this machine has no redis-server {request.param}: name one in RUNBOOK_REDIS_SERVERS")
    return found


@pytest.fixture
def server(binary: str, tmp_path: Path) -> Iterator[Running]:
    with running(binary, tmp_path / "redis") as made:
        yield made


@pytest.fixture
def newest(redis_server: RedisServer, tmp_path: Path) -> Iterator[Running]:
    with running(redis_server.server_binary, tmp_path / "redis") as made:
        yield made


def save(login: Login, timeout: float = 20.0) -> Saved:
    with closing(Redis(login, answer_within=timeout)) as connection:
        request = BackgroundSave(connection, timeout)
        request.begin()
        return request.wait()


@contextmanager
def saving_meanwhile(login: Login, timeout: float = 20.0) -> Iterator[Future[Saved]]:
    """A save in a thread, while the test does something to the server."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(save, login, timeout)


def test_a_save_holds_what_was_written_before_it(server: Running) -> None:
    server.client().set("canary", "written before")
    saved = save(server.login)
    assert b"written before" in server.saved_keys()
    assert saved.requested_at <= saved.finished_at
    assert not saved.waited_for_another


def test_saves_within_one_second_are_told_apart(server: Running) -> None:
    finished = []
    for number in range(3):
        server.client().set("canary", f"number {number}")
        finished.append(save(server.login).finished_at)
        assert f"number {number}".encode() in server.saved_keys()
    assert finished == sorted(set(finished))


def test_a_save_from_before_is_waited_for_and_another_made(server: Running) -> None:
    server.slow_save(0.6)
    server.client().bgsave()
    server.client().set("canary", "written during the first")
    saved = save(server.login)
    assert saved.waited_for_another
    assert b"written during the first" in server.saved_keys()


def test_a_save_that_somebody_begins_just_before_ours_is_not_taken_for_ours(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.slow_save(0.3)
    server.client().set("canary", "written before")
    command, overtaking = Redis.command, iter([server.client().bgsave])

    def overtaken(self: Redis, *words: Any) -> Any:
        if words[0] == "BGSAVE":
            next(overtaking, lambda: None)()
        return command(self, *words)

    monkeypatch.setattr(Redis, "command", overtaken)
    assert save(server.login).waited_for_another
    assert b"written before" in server.saved_keys()


def test_a_save_follows_an_aof_rewrite(binary: str, tmp_path: Path) -> None:
    with running(binary, tmp_path / "redis", appendonly="yes", auto_aof_rewrite_percentage="0") as server:
        server.slow_save(0.7)
        server.client().bgrewriteaof()
        until(lambda: server.client().info("persistence")["aof_rewrite_in_progress"])
        server.client().set("canary", "written during the rewrite")
        save(server.login)
        assert b"written during the rewrite" in server.saved_keys()


def test_a_scheduled_save_that_the_server_puts_off_after_a_failure_is_asked_for_again(
    binary: str, tmp_path: Path
) -> None:
    with running(binary, tmp_path / "redis", appendonly="yes", auto_aof_rewrite_percentage="0") as server:
        unwritable(server, True)
        with pytest.raises(EngineError, match="failed"):
            save(server.login)
        unwritable(server, False)
        server.slow_save(0.3)
        server.client().bgrewriteaof()
        until(lambda: server.client().info("persistence")["aof_rewrite_in_progress"])
        save(server.login, timeout=4.0)  # by itself the server would try again five seconds after the failure


def test_a_save_that_follows_an_aof_rewrite_and_fails_is_a_failure(binary: str, tmp_path: Path) -> None:
    with running(binary, tmp_path / "redis", appendonly="yes", auto_aof_rewrite_percentage="0") as server:
        server.slow_save(0.7)
        server.client().bgrewriteaof()
        until(lambda: server.client().info("persistence")["aof_rewrite_in_progress"])
        unwritable(server, True)
        with pytest.raises(EngineError, match="failed"):
            save(server.login)
        unwritable(server, False)


def test_a_server_with_save_rules_and_writers_is_saved_too(binary: str, tmp_path: Path) -> None:
    with running(binary, tmp_path / "redis", save="1 1") as server:
        server.slow_save(0.2)
        stop = threading.Event()

        def write() -> None:
            client = server.client()
            while not stop.wait(0.002):
                client.incr("counter")

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for number in range(2):
                server.client().set("canary", f"number {number}")
                save(server.login)
                assert f"number {number}".encode() in server.saved_keys()
        finally:
            stop.set()
            writer.join()


def test_a_replica_is_saved_without_its_primary(server: Running, tmp_path: Path) -> None:
    server.client().set("canary", "from the primary")
    server.client().config_set("repl-diskless-sync-delay", 0)
    with running(server.binary, tmp_path / "replica", masterauth=PASSWORD) as replica:
        replica.client().replicaof("127.0.0.1", server.server.port)
        until(lambda: replica.client().info("replication")["master_link_status"] == "up")
        save(replica.login)
        assert b"from the primary" in replica.saved_keys()


def unwritable(server: Running, blocked: bool) -> None:
    """Take the directory from the server's account, or give it back."""
    account = _server.account(None)
    if account is None:
        server.directory.chmod(0o500 if blocked else 0o700)
    else:
        os.chown(server.directory, 0 if blocked else account.uid, 0 if blocked else account.gid)
        server.directory.chmod(0o755 if blocked else 0o700)


def test_a_directory_it_may_not_write_is_a_failure_every_time_and_heals(server: Running, fault: Fault) -> None:
    for _attempt in range(2):
        unwritable(server, True)
        with pytest.raises(EngineError, match=r"failed: the server's log has the reason") as caught:
            save(server.login)
        assert str(server.rdb) in str(caught.value)
    unwritable(server, False)
    save(server.login)
    fault("a Redis save that fails: directory not writable", caught.value, "no save believed; the next one works")


def test_a_failure_within_the_second_of_a_success_is_a_failure(server: Running) -> None:
    save(server.login)
    unwritable(server, True)
    with pytest.raises(EngineError, match="failed"):
        save(server.login)
    unwritable(server, False)


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT RUN: only root can mount a small file system to fill")
def test_a_full_disk_is_a_failure_and_heals(binary: str, tmp_path: Path, fault: Fault) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=False).returncode != 0:
        pytest.skip("NOT RUN: this machine does not let root mount a tmpfs")
    try:
        with running(binary, small) as server:
            server.client().set("big", os.urandom(1 << 20))
            with pytest.raises(EngineError, match="full disk") as caught:
                save(server.login)
            server.client().delete("big")
            save(server.login)
            fault("a Redis save that fails: full disk", caught.value, "no save believed; the next one works")
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize(
    ("number", "said"), [(signal.SIGKILL, "failed"), (signal.SIGUSR1, "before it was complete")], ids=["kill", "usr1"]
)
def test_a_child_that_is_killed_has_not_saved(server: Running, number: int, said: str) -> None:
    server.slow_save(5)
    with saving_meanwhile(server.login) as saving:
        until(server.saving)
        os.kill(server.child(), number)
        with pytest.raises(EngineError, match=said):
            saving.result()


def test_flushall_breaks_a_save_off(server: Running) -> None:
    server.slow_save(5)
    with saving_meanwhile(server.login) as saving:
        until(server.saving)
        server.client().flushall()
        with pytest.raises(EngineError, match="FLUSHALL"):
            saving.result()


def test_a_server_that_is_killed_and_started_again_is_saved_anew(server: Running) -> None:
    server.client().set("canary", "first life")
    save(server.login)
    old = server.rdb.stat().st_ino
    server.slow_save(5)
    with saving_meanwhile(server.login) as saving:
        until(server.saving)
        server.kill()
        server.start_again()
        saved = saving.result()
    assert not server.saving()
    assert server.rdb.stat().st_ino != old
    assert b"first life" in server.saved_keys()
    assert int(saved.finished_at.timestamp()) == int(server.client().lastsave().timestamp())


def test_a_server_that_stays_away_is_told_at_the_time_limit(newest: Running) -> None:
    newest.slow_save(5)
    with saving_meanwhile(newest.login, timeout=2.0) as saving:
        until(newest.saving)
        newest.kill()
        with pytest.raises(TimedOut, match="not reachable any more"):
            saving.result()


def test_a_server_that_is_stopped_from_the_start(newest: Running) -> None:
    newest.signal(signal.SIGSTOP)
    with pytest.raises(Unavailable, match=r"does not answer within 0.5 s"):
        save(newest.login, timeout=0.5)


def test_a_server_that_stops_during_the_save_and_goes_on_is_followed(newest: Running) -> None:
    newest.slow_save(0.5)
    newest.client().set("canary", "written before")
    with saving_meanwhile(newest.login) as saving:
        until(newest.saving)
        newest.signal(signal.SIGSTOP)
        time.sleep(1.2)  # nothing shows how long a stopped server was asked in vain
        newest.signal(signal.SIGCONT)
        saving.result()
    assert b"written before" in newest.saved_keys()


def test_a_server_that_a_script_blocks_during_the_save_is_followed(newest: Running) -> None:
    newest.client().config_set("busy-reply-threshold", 10)
    newest.slow_save(0.5)
    with saving_meanwhile(newest.login) as saving, ThreadPoolExecutor(1) as pool:
        until(newest.saving)
        script = pool.submit(newest.client().eval, "while true do end", 0)
        until(lambda: busy(newest))
        with pytest.raises(Unavailable, match="takes no commands now: BUSY"):
            save(newest.login)
        newest.client().script_kill()
        saving.result()
        assert "killed" in str(script.exception())


def busy(server: Running) -> bool:
    try:
        server.client().ping()
    except redis.ResponseError as error:
        return "BUSY" in str(error)
    return False


def test_a_save_that_takes_too_long_is_told_and_goes_on(server: Running) -> None:
    server.slow_save(4)
    with pytest.raises(TimedOut, match=r"within 1.5s, it is saving"):
        save(server.login, timeout=1.5)
    assert server.saving()


def test_a_loading_server_is_waited_for(newest: Running) -> None:
    newest.client().mset({f"key:{number}": os.urandom(1000) for number in range(200)})
    save(newest.login)
    newest.kill()
    slow = {**newest.settings, "key-load-delay": "5000", "loading-process-events-interval-bytes": "1024"}
    config = _server.redis_config(slow, port=newest.server.port, password=PASSWORD, directory=str(newest.directory))
    process = _server.spawn(
        _server.redis_argv(newest.binary),
        account=_server.account(None),
        stderr_path=f"{newest.directory}.log",
        stdin=config,
    )
    try:
        until(lambda: loading(newest))
        save(newest.login)
        assert newest.client().dbsize() == 200
    finally:
        _server.end(process)


def loading(server: Running) -> bool:
    try:
        return bool(server.client().info("persistence")["loading"])
    except redis.ConnectionError:
        return False


def grant(server: Running, *rules: str) -> Login:
    server.client().acl_setuser("backup", enabled=True, reset=True, passwords=["+theirs"])
    server.client().execute_command("ACL", "SETUSER", "backup", *rules)
    return replace(server.login, user="backup", password="theirs")


def test_the_least_acl_is_enough(server: Running) -> None:
    save(grant(server, "+bgsave", "+info"))


@pytest.mark.parametrize(("rules", "missing"), [(["+info"], "+bgsave"), (["+bgsave"], "+info")])
def test_a_missing_right_is_named(server: Running, rules: list[str], missing: str) -> None:
    with pytest.raises(NotPermitted, match=rf"the user 'backup' .* grant it \{missing}\."):
        save(grant(server, *rules))


def test_a_failure_without_config_get_says_what_would_help(server: Running) -> None:
    login = grant(server, "+bgsave", "+info")
    unwritable(server, True)
    with pytest.raises(EngineError, match=r"granting \+config\|get would show its directory"):
        save(login)
    unwritable(server, False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"password": "wrong"}, "refused the password of the default user"),
        ({"user": "nobody", "password": "wrong"}, "refused the password of the user 'nobody'"),
        ({"password": None}, "wants a password and none is set"),
        ({"port": 1}, "cannot be reached"),
        ({"host": "no-such-host.invalid"}, "cannot be reached"),
    ],
    ids=["password", "user", "no password", "port", "host"],
)
def test_no_way_in_is_told_at_once(server: Running, change: dict[str, Any], said: str) -> None:
    with pytest.raises(RunbookError, match=said) as caught:
        save(replace(server.login, **change))
    assert len(str(caught.value).splitlines()) == 1
    assert "wrong" not in str(caught.value)


def test_a_password_too_many_is_told(server: Running) -> None:
    server.client().config_set("requirepass", "")
    with pytest.raises(EngineError, match="has no password, but one is set for it"):
        save(server.login)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and the certificate it signed for itself, in one file that a server's account can read."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = tmp_path / "certificate.pem"
    path.write_bytes(private + made.public_bytes(Encoding.PEM))
    path.chmod(0o644)
    return path


def test_over_tls_both_sides_prove_who_they_are(binary: str, tmp_path: Path, certificate: Path) -> None:
    port, pem = _server.free_port(), str(certificate)
    settings = {"tls_port": str(port), "tls_cert_file": pem, "tls_key_file": pem, "tls_ca_cert_file": pem}
    with ExitStack() as stack:
        try:
            stack.enter_context(running(binary, tmp_path / "redis", **settings))
        except EngineError:
            pytest.skip("this redis-server was built without TLS")
        login = Login("localhost", port, password=PASSWORD, tls=True, ca_certs=pem, client_cert=pem, client_key=pem)
        save(login)
        save(replace(login, host="127.0.0.1", ca_certs=None, validate_certs=False))
        no_client, not_tls = {"client_cert": None, "client_key": None}, {"tls": False}
        for change in ({"host": "127.0.0.1"}, {"ca_certs": None}, no_client, not_tls):
            with pytest.raises(Unavailable, match="cannot be reached"):
                save(replace(login, **change))


# The module


def outcome(capsys: pytest.CaptureFixture[str], server: Running, check: bool = False, **params: Any) -> dict[str, Any]:
    """What the module returns, run as Ansible runs it."""
    given = {
        "login_host": server.login.host, "login_port": server.login.port, "login_password": PASSWORD,
        "timeout": "20s", "_ansible_check_mode": check, "_ansible_diff": True, **params,
    }  # fmt: skip
    with patch_module_args(given), pytest.raises(SystemExit):
        redis_bgsave.main()
    printed = capsys.readouterr().out
    result: dict[str, Any] = json.loads(printed)
    assert PASSWORD not in printed
    return result


def test_check_mode_predicts_what_the_module_does(server: Running, capsys: pytest.CaptureFixture[str]) -> None:
    predicted = outcome(capsys, server, check=True)
    assert not server.rdb.exists()
    done = outcome(capsys, server)
    assert server.rdb.exists()
    assert predicted["changed"] is done["changed"] is True
    assert predicted["actions"] == done["actions"]
    assert done["actions"][0]["object"] == f"redis 127.0.0.1:{server.server.port}"
    assert predicted["rdb_path"] == done["rdb_path"] == str(server.rdb)
    assert predicted["save"] is None
    assert done["save"]["finished_at"] > predicted["last_save_before"]
    assert predicted["diff"]["before"] == done["diff"]["before"] == f"last save: {done['last_save_before']}\n"
    assert done["diff"]["after"] == f"last save: {done['save']['finished_at']}\n"


def test_the_module_does_without_config_get(newest: Running, capsys: pytest.CaptureFixture[str]) -> None:
    login = grant(newest, "+bgsave", "+info")
    result = outcome(capsys, newest, login_user=login.user, login_password=login.password)
    assert result["changed"] and result["rdb_path"] is None


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"login_password": "wrong"}, "refused the password"),
        ({"login_port": 1}, "cannot be reached"),
        ({"timeout": "soon"}, "timeout is 'soon', which is no positive duration"),
        ({"client_key_file": "/key.pem"}, "client_cert_file"),
        ({"tls": True, "ca_certs": "/no/such/file"}, "cannot be reached"),
    ],
    ids=["password", "port", "timeout", "key without certificate", "authority"],
)
def test_the_module_fails_with_a_sentence(
    newest: Running, capsys: pytest.CaptureFixture[str], check: bool, params: dict[str, Any], said: str
) -> None:
    result = outcome(capsys, newest, check=check, **params)
    assert result["failed"] and said in result["msg"]
    assert "exception" not in result
