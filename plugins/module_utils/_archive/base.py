# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an archive is made of: rows of an index, and the objects that they speak of, in a bucket or a directory.

A key is the same text in both. Objects of one place come in the byte order of their keys, and so do rows, so that the
two are compared as they stream by, however many there are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

KINDS: Mapping[str, int] = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
"""Checksums that an index may hold, with their length in hexadecimal digits."""


class Row(NamedTuple):
    """What the index says of an object. ``checksum`` is in lower-case hexadecimal; ``None`` where the index has nothing."""

    key: str
    size: int | None
    checksum: str | None


class Found(NamedTuple):
    """An object that is there. ``tag`` is another one as soon as the content may be.

    ``md5`` is the content's where the place tells it without reading; a listing cannot tell whether KMS made it something
    else, ``look`` can. ``thaw`` is ``requested`` or ``ready`` for an archived object whose restore was asked for.
    """

    key: str
    size: int
    tag: str
    md5: str | None = None
    storage_class: str | None = None
    version: str | None = None
    archived: bool = False
    thaw: str | None = None


@dataclass(frozen=True)
class Content:
    """Bytes that were proved to be what the index says, and what the copy they come from says about them."""

    file: IO[bytes]
    size: int
    sha256: bytes
    md5: str
    headers: Mapping[str, Any] = field(default_factory=dict)


class Place(ABC):
    """Where objects lie. Methods raise ``StoreError``; ``NotFound`` alone means that there is definitely no such object."""

    label: str
    round_trips: bool = False
    """Whether a listing is a matter of round trips, several of which can be under way."""

    @abstractmethod
    def pages(self, boundaries: Sequence[str] = (), last: str | None = None) -> Iterator[list[Found]]:
        """Every object in the byte order of keys. ``boundaries`` are keys of the index at equal distances: a place whose
        listing is a matter of round trips lists between them at the same time. ``last`` is the index's last key."""

    @abstractmethod
    def begin(self, *, quick: bool) -> None:
        """``pages`` is about to be called: what takes time before the first may begin. ``quick``: storage classes are not wanted."""

    @abstractmethod
    def end(self) -> None:
        """``pages`` will not be called."""

    @abstractmethod
    def look(self, key: str) -> Found | None:
        """The object as it is now, ``None`` when there is definitely none."""

    @abstractmethod
    def read(self, found: Found) -> Iterator[bytes]:
        """The bytes of just that object; ``Changed`` when it is another one by now, ``Archived``, ``NotFound``."""

    @abstractmethod
    def describe(self, found: Found) -> Mapping[str, Any]:
        """What is to be kept with the object's bytes: content type, metadata; empty where there is nothing such."""

    @abstractmethod
    def versions(self, key: str) -> Iterator[Found]:
        """Older versions of an object, newest first; none where the place keeps none."""

    @abstractmethod
    def request(self, found: Found) -> None:
        """Have an archived object made readable; ``look`` tells when it is."""

    @abstractmethod
    def replace(self, key: str, current: Found | None, content: Content) -> str | None:
        """Put ``content`` there, if what is there is still ``current``; ``Changed`` if not. Nothing is ever deleted.
        Returns a sentence where the place could not promise that nobody wrote in the last moment."""

    @abstractmethod
    def check(self) -> None:
        """``StoreError`` where the place does not answer, or holds nothing at all: its word that an object is not there would
        be worth nothing."""

    @abstractmethod
    def sweep(self) -> None:
        """Remove what killed runs of ours left, of what the last listing saw."""
