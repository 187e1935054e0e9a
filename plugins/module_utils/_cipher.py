# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenPGP: seal a stream to recipients before a byte reaches a disk, and open it again.

``gpg`` where the host has it, else the ``pysequoia`` wheel; each opens what the other sealed.
"""

from __future__ import annotations

import importlib.util
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from ._errors import InputError, MissingLibrary
from ._runtime.base import Sink


class Encryptor(ABC):
    """Seals to a fixed set of recipients."""

    fingerprints: Sequence[str]

    @abstractmethod
    def seal(self, sink: Sink) -> AbstractContextManager[Sink]:
        """A sink for plaintext whose ciphertext goes to ``sink``; complete when the context ends."""


class Decryptor(ABC):
    """Opens what was sealed to a key this host has."""

    @abstractmethod
    def open(self, source: Iterator[bytes]) -> Iterator[bytes]:
        """The plaintext of a sealed stream; ``Damaged`` when it was altered."""


# The implementations import the contract above, so they are imported when one is chosen, not before.


def encryptor(recipients: Sequence[str], variable: str, *, gpg: str = "gpg") -> Encryptor:
    """Seal to ``recipients``: each an armored public key block, the path of a key file, or (with gpg) the
    fingerprint or e-mail address of a key in the account's keyring. ``InputError`` names ``variable`` and the
    recipient that cannot be sealed to."""
    if not recipients:
        raise InputError(f"{variable} is empty: name at least one OpenPGP public key.")
    if program := shutil.which(gpg):
        from ._cipher_gpg import GpgEncryptor  # noqa: PLC0415

        return GpgEncryptor(program, recipients, variable)
    _require_sequoia()
    from ._cipher_sequoia import SequoiaEncryptor  # noqa: PLC0415

    return SequoiaEncryptor(recipients, variable)


def decryptor(key_file: str | None, *, gpg: str = "gpg") -> Decryptor:
    """Open with the secret key in ``key_file`` (without a passphrase), or with the account's gpg keyring when ``None``."""
    if program := shutil.which(gpg):
        from ._cipher_gpg import GpgDecryptor  # noqa: PLC0415

        return GpgDecryptor(program, key_file)
    if key_file is None:
        raise MissingLibrary(
            "There is no gpg on this host, so no keyring to decrypt with: install gnupg, or set decryption_key to a secret key file."
        )
    _require_sequoia()
    from ._cipher_sequoia import SequoiaDecryptor  # noqa: PLC0415

    return SequoiaDecryptor(key_file)


def _require_sequoia() -> None:
    try:
        found = importlib.util.find_spec("pysequoia") is not None
    except ValueError:  # what a blocked import looks like
        found = False
    if not found:
        raise MissingLibrary(
            "This host has neither gpg nor the Python library pysequoia, one of which OpenPGP needs: "
            "install gnupg, or pysequoia for the interpreter that Ansible uses here."
        )
