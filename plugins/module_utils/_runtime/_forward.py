# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A port of a pod on this host's loopback, for as long as this process wants it."""

from __future__ import annotations

import re

from .._errors import TimedOut
from . import _child
from ._kubectl import ANSWER_SECONDS
from ._pods import Pod
from .base import STDERR_LIMIT

_WHILE_WE_LIVE = """
exec 3<&0
{
    "$@" 2>&1 3<&- </dev/null &
    program=$!
    { read -r _ <&3; kill "$program"; } 2>/dev/null &
    watcher=$!
    exec 3<&-
    wait "$program"
    kill "$watcher"
} 2>/dev/null | { read -r said; echo "$said"; exec cat >/dev/null; }
"""
"""A program whose first line is passed on, and which is ended when our stdin is: with the context, or with this process."""

_OPENED = re.compile(rb"Forwarding from 127\.0\.0\.1:(\d+) ")


class Forward:
    """``kubectl port-forward`` to one port of ``pod``; ``port`` is ours, chosen by the kernel."""

    def __init__(self, pod: Pod, port: int) -> None:
        where = ["--namespace", pod.namespace, "port-forward", "--address", "127.0.0.1", f"pod/{pod.name}", f":{port}"]
        self._process = _child.start(["sh", "-c", _WHILE_WE_LIVE, "sh", *pod.kubectl.argv(*where)])
        said = _child.first_line(self._process, ANSWER_SECONDS)
        opened = _OPENED.match(said or b"")
        if opened is None:
            self.close()
            if said is None:
                raise TimedOut(f"{pod.kubectl} opened no way to port {port} of {pod.name} within {ANSWER_SECONDS:g} s.")
            raise pod.kubectl.refused(said[:STDERR_LIMIT].decode(errors="replace"))
        self.port = int(opened[1])

    @property
    def open(self) -> bool:
        """It ends with the pod, and with the first connection that the pod refuses."""
        return self._process.poll() is None

    def close(self) -> None:
        _child.close(self._process)
