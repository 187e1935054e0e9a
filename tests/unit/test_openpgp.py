# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a key file is, by the headers of its packets, in both formats that there are: RFC 9580, 4.2."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._cipher.openpgp import read_key
from ansible_collections.runbook.ops.plugins.module_utils._errors import InputError

MARKER = b"\xca\x03PGP"
USER = b"\xb4\x05alice"  # old, a length of one octet
PUBLIC = {
    "old": b"\x99\x01\x00" + bytes(256), "new": b"\xc6\x03abc", "new, two octets": b"\xc6\xc0\x08" + bytes(200),
    "new, five octets": b"\xc6\xff\x00\x00\x00\x03abc", "old, four octets": b"\x9a\x00\x00\x00\x03abc",
}  # fmt: skip
SECRET = {"old": b"\x95\x00\x03abc", "new": b"\xc5\x03abc", "subkey": b"\x9d\x00\x03abc"}


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return tmp_path / "key"


@pytest.mark.parametrize("public", PUBLIC.values(), ids=PUBLIC)
@pytest.mark.parametrize("before", [b"", MARKER], ids=["first", "marked"])
def test_public_keys_alone_decrypt_nothing(key: Path, public: bytes, before: bytes) -> None:
    key.write_bytes(before + public + USER)
    with pytest.raises(InputError, match="a public key, which decrypts nothing"):
        read_key(str(key), "decryption_key", secret=True)
    assert read_key(str(key), "recipients[0]") == key.read_bytes()


@pytest.mark.parametrize("public", [b"", *PUBLIC.values()], ids=["alone", *PUBLIC])
@pytest.mark.parametrize("secret", SECRET.values(), ids=SECRET)
def test_a_secret_one_anywhere_is_found(key: Path, secret: bytes, public: bytes) -> None:
    key.write_bytes(public + USER + secret)
    assert read_key(str(key), "decryption_key", secret=True) == key.read_bytes()
    with pytest.raises(InputError, match="is a secret key"):
        read_key(str(key), "recipients[0]")


@pytest.mark.parametrize(
    "odd", [b"\x00\x00\x00 keybox", b"-", b"\xc6", b"\xff", b"\x80", b"\xe6" * 9, b"\xdf\xe0"], ids=repr
)
def test_what_is_odd_is_left_to_who_reads_it(key: Path, odd: bytes) -> None:
    key.write_bytes(odd)
    for secret in (False, True):
        try:
            assert read_key(str(key), "key", secret=secret) == odd
        except InputError as error:
            assert secret and "public key" in str(error)
