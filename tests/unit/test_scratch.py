# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sweep removes what a killed run left behind, and nothing else; a place that cannot be used is named."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.runbook.ops.plugins.module_utils import _scratch, _server
from ansible_collections.runbook.ops.plugins.module_utils._errors import CommandFailed, InputError, NoSpace
from ansible_collections.runbook.ops.plugins.module_utils._scratch import free_space, scratch_directory, sweep
from support.processes import held


@pytest.fixture
def dead(tmp_path: Path) -> Path:
    """What a killed run leaves behind: the lock's file, held by nobody."""
    with scratch_directory(str(tmp_path)) as living:
        left = tmp_path / "runbook-0a1b2c_d"
        shutil.copytree(living, left)
    return left


def test_what_a_killed_run_left_is_swept(dead: Path) -> None:
    assert sweep(str(dead.parent)) == [str(dead)]
    assert not dead.exists()


def test_the_living_are_left_alone(tmp_path: Path) -> None:
    with scratch_directory(str(tmp_path)) as living:
        assert sweep(str(tmp_path)) == []
        assert os.listdir(living) == ["lock"]
    assert list(tmp_path.iterdir()) == []


def named_by_hand(dead: Path) -> None:
    dead.rename(dead.with_name("runbook-notes"))


def longer_name(dead: Path) -> None:
    dead.rename(dead.with_name("runbook-0a1b2c_d.old"))


def without_lock(dead: Path) -> None:
    (dead / "lock").unlink()


def other_lock(dead: Path) -> None:
    (dead / "lock").write_text("")


def longer_lock(dead: Path) -> None:
    with (dead / "lock").open("a") as lock:
        lock.write("and more")


def pipe(dead: Path) -> None:
    (dead / "lock").unlink()
    os.mkfifo(dead / "lock")


def linked_lock(dead: Path) -> None:
    (dead / "lock").rename(dead.parent / "elsewhere")
    (dead / "lock").symlink_to(dead.parent / "elsewhere")


@pytest.mark.parametrize(
    "alter", [named_by_hand, longer_name, without_lock, other_lock, longer_lock, pipe, linked_lock]
)
def test_what_is_not_ours_is_never_swept(dead: Path, alter: Callable[[Path], None]) -> None:
    (dead / "notes").write_text("mine")
    alter(dead)
    with scratch_directory(str(dead.parent)):
        pass
    assert len(list(dead.parent.glob("*/notes"))) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_lock_that_somebody_else_put_there_is_not_trusted(dead: Path) -> None:
    os.chown(dead / "lock", 65534, -1)
    assert sweep(str(dead.parent)) == []
    assert dead.exists()


def test_a_marked_lock_is_never_seen_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process's sweep, just before the lock is marked and just after, takes nothing away."""
    swept = []
    write = os.write

    def watched(fd: int, data: bytes) -> None:
        swept.append(sweep(str(tmp_path)))
        write(fd, data)
        swept.append(sweep(str(tmp_path)))

    monkeypatch.setattr(os, "write", watched)
    with scratch_directory(str(tmp_path)) as living:
        assert os.listdir(living) == ["lock"]
    assert swept == [[], []]


@pytest.mark.parametrize("use", [lambda path: scratch_directory(path, "TMPDIR").__enter__(), free_space])
@pytest.mark.parametrize("name", ["missing", "file/below"])
def test_a_place_that_cannot_be_used_is_named(tmp_path: Path, use: Callable[[str], object], name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=rf"{name}.* is no directory .*create it or name another\.") as caught:
        use(str(tmp_path / name))
    assert ("TMPDIR is" in str(caught.value)) is (use is not free_space)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_place_is_told_from_a_wrong_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def full(_path: str) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(_scratch, "_locked", full)
    with pytest.raises(NoSpace, match=r"is full \(.*\): free some space"), scratch_directory(str(tmp_path)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_server_without_a_log_to_write_is_not_started_and_leaks_nothing(tmp_path: Path) -> None:
    before = held()
    with pytest.raises(CommandFailed, match=r"true could not be started: .*No such file"):
        _server.spawn(["/bin/true"], account=None, stderr_path=str(tmp_path / "missing/log"))
    assert held() == before


def test_a_server_s_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file/data is no directory this account can read and write"):
        _server.give(str(tmp_path / "file/data"), None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers under another account")
def test_the_variable_of_an_account_is_named() -> None:
    with pytest.raises(InputError, match=r"databases\[1\]\.run_as is 'no-such-account'"):
        _server.account("no-such-account", "databases[1].run_as")
