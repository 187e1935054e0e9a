# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenPGP by GnuPG, the program that whoever restores by hand has too."""

from __future__ import annotations

import os
import re
import subprocess  # nosec B404: argv lists only
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from .._errors import CommandFailed, Damaged, InputError, MissingLibrary, TimedOut
from .._scratch import scratch_directory
from .base import KeyUnusable
from .openpgp import is_block, read_key, shorten
from .program import Filter, ProgramDecryptor, ProgramEncryptor

_TIMEOUT = 60.0
"""Seconds for a command that only looks at keys."""

_IN_KEYRING = re.compile(r"\A(?:(?:0x)?[0-9A-Fa-f]{16,40}|[^\s@<>/-][^\s@<>/]*@[^\s@<>/]+)\Z")
_MEMORY = "/dev/shm"  # nosec B108: a private directory is made in it  # noqa: S108


@dataclass(frozen=True)
class _Key:
    """A public key as gpg lists it."""

    fingerprint: str
    user: str
    validity: str
    encrypts: bool

    @property
    def fault(self) -> str | None:
        """Why nothing can be sealed to it, ``None`` when it can."""
        if self.validity in "er":
            return "has expired" if self.validity == "e" else "was revoked"
        return None if self.encrypts else "has no valid subkey for encryption"


def _run(argv: Sequence[str], stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(  # pylint: disable=ansible-bad-function  # an argv list, no shell
            list(argv), input=stdin, capture_output=True, timeout=_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise TimedOut(f"gpg did not answer within {_TIMEOUT:g} s and was ended.") from None
    except OSError as error:
        raise MissingLibrary(f"{argv[0]} could not be started: {error.strerror}.") from None


def _isolated(program: str, home: str) -> list[str]:
    """gpg with a home of its own: no configuration, keyring or trust of the account's plays a part."""
    return [program, "--batch", "--no-tty", "--no-options", "--homedir", home]


def _parse(listing: str) -> list[_Key]:
    keys: list[list[str]] = []
    for line in listing.splitlines():
        fields = line.split(":")
        if fields[0] == "pub":
            keys.append([*fields[:12], "", ""])
        elif fields[0] in ("fpr", "uid") and keys:
            place = 12 if fields[0] == "fpr" else 13
            keys[-1][place] = keys[-1][place] or fields[9]
    return [_Key(key[12], key[13], key[1] or "-", "E" in key[11]) for key in keys]


class GpgEncryptor(ProgramEncryptor):
    """Seals with gpg, to keys of a temporary keyring that holds nothing else."""

    def __init__(self, program: str, recipients: Sequence[str], variable: str) -> None:
        self._gpg = program
        self._blocks: list[bytes] = []
        fingerprints: list[str] = []
        with scratch_directory(tempfile.gettempdir(), "TMPDIR") as home:
            for number, recipient in enumerate(recipients):
                block, key = self._choose(home, recipient, f"{variable}[{number}]")
                if key.fingerprint not in fingerprints:
                    fingerprints.append(key.fingerprint)
                    self._blocks.append(block)
        self.fingerprints = tuple(fingerprints)

    def _choose(self, home: str, recipient: str, where: str) -> tuple[bytes, _Key]:
        """The one key that ``recipient`` means, and its public block."""
        text = recipient.strip()
        named = not is_block(text) and _IN_KEYRING.match(text)
        block = self._exported(text, where) if named else read_key(text, where)
        listing = _run([*_isolated(self._gpg, home), "--with-colons", "--show-keys"], block)
        keys = _parse(listing.stdout.decode(errors="replace"))
        if not keys:
            raise InputError(f"{where} ({shorten(text)}) holds no OpenPGP public key.")
        usable = [key for key in keys if key.fault is None]
        if not usable:
            raise KeyUnusable(
                f"{where} is the key {keys[0].fingerprint} ({keys[0].user}), which {keys[0].fault}: "
                "nothing can be encrypted to it. Give a valid one."
            )
        if len(usable) > 1:
            raise InputError(
                f"{where} ({shorten(text)}) means {len(usable)} keys "
                f"({', '.join(key.fingerprint for key in usable)}): give the fingerprint of one, or a file with just that one."
            )
        if len(keys) > 1:  # a keyring often has a person's expired key beside the present one
            block = self._exported(usable[0].fingerprint, where)
        return block, usable[0]

    def _exported(self, name: str, where: str) -> bytes:
        exported = _run([self._gpg, "--batch", "--no-tty", "--export", "--", name])
        if not exported.stdout:
            raise InputError(
                f"{where} is {shorten(name)}, which this account's gpg keyring does not have: "
                "import the public key, or give it as a block or a file."
            )
        return exported.stdout

    @contextmanager
    def _program(self) -> Iterator[list[str]]:
        with scratch_directory(tempfile.gettempdir(), "TMPDIR") as home:
            argv = [*_isolated(self._gpg, home), "--trust-model", "always", "--compress-algo", "none"]
            for number, block in enumerate(self._blocks):
                path = os.path.join(home, f"recipient-{number}")
                with open(path, "wb") as file:
                    file.write(block)
                argv += ["--recipient-file", path]
            yield [*argv, "--encrypt"]

    def _explain(self, program: Filter) -> CommandFailed:
        return CommandFailed(f"gpg could not encrypt (return code {program.returncode}): {program.last_words}")


class GpgDecryptor(ProgramDecryptor):
    """Opens with gpg: by a secret key file, or by what the account's keyring and agent hold."""

    def __init__(self, program: str, key_file: str | None) -> None:
        self._gpg = program
        self._key_file = key_file
        if key_file is not None:
            read_key(key_file, "decryption_key", secret=True)

    @contextmanager
    def _program(self) -> Iterator[list[str]]:
        options = ["--status-fd", "2", "--pinentry-mode", "error", "--decrypt"]
        if self._key_file is None:
            yield [self._gpg, "--batch", "--no-tty", *options]
            return
        # gpg opens only with keys that were imported; in memory, the copy never reaches a disk.
        parent = _MEMORY if os.access(_MEMORY, os.W_OK) else tempfile.gettempdir()
        with scratch_directory(parent, "TMPDIR") as home:
            try:
                self._import(home, self._key_file)
                yield [*_isolated(self._gpg, home), *options]
            finally:
                with suppress(MissingLibrary, TimedOut):  # an agent whose home is gone ends by itself, a minute later
                    _run(
                        [os.path.join(os.path.dirname(self._gpg), "gpgconf"), "--homedir", home, "--kill", "gpg-agent"]
                    )

    def _import(self, home: str, key_file: str) -> None:
        imported = _run(
            [*_isolated(self._gpg, home), "--status-fd", "1", "--import"],
            read_key(key_file, "decryption_key", secret=True),
        )
        flags = [line.split()[2] for line in imported.stdout.decode().splitlines() if " IMPORT_OK " in line]
        if not any(flag.isdigit() and int(flag) & 16 for flag in flags):
            raise InputError(f"decryption_key is {key_file}, which holds no OpenPGP secret key that gpg can use.")

    def _judge(self, program: Filter) -> None:
        said = program.stderr
        if program.returncode == 0 and " GOODMDC" in said and " DECRYPTION_OKAY" in said:
            return
        whose = f"The key in {self._key_file}" if self._key_file else "This account's gpg keyring"
        if "No pinentry" in said or "No passphrase given" in said:
            raise InputError(f"{whose} is locked by a passphrase: give decryption_key a secret key without one.")
        if " NO_SECKEY " in said and " DECRYPTION_KEY " not in said and " BEGIN_DECRYPTION" in said:
            raise InputError(f"{whose} is none of those that the backup was encrypted to: give decryption_key another.")
        if program.returncode < 0:
            raise CommandFailed(f"gpg was ended by signal {-program.returncode} while it decrypted.")
        raise Damaged("The encrypted bytes were altered or cut off: gpg cannot decrypt them whole.")
