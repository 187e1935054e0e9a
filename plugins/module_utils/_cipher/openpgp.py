# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenPGP keys as operators give them: an armored block in a variable, or the path of a file."""

from __future__ import annotations

from collections.abc import Iterator

from .._errors import InputError

_LIMIT = 1 << 20
_SECRET = b"PRIVATE KEY BLOCK-----"
_PUBLIC = b"PUBLIC KEY BLOCK-----"
_SECRET_PACKETS, _PUBLIC_PACKET = (5, 7), 6
"""Packets of keys that are not armored. RFC 9580, 5.5.1."""


def is_block(text: str) -> bool:
    """Whether ``text`` is the armored key itself rather than the name of one."""
    return text.startswith("-----BEGIN PGP ")


def shorten(text: str) -> str:
    """How a message names a recipient: an armored block fills a screen."""
    return "an armored block" if is_block(text) else text


def read_key(text: str, where: str, *, secret: bool = False) -> bytes:
    """The key block that ``text`` is, or that the file it names holds; a secret key never passes as a recipient, nor a
    public one for what decrypts."""
    block = text.encode() if is_block(text) else _read(text, where)
    packets = set(_packets(block))
    has_secret = _SECRET in block or not packets.isdisjoint(_SECRET_PACKETS)
    if has_secret and not secret:
        raise InputError(
            f"{where} ({shorten(text)}) is a secret key, which has no business on the host that encrypts: give the public key."
        )
    if secret and not has_secret and (_PUBLIC in block or _PUBLIC_PACKET in packets):
        raise InputError(
            f"{where} is {shorten(text)}, a public key, which decrypts nothing: give the secret key that belongs to it."
        )
    return block


def _packets(block: bytes) -> Iterator[int]:
    """The types of a binary block's packets, as far as their headers tell where the next one begins. RFC 9580, 4.2."""
    while block and block[0] & 0x80:
        first = block[0]
        if first & 0x40:
            yield first & 0x3F
            size, header = _length(block[1:6])
        else:
            yield first >> 2 & 0x0F
            width = 1 << (first & 3)
            size, header = int.from_bytes(block[1 : 1 + width], "big"), width
            if width == 8:  # until the file's end
                return
        if size is None:
            return
        block = block[1 + header + size :]


def _length(octets: bytes) -> tuple[int | None, int]:
    """A new header's length, none where the body comes in parts, and how many octets say so. RFC 9580, 4.2.1."""
    first = octets[0] if octets else 0
    if first < 192:
        return first, 1
    if first < 224:
        return ((first - 192) << 8) + int.from_bytes(octets[1:2], "big") + 192, 2
    return (int.from_bytes(octets[1:], "big"), 5) if first == 255 else (None, 1)


def _read(path: str, where: str) -> bytes:
    try:
        with open(path, "rb") as file:
            block = file.read(_LIMIT)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{where} is {path!r}, and no key can be read there ({reason}).") from None
    if not block:
        raise InputError(f"{where} is {path!r}, which is empty.")
    return block
