# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenPGP by the pysequoia wheel, where there is no gpg.

The library works on files only and holds the interpreter's lock meanwhile, so it runs in a process of its own between
two pipes. Measured whatever the size: 25 MB to seal, 175 MB to open (it holds back 25 MiB until they are proved).
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from .._errors import CommandFailed, Damaged, InputError
from .._require import require
from .._scratch import scratch_directory
from .base import KeyUnusable
from .openpgp import is_block, read_key, shorten
from .program import Filter, ProgramDecryptor, ProgramEncryptor

_PROGRAM = """
import sys
import pysequoia
task, key = sys.argv[1:]
try:
    if task == "seal":
        to = pysequoia.Cert.split_file(key)
        pysequoia.encrypt_file("/dev/stdin", "/dev/stdout", recipients=to, armor=False)
    else:
        by = pysequoia.Tsk.from_file(key).decryptor()
        pysequoia.decrypt_file("/dev/stdin", "/dev/stdout", decryptor=by)
except Exception as error:
    sys.exit(str(error).partition("\\n")[0])
"""


def _argv(task: str, key: str) -> list[str]:
    return [sys.executable or "python3", "-c", _PROGRAM, task, key]


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def _usable(certificate: Any, where: str) -> Any:
    """The certificate with nothing but what can be sealed to now.

    Sequoia seals to expired and revoked keys when handed them; gpg rightly does not.
    """
    pysequoia, packet = require("pysequoia", "pysequoia"), require("pysequoia.packet", "pysequoia")
    fingerprint = certificate.fingerprint.upper()
    whose = f"{where} is the key {fingerprint}"
    now = datetime.now(timezone.utc)
    if certificate.is_revoked or (certificate.expiration is not None and certificate.expiration <= now):
        why = "was revoked" if certificate.is_revoked else "has expired"
        raise KeyUnusable(f"{whose}, which {why}: nothing can be encrypted to it. Give a valid one.")
    kept: list[Any] = []
    subkey: list[Any] = []
    for part in [*packet.PacketPile.from_bytes(bytes(certificate)), None]:
        if part is None or part.tag in (packet.Tag.PublicSubkey, packet.Tag.UserID, packet.Tag.UserAttribute):
            kept += subkey if _alive(subkey, now, packet) else []
            subkey = []
        if part is not None:
            (subkey if subkey or part.tag == packet.Tag.PublicSubkey else kept).append(part)
    certificate = pysequoia.Cert.from_packets(kept)
    try:
        sealed = pysequoia.encrypt(b"", recipients=[certificate], armor=False)
    except RuntimeError:
        raise KeyUnusable(
            f"{whose}, which has no valid subkey for encryption: nothing can be encrypted to it. Give a valid one."
        ) from None
    if sealed[2 if sealed[1] < 192 else 3] == 6:  # the first packet's version stands behind its tag and length
        raise InputError(
            f"{whose}, which demands messages of RFC 9580 that GnuPG cannot read: "
            "give a key made by GnuPG, or install gnupg on this host."
        )
    return certificate


def _alive(subkey: Sequence[Any], now: datetime, packet: Any) -> bool:
    """Whether a subkey packet, followed by its signatures, is neither revoked nor expired."""
    if not subkey:
        return True
    signatures = subkey[1:]
    if any(signature.signature_type == packet.SignatureType.SubkeyRevocation for signature in signatures):
        return False
    newest = max(signatures, key=lambda signature: signature.signature_created, default=None)
    if newest is None or newest.key_validity_period is None:
        return True
    return bool(subkey[0].key_created + newest.key_validity_period > now)


class SequoiaEncryptor(ProgramEncryptor):
    """Seals with pysequoia."""

    def __init__(self, recipients: Sequence[str], variable: str) -> None:
        certificates = {}
        for number, recipient in enumerate(recipients):
            certificate = self._certificate(recipient.strip(), f"{variable}[{number}]")
            certificates[certificate.fingerprint.upper()] = bytes(certificate)
        self.fingerprints = tuple(certificates)
        self._keyring = b"".join(certificates.values())

    def _certificate(self, text: str, where: str) -> Any:
        if not is_block(text) and not os.path.exists(text):
            raise InputError(
                f"{where} is {text!r}, which is no key file, and without gpg this host has no keyring to look it up in: "
                "give the public key as a block or a file, or install gnupg."
            )
        block = read_key(text, where)
        try:
            certificates = require("pysequoia", "pysequoia").Cert.split_bytes(block)
        except RuntimeError as error:
            raise InputError(f"{where} ({shorten(text)}) holds no OpenPGP public key ({_first_line(error)}).") from None
        if len(certificates) != 1:
            raise InputError(f"{where} ({shorten(text)}) holds {len(certificates)} keys: give a file with just one.")
        return _usable(certificates[0], where)

    @contextmanager
    def _program(self) -> Iterator[list[str]]:
        with scratch_directory(tempfile.gettempdir(), "TMPDIR") as directory:
            path = os.path.join(directory, "recipients")
            with open(path, "wb") as file:
                file.write(self._keyring)
            yield _argv("seal", path)

    def _explain(self, program: Filter) -> CommandFailed:
        return CommandFailed(f"pysequoia could not encrypt (return code {program.returncode}): {program.last_words}")


class SequoiaDecryptor(ProgramDecryptor):
    """Opens with pysequoia; the key is read where it lies and copied nowhere."""

    def __init__(self, key_file: str) -> None:
        self._key_file = key_file
        read_key(key_file, "decryption_key", secret=True)
        pysequoia = require("pysequoia", "pysequoia")
        try:
            pysequoia.Tsk.from_file(key_file).decryptor()
        except RuntimeError as error:
            locked = "material is encrypted" in str(error)
            raise InputError(
                f"decryption_key is {key_file}, "
                + (
                    "a secret key locked by a passphrase: give one without."
                    if locked
                    else f"which holds no OpenPGP secret key for decryption ({_first_line(error)})."
                )
            ) from None

    @contextmanager
    def _program(self) -> Iterator[list[str]]:
        yield _argv("open", self._key_file)

    def _judge(self, program: Filter) -> None:
        if program.returncode == 0:
            return
        if "No key to decrypt" in program.stderr:
            raise InputError(
                f"The key in {self._key_file} is none of those that the backup was encrypted to: give decryption_key another."
            )
        if program.returncode < 0:
            raise CommandFailed(f"pysequoia was ended by signal {-program.returncode} while it decrypted.")
        raise Damaged(
            f"The encrypted bytes were altered or cut off: pysequoia cannot decrypt them ({program.last_words})."
        )
