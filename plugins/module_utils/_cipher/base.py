# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenPGP: seal a stream to recipients before a byte reaches a disk, and open it again.

Each implementation opens what the others sealed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from .._errors import InputError
from .._runtime.base import Sink


class KeyUnusable(InputError):
    """A recipient that nothing can be sealed to now, though it was found: it may have been good when it was named."""


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
