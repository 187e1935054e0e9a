# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which OpenPGP implementation a host has: ``gpg`` where it is, else the ``pysequoia`` wheel."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence

from .._errors import InputError, MissingLibrary
from .base import Decryptor, Encryptor
from .gpg import GpgDecryptor, GpgEncryptor
from .sequoia import SequoiaDecryptor, SequoiaEncryptor


def encryptor(recipients: Sequence[str], variable: str, *, gpg: str = "gpg") -> Encryptor:
    """Seal to ``recipients``: each an armored public key block, the path of a key file, or (with gpg) the
    fingerprint or e-mail address of a key in the account's keyring. ``InputError`` names ``variable`` and the
    recipient that cannot be sealed to."""
    if not recipients:
        raise InputError(f"{variable} is empty: name at least one OpenPGP public key.")
    if program := shutil.which(gpg):
        return GpgEncryptor(program, recipients, variable)
    _require_sequoia()
    return SequoiaEncryptor(recipients, variable)


def decryptor(key_file: str | None, *, gpg: str = "gpg") -> Decryptor:
    """Open with the secret key in ``key_file`` (without a passphrase), or with the account's gpg keyring when ``None``."""
    if program := shutil.which(gpg):
        return GpgDecryptor(program, key_file)
    if key_file is None:
        raise MissingLibrary(
            "There is no gpg on this host, so no keyring to decrypt with: install gnupg, or set decryption_key to a secret key file."
        )
    _require_sequoia()
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
