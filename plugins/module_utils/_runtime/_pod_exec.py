# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One program in a pod, carried by ``kubectl exec``.

What comes may end early with every sign of success, return code 0 included; so only the witness is believed. ``kubectl``'s
own complaints come on the program's stderr, and are looked for only where the witness is silent. When this process is
killed, or the connection breaks, the witness's stdin ends, and the program with it. Where what carries it does not notice the
break, as on a way that swallows, and we live to see it, a second exec ends the program.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain

from .._errors import CommandFailed, RunbookError
from .._zstd import NotPacked, unpacked
from . import _child, _pipe
from ._exec import ENDING_SECONDS, Exec
from ._pods import Pod
from ._witness import KILL
from .local import LocalInstance

_CARRIED_BY_SPDY = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false"}
"""The older of the two protocols of an exec carries a gigabyte in three fifths of the time that WebSockets take. Where
something before the API server lets only these pass, whoever runs us says so in the same variable."""

_ASIDE_SECONDS = 0.01
"""stderr comes aside: its first line was written before the first byte of stdout, and arrives at about the same time."""

_STDERR_PIECE = 65536
_LOOK_MS = 200
"""How long a stream that gives nothing is waited for before it is asked whether it is complete."""


class PodExec(Exec):
    """One program in a container of a pod."""

    def __init__(
        self,
        pod: Pod,
        argv: Sequence[str],
        env: Mapping[str, str] | None,
        source: Iterable[bytes] | None,
        timeout: float,
        *,
        way: str | None = None,
    ) -> None:
        self._pod = pod
        self._program = os.path.basename(argv[0])
        self._came = 0
        super().__init__(argv, env, source, timeout, way=way)

    def _connect(self, argv: Sequence[str]) -> None:
        self._process = _child.start(self._pod.exec(argv, stdin=True), {**_CARRIED_BY_SPDY, **os.environ})
        self._stdin, self._stdout, self._stderr = _child.pipes(self._process)
        _pipe.widen(self._stdout.fileno())
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def stdout(self) -> Iterator[bytes]:
        carried = self._counted(self._carried())
        first = next(carried, b"")
        while first and self.witness.pid is None and self._listener.is_alive():
            self._listener.join(_ASIDE_SECONDS)
        everything = chain([first], carried)
        try:
            yield from unpacked(everything) if self.witness.packed else everything
        except NotPacked as error:
            raise CommandFailed(
                f"What {self._program} wrote in {self._pod.name} did not arrive as it was sent ({error}): try again."
            ) from None

    def _carried(self) -> Iterator[bytes]:
        waiting = select.poll()
        waiting.register(self._stdout.fileno(), select.POLLIN)
        while not self._all_came():
            if not waiting.poll(_LOOK_MS):
                continue
            if not (data := _pipe.read(self._stdout.fileno())):
                break
            self._came += len(data)
            yield data
        else:
            return
        self._listener.join(ENDING_SECONDS)

    def _all_came(self) -> bool:
        """Whether the witness has told of as much as came. ``kubectl`` may go on for ever: with a stdin that nobody reads any
        more it does not hear that its program ended."""
        testimony = self.witness.testimony
        return testimony is not None and testimony.digest is not None and testimony.digest[1] == self._came

    def _listen(self) -> None:
        with suppress(OSError):
            while data := self._stderr.read(_STDERR_PIECE):
                self._hear(data)

    def _write(self, data: bytes) -> None:
        _pipe.write(self._stdin.fileno(), data)

    def _end_of_input(self) -> None:
        self._stdin.close()

    def _abort(self) -> None:
        if self._process.poll() is None:
            _child.kill(self._process)

    def _kill(self, pid: int) -> None:
        argv = self._pod.exec(["sh", "-c", KILL, "sh", str(pid)], stdin=False)
        LocalInstance().run(argv, timeout=ENDING_SECONDS)

    def _silence(self) -> RunbookError:
        self._end_program()
        return self._pod.why_silent(self.witness.said, begun=self.witness.pid is not None)

    def close(self) -> None:
        super().close()
        self._listener.join(ENDING_SECONDS)
        _child.close(self._process)
