# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An RDB file is sound, or what is wrong with it is said: pure bytes, no server."""

from __future__ import annotations

import random
import tracemalloc
from datetime import datetime, timezone

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import Damaged
from ansible_collections.runbook.ops.plugins.module_utils._redis import rdb as _rdb
from ansible_collections.runbook.ops.plugins.module_utils._redis.rdb import Crc64, Rdb, RdbCheck, crc64
from hypothesis import given, settings
from hypothesis import strategies as st

FIELDS = (
    b"\xfa\x09redis-ver\x058.2.3"
    b"\xfa\x0aredis-bits\xc0\x40"
    b"\xfa\x05ctime\xc2\xd2\x6c\x01\x6b"
    b"\xfa\x08used-mem\xc2\xd0\x69\x43\x02"
)
KEY = b"\xfe\x00\xfb\x01\x00\x00\x01a\xc0\x01"


def rdb(header: bytes = b"REDIS0012", body: bytes = FIELDS + KEY, crc: bytes | None = None) -> bytes:
    content = header + body + b"\xff"
    return content + (crc64(content).to_bytes(8, "little") if crc is None else crc)


def checked(data: bytes, piece: int = 1 << 20) -> Rdb:
    check = RdbCheck("data.rdb")
    for start in range(0, len(data), piece):
        check.feed(data[start : start + piece])
    return check.finish()


def test_crc_of_the_standard_vector() -> None:
    assert crc64(b"123456789") == 0xE9C6D914C4B8D9CA


def test_the_sparse_relation_holds_modulo_the_polynomial() -> None:
    powers = {}
    power = 1 << 63  # x**0, bit-reversed
    for exponent in range(_rdb._DEGREE + 1):
        powers[exponent] = power
        power = power >> 1 ^ (_rdb._POLYNOMIAL if power & 1 else 0)
    total = 0
    for term in _rdb._TERMS:
        total ^= powers[term]
    assert powers[_rdb._DEGREE] == total


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3 * _rdb._STEP), min_size=1, max_size=4), st.integers())
def test_a_streams_crc_is_that_of_its_bytes_however_they_are_cut(sizes: list[int], seed: int) -> None:
    noise = random.Random(seed)
    pieces = [noise.randbytes(size) for size in sizes]
    crc = Crc64()
    for piece in pieces:
        crc.update(piece)
    assert crc.value() == crc64(b"".join(pieces))


@pytest.mark.parametrize("size", [0, 1, _rdb._STEP - 1, _rdb._STEP, _rdb._STEP + 1, 2 * _rdb._STEP])
def test_crc_at_the_edges_of_a_step(size: int) -> None:
    data = random.Random(size).randbytes(size)
    crc = Crc64()
    crc.update(data)
    assert crc.value() == crc64(data)


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_a_sound_file_tells_what_it_is(piece: int) -> None:
    assert checked(rdb(), piece) == Rdb(
        version=12,
        checksummed=True,
        created_at=datetime(2026, 11, 21, 10, 5, 6, tzinfo=timezone.utc),
        server_version="8.2.3",
        used_memory=37972432,
    )


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (rdb(b"VALKEY080", b"\xfa\x0avalkey-ver\x059.0.0" + KEY), (80, "9.0.0", 0, True)),
        (rdb(crc=bytes(8)), (12, "8.2.3", 37972432, False)),
        (rdb(body=KEY), (12, "", 0, True)),
        (rdb(body=b"\xfa\x08used-mem\xc0\x07" + KEY), (12, "", 7, True)),
        (rdb(body=b"\xfa\x08used-mem\xc1\x00\x01" + KEY), (12, "", 256, True)),
        (rdb(body=b"\xfa\x40\x08used-mem\x80\x00\x00\x00\x021234" + KEY), (12, "", 12, True)),
        (rdb(body=b"\xfa\x08used-mem\xc3\x01\x02\x00\x00" + KEY), (12, "", 0, True)),
        (rdb(body=b"\xfa\x05ctime\x811234"), (12, "", 0, True)),
    ],
    ids=["valkey", "rdbchecksum-no", "no-fields", "int8", "int16", "14-and-32-bit-lengths", "compressed", "cut-field"],
)
def test_headers_as_servers_write_them(data: bytes, expected: tuple[int, str, int, bool]) -> None:
    found = checked(data)
    assert (found.version, found.server_version, found.used_memory, found.checksummed) == expected


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"REDIS", "it is no RDB file"),
        (b"REDIS00x2" + b"\xff" * 20, "it is no RDB file"),
        (b"-ERR something else altogether", "begins with b'-ERR some', not with REDIS"),
        (b"REDIS0012", "is cut off"),
        (rdb() + b"\0", "is cut off"),
        (rdb(crc=b"\1" * 8), "records 0101010101010101"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, said: str) -> None:
    with pytest.raises(Damaged, match=r"data\.rdb") as caught:
        checked(data)
    assert said in str(caught.value)


def test_every_truncation_is_damage() -> None:
    whole = rdb()
    for length in range(len(whole)):
        with pytest.raises(Damaged):
            checked(whole[:length])


def test_every_flipped_bit_is_damage() -> None:
    whole = bytearray(rdb())
    for position in range(len(whole)):
        for bit in range(8):
            whole[position] ^= 1 << bit
            with pytest.raises(Damaged):
                checked(bytes(whole))
            whole[position] ^= 1 << bit


def test_what_is_no_rdb_file_is_refused_before_it_was_all_read() -> None:
    with pytest.raises(Damaged):
        RdbCheck("data.rdb").feed(b"PGDMP and much more")


def test_memory_does_not_grow_with_the_file() -> None:
    check, chunk = RdbCheck("data.rdb"), bytes(1 << 20)
    check.feed(b"REDIS0012")
    tracemalloc.start()
    try:
        for _megabyte in range(24):
            check.feed(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20
