# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a program did, told by a witness that stood beside it where it ran.

A stream out of a container can end early with every sign of success. So the bytes are counted and digested before they
enter it, and what arrived must be the same. The digest is POSIX ``cksum`` (CRC-32 and length, IEEE Std 1003.1): every
image has it, it costs a twentieth of coreutils' sha256sum, and it is proof against what a stream does, losing and
garbling, not against an adversary, who would own the database anyway. The backup's sha256 is another matter: it is
taken of the bytes that passed here. Where root reads the program's own pipe (``_direct``) there is no stream to distrust.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._require import require
from .base import STDERR_LIMIT

SCRIPT = r"""
nonce=$1 way=$2
shift 2
given=
while IFS= read -r line; do
    [ "$line" != "$nonce" ] || break
    given="$given$line
"
done
[ "$line" = "$nonce" ] || exit
eval "$given"
unset given line
exec 3>&1 6<&0
if [ "$way" = packed ]; then
    if command -v zstd >/dev/null; then echo "$nonce packed" >&2; else way=held; fi
fi
own_group=$(command -v setsid)
mortal() {
    { read -r _; kill -KILL "-$1" || kill -KILL "$1"; } <&6 >/dev/null 2>&1 3>&- 4>&- 5>&- 7<&- &
    watcher=$!
    wait "$1" 2>/dev/null
    status=$?
    kill "$watcher" 2>/dev/null
    wait "$watcher" 2>/dev/null
}
watched() {
    if [ "$way" = data ]; then exec 7<&6; else exec 7</dev/null; fi
    if [ "$way" = taken ]; then
        sh -c 'echo "$0 $PPID" >&2' "$nonce"
        read -r _ <&6 || return
    fi
    $own_group sh -c 'echo "$0 $$" >&2; exec "$@"' "$nonce" "$@" <&7 3>&- 5>&- 6<&- 7<&- &
    program=$!
    if [ "$way" = data ]; then
        wait "$program" 2>/dev/null
        status=$?
    else
        mortal "$program"
    fi
    echo "$status" >&5
}
copier() {
    command -v perl >/dev/null || exec tee /dev/fd/4
    PERL_BADLANG=0 exec perl -e 'open($digest, ">&=4") or exit 1;
        while ($read = sysread(STDIN, $data, 1 << 17)) {
            for $out (*STDOUT, $digest) {
                for ($done = 0; $done < $read; $done += $wrote) {
                    defined($wrote = syswrite($out, $data, $read - $done, $done)) or exit 1;
                }
            }
        }
        defined($read) or exit 1'
}
copied() {
    if [ "$way" = data ]; then
        exec 6<&-
        (copier) 5>&-
        status=$?
    else
        exec 7<&0
        copier <&7 5>&- 6<&- 7<&- &
        exec </dev/null >/dev/null 4>&- 7<&-
        mortal "$!"
    fi
    [ "$status" = 0 ] || echo copying >&5
}
witnessed() {
    copied 4>&1 >&3 3>&- | cksum 3>&- 5>&- 6<&-
}
case $way in
    taken) told=$({ watched "$@" | :; } 5>&1) ;;
    packed) told=$({ watched "$@" | { zstd -1 -q -c --single-thread 3>&- 5>&- 6<&- || echo packing >&5; } | witnessed; } 5>&1) ;;
    *) told=$({ watched "$@" | witnessed; } 5>&1) ;;
esac
printf '\n%s' "$nonce" >&2
printf ' %s' $told >&2
echo >&2
[ "$way" != data ] || cat <&6 >/dev/null
"""
"""The one shell text of this collection: ``sh -c SCRIPT sh NONCE data|held|packed|taken PROGRAM ARGUMENT...``.

Our stdin begins with the program's environment, as lines for a shell, to a line that is the nonce: what is secret in it is
no argument, which processes' lists show and Kubernetes logs, and an end before that line begins nothing.

A line on stderr is the nonce and the program's number; the last, once all of stdout has been taken, the nonce, the
return code, and, but for ``taken``, ``cksum`` and length; a word among them names what failed between program and connection: what
is missing then is missing in the digest too. ``data``: the program has our stdin, of which the rest is swallowed:
a connection that is closed with something unread takes with it what was told. ``held``: it has none, and when ours ends,
because whoever holds it was killed, the program is, and so is what copies its stdout, which would wait for ever to write what
nobody takes. ``packed``: as ``held``, and where the image has zstd its stdout is packed by it before it is counted and
carried, which a first line says, of the nonce and that word. ``taken``: as ``held``, and its stdout is a pipe that somebody
else opens: the first line is the number of the process that has it, and one more line on our stdin begins.

Every process is waited for by the shell that started it, and only such a one is ever killed: PostgreSQL as a
container's process 1 inherits what nobody waits for, and takes one that died by a signal for a crash of its own.
What is carried is copied to ``cksum`` by perl where the image has it, for tee writes 8 KiB at a time, and the Engine pays for
each piece. The program leads a process group where the image has ``setsid``, so that what it started ends with it, at once: a parent
that saw its child die first would go on. Those children nobody waits for, so beside PostgreSQL only programs without
children may be run, as its own are.
"""

KILL = 'kill -KILL "-$1" 2>/dev/null || kill -KILL "$1"'
"""``sh -c KILL sh NUMBER``: the program, and its group where it leads one."""

DATA, HELD, PACKED, TAKEN = "data", "held", "packed", "taken"

_LAST_SIGNAL = 64
_WITH_TESTIMONY = STDERR_LIMIT + 256


@dataclass(frozen=True)
class Testimony:
    """``returncode`` as Python has it: negative for a signal, of which a shell makes 128 and more. ``digest`` is what
    ``cksum`` told of the stdout that a stream carried, checksum and length; ``failed`` is what lost some of it before that,
    ``packing`` or ``copying``."""

    returncode: int
    digest: tuple[int, int] | None
    failed: str | None


class Witness:
    """Reads a witness's stderr: the program's number, the end of what the program said, and the testimony.
    ``way`` is the script's word for it; ``outlet`` the process whose stdout is to be taken, once it is known."""

    def __init__(self, way: str) -> None:
        self.nonce = secrets.token_hex(8)
        self.way = way
        self.outlet: int | None = None
        self.pid: int | None = None
        self.packed = False
        self._head = b""
        self._tail = b""

    def argv(self, program: Sequence[str]) -> list[str]:
        return ["sh", "-c", SCRIPT, "sh", self.nonce, self.way, *program]

    def environment(self, env: Mapping[str, str]) -> bytes:
        """What the script reads first."""
        lines = [f"export {name}={shlex.quote(value)}" for name, value in env.items()]
        return os.fsencode("\n".join([*lines, self.nonce, ""]))

    def hear(self, said: bytes) -> None:
        if self.pid is None:
            self._head += said
            found = re.search(rb"^%b (\d+)\n" % self.nonce.encode(), self._head, re.MULTILINE)
            if found is None:
                self._head = self._head[-STDERR_LIMIT:]
                return
            said, self._head = (
                self._head[found.end() :],
                self._head[: found.start()],
            )  # a shell may have complained before
            if self.way == TAKEN and self.outlet is None:
                self.outlet = int(found[1])
                self.hear(said)
                return
            before, packed, after = self._head.partition(f"{self.nonce} {PACKED}\n".encode())
            self.packed, self._head = bool(packed), before + after
            self.pid = int(found[1])  # last: who waits for it reads the rest
        self._tail = (self._tail + said)[-_WITH_TESTIMONY:]

    @property
    def testimony(self) -> Testimony | None:
        """``None`` when the witness was silenced: the container ended, or the connection did."""
        found = self._last()
        if found is None:
            return None
        told = found[1].decode().split()
        status, *digest = (int(word) for word in told if word.isdigit())
        failed = next((word for word in told if word.isalpha()), None)
        ended = 128 - status if 128 < status <= 128 + _LAST_SIGNAL else status
        return Testimony(ended, (digest[0], digest[1]) if digest else None, failed)

    @property
    def said(self) -> str:
        """What the program wrote to stderr, or the shell in its place; the end of it."""
        found = self._last()
        said = self._tail[: found.start()] if found else self._tail
        return ((self._head + said)[-STDERR_LIMIT:]).decode(errors="replace").strip()

    @property
    def could_not_start(self) -> str | None:
        """Why the shell could not run the program: only it speaks under the nonce."""
        found = re.search(rf"^{self.nonce}:.*exec:.*: ([^:\n]+)$", self.said, re.MULTILINE)
        return found[1] if found else None

    def _last(self) -> re.Match[bytes] | None:
        return re.search(rb"\n%s ((?:[a-z]+ )*\d+(?: [a-z]+| \d+ \d+)*)\n" % self.nonce.encode(), self._tail)


class Checksum:
    """POSIX ``cksum`` of what passes, and its ``size``."""

    def __init__(self) -> None:
        self.size = 0
        self._update: Any = require("fastcrc", "fastcrc").crc32.cksum
        self._crc: int | None = None

    def update(self, data: bytes) -> None:
        self.size += len(data)
        self._crc = self._update(data, self._crc)

    @property
    def value(self) -> int:
        """The length's bytes, the lowest first and as many as it needs, belong to it."""
        length = self.size.to_bytes((self.size.bit_length() + 7) // 8, "little")
        value: int = self._update(length, self._crc)
        return value
