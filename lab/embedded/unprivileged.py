# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Python programs that root starts and that give up root by themselves, once everything is loaded.

Their interpreter may lie where only root can read (in root's home, say), so they cannot be started as anybody else.
Options, secrets among them, come as JSON on stdin.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from ansible_collections.runbook.ops.plugins.module_utils import _server

PID_FILE = "pid"
LOG_FILE = "server.log"
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def make_passable(directory: str) -> None:
    """A directory that others may pass through without seeing what is there, whatever the umask."""
    with suppress(FileExistsError):
        os.makedirs(directory)
        os.chmod(directory, 0o711)  # noqa: S103 - that is what it is for


def start_module(
    module: str, options: Mapping[str, Any], home: str, account: _server.Account | None, *, detach: bool
) -> subprocess.Popen[bytes]:
    """Start ``python -m module`` in ``home``, to end up as ``account``."""
    given = {**options, "account": account and [account.uid, account.gid], "parent": 0 if detach else os.getpid()}
    return _server.spawn(
        [sys.executable, "-m", module], account=None, env={"PYTHONPATH": _ROOT}, cwd=home,
        stderr_path=os.path.join(home, LOG_FILE), stdin=json.dumps(given).encode(), die_with_parent=not detach,
        pid_file=os.path.join(home, PID_FILE),
    )  # fmt: skip


def read_options() -> dict[str, Any]:
    """What ``start_module`` was given."""
    options: dict[str, Any] = json.load(sys.stdin)
    return options


def become(account: Sequence[int] | None, parent: int) -> None:
    """Give up root for good; and die with ``parent``, which the kernel forgets at a change of account."""
    if not account:
        return
    uid, gid = account
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if parent:
        _server.follow(parent)
