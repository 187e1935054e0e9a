# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a stream of bytes is a whole Redis RDB file: header, EOF opcode and CRC-64, while it passes.

Pure Python at the speed of C: a table takes one step a byte (8 MB/s), so the CRC of a 10 GB file would take twenty
minutes. Here almost all of it is shifts and XORs of long integers (400 MB/s), see ``Crc64``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

from .._errors import Damaged

_POLYNOMIAL = 0x95AC9329AC4BC9B5
"""CRC-64/Jones without its leading term, bit-reversed as its bytes are: the first bit of a byte is its lowest."""

_DEGREE = 356324
_TERMS = (113160, 45371, 10174, 0)
"""x**_DEGREE is congruent to the sum of x**t over _TERMS, modulo the polynomial: a sparse relation, found by search.
``tests/unit/test_rdb.py`` proves it."""

_STEP = (_DEGREE - _TERMS[0]) // 8
"""Bytes folded at a time: as many as fit above the highest term."""

_STEP_BITS = 8 * _STEP
_SHIFTS = tuple(_DEGREE - _STEP_BITS - term for term in _TERMS)
_STEP_MASK = (1 << _STEP_BITS) - 1

_MAGIC = re.compile(rb"REDIS([0-9]{4})|VALKEY([0-9]{3})")
_EOF = 0xFF
_AUX = 0xFA
_TRAILER = 9
"""The EOF opcode and the CRC-64 of everything before the CRC, little-endian; all zero when checksums are off."""

_HEAD = 4096
"""Bytes in which the header's auxiliary fields are looked for; real ones take about 150."""


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _bit in range(8):
            crc = (crc >> 1) ^ (_POLYNOMIAL if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_TABLE = _table()


def crc64(data: bytes, crc: int = 0) -> int:
    """CRC-64/Jones, byte by byte: for what is short."""
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc


class Crc64:
    """CRC-64/Jones of a stream.

    A CRC is the remainder of the message, read as a polynomial over GF(2), so the message may be replaced by any
    congruent one. The state is such a message of ``_DEGREE`` bits. With each step it grows by ``_STEP`` bytes, and
    its first ``_STEP`` bytes, which now stand ``_DEGREE`` bits above the end, are taken off and added again at the
    places that the sparse relation names. Only the last state goes through the table.
    """

    def __init__(self) -> None:
        self._state = 0
        self._rest = bytearray()

    def update(self, data: bytes) -> None:
        """The next bytes, of any length."""
        self._rest += data
        whole = len(self._rest) // _STEP * _STEP
        if not whole:
            return
        state = self._state
        with memoryview(self._rest) as view:
            for start in range(0, whole, _STEP):
                first = state & _STEP_MASK
                new = int.from_bytes(view[start : start + _STEP], "little")
                state = (state >> _STEP_BITS) | (new << (_DEGREE - _STEP_BITS))
                for shift in _SHIFTS:
                    state ^= first << shift
        self._state = state
        del self._rest[:whole]

    def value(self) -> int:
        """The CRC of all bytes so far."""
        leading = -_DEGREE % 8  # zero bits before a message do not change its CRC
        state = (self._state << leading).to_bytes((_DEGREE + leading) // 8, "little")
        return crc64(bytes(self._rest), crc64(state.lstrip(b"\0")))


@dataclass(frozen=True)
class Rdb:
    """What a sound RDB file says of itself. ``checksummed`` is false when the server wrote it with ``rdbchecksum no``."""

    version: int
    checksummed: bool
    created_at: datetime | None
    server_version: str
    used_memory: int


class RdbCheck:
    """Feed it a file's bytes; ``finish`` says what it was, or raises ``Damaged``."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._head = b""
        self._tail = b""
        self._crc = Crc64()

    def feed(self, data: bytes) -> None:
        """The next bytes; ``Damaged`` as soon as the header shows that this is no RDB file."""
        if len(self._head) < _HEAD:
            self._head += data[: _HEAD - len(self._head)]
            if len(self._head) >= 9:
                self._version()
        joined = self._tail + data
        self._crc.update(joined[:-_TRAILER])
        self._tail = joined[-_TRAILER:]

    def finish(self) -> Rdb:
        """The verdict on all bytes fed."""
        version = self._version()
        if len(self._tail) < _TRAILER or self._tail[0] != _EOF:
            raise Damaged(f"{self._name} is cut off: it does not end with the EOF mark of an RDB file.")
        self._crc.update(self._tail[:1])
        recorded = int.from_bytes(self._tail[1:], "little")
        computed = self._crc.value()
        if recorded not in (0, computed):
            raise Damaged(
                f"{self._name} has the CRC-64 {computed:016x} but records {recorded:016x}: its bytes changed after it was written."
            )
        aux = _auxiliary(self._head)
        created = aux.get("ctime", "")
        return Rdb(
            version=version, checksummed=recorded != 0,
            created_at=datetime.fromtimestamp(int(created), timezone.utc) if created.isdigit() else None,
            server_version=aux.get("redis-ver", aux.get("valkey-ver", "")),
            used_memory=int(aux["used-mem"]) if aux.get("used-mem", "").isdigit() else 0,
        )  # fmt: skip

    def _version(self) -> int:
        match = _MAGIC.match(self._head)
        if match is None:
            shown = f"begins with {self._head[:9]!r}, not with REDIS" if self._head else "is empty"
            raise Damaged(f"{self._name} {shown}: it is no RDB file.")
        return int(match[1] or match[2])


def _auxiliary(head: bytes) -> Mapping[str, str]:
    """The key-value pairs that follow the header."""
    fields: dict[str, str] = {}
    position = 9
    try:
        while head[position] == _AUX:
            key, position = _string(head, position + 1)
            fields[key], position = _string(head, position)
    except (IndexError, ValueError):
        pass  # they reach beyond the head, or are coded as no server codes them: what was read stands
    return fields


def _string(data: bytes, position: int) -> tuple[str, int]:
    """A length-prefixed string, or an integer coded as one; and where it ends."""
    first = data[position]
    position += 1
    if first >> 6 == 3:
        if first & 0x3F > 2:
            raise ValueError("a compressed string")
        end = position + (1 << (first & 0x3F))
        return str(int.from_bytes(data[position:end], "little", signed=True)), end
    if first >> 6 == 2:
        width = 4 if first == 0x80 else 8
        length = int.from_bytes(data[position : position + width], "big")
        position += width
    elif first >> 6 == 1:
        length = (first & 0x3F) << 8 | data[position]
        position += 1
    else:
        length = first
    return data[position : position + length].decode("ascii"), position + length
