# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenPGP keys as operators give them: an armored block in a variable, or the path of a file."""

from __future__ import annotations

from .._errors import InputError

_LIMIT = 1 << 20
_SECRET = b"PRIVATE KEY BLOCK-----"
_PUBLIC = b"PUBLIC KEY BLOCK-----"
_PUBLIC_PACKET = 6
"""The first packet of a public key that is not armored. RFC 9580, 5.5.1.1."""


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
    if not secret and _SECRET in block:
        raise InputError(
            f"{where} ({shorten(text)}) is a secret key, which has no business on the host that encrypts: give the public key."
        )
    if secret and _SECRET not in block and (_PUBLIC in block or _first_packet(block) == _PUBLIC_PACKET):
        raise InputError(
            f"{where} is {shorten(text)}, a public key, which decrypts nothing: give the secret key that belongs to it."
        )
    return block


def _first_packet(block: bytes) -> int | None:
    """The type of a binary block's first packet, in either of the two formats of a packet's header. RFC 9580, 4.2."""
    first = block[0]
    if not first & 0x80:
        return None
    return first & 0x3F if first & 0x40 else first >> 2 & 0x0F


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
