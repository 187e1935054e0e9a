# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bytes of an artefact on their way: raw -> zstd -> OpenPGP -> store, digests taken on both sides, and back.

Memory is bounded by zstd's job buffers (a few times ``_JOB`` a core) whatever the artefact's size.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from ._cipher.base import Decryptor, Encryptor
from ._engine.base import ArtefactReader
from ._errors import Damaged, InputError, NotFound
from ._records import Artefact, Manifest
from ._require import require
from ._runtime.base import Sink
from ._stages import Behind, ahead
from ._store.base import Store
from ._zstd import NotPacked, unpacked

_SEARCH = {"window_log": 21, "hash_log": 17, "min_match": 7}
"""Level 2's one quick search in level 3's window and table, for matches of seven bytes or more: shorter ones are chance
in what dumps are full of, digits. Against plain level 3, prose gets 3 % larger in four fifths of the time; tables of
numbers stay as they are or shrink; ``bytea``, which dumps write in hex, is 4 % smaller in a quarter of the time."""

_JOB = 2 << 20
"""What a core compresses at a time. zstd's own choice is four times that: no smaller or faster, but 80 MiB more memory."""

_CORES = 6
"""More than one dump can keep busy; each takes up to 10 MiB."""


class Counted:
    """A sink that counts and digests what passes."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._digest = hashlib.sha256()
        self.size = 0

    def __call__(self, data: bytes) -> None:
        self.size += len(data)
        self._digest.update(data)
        self._sink(data)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


class ArtefactWriter:
    """Writes the artefacts of one backup into its directory; ``artefacts`` holds those that are complete."""

    def __init__(
        self, store: Store, directory: str, *, encryptor: Encryptor | None, size_hint: int,
        progress: Callable[[int], None], storage_class: str | None = None,
    ) -> None:  # fmt: skip
        self.artefacts: list[Artefact] = []
        self._store = store
        self._directory = directory
        self._encryptor = encryptor
        self._size_hint = size_hint
        self._progress = progress
        self._storage_class = storage_class

    @contextmanager
    def open(self, stem: str, format: str) -> Iterator[Sink]:
        """A sink for raw bytes; the artefact is published when the context ends without an exception."""
        name = f"{stem}.zst{'.gpg' if self._encryptor else ''}"
        key = f"{self._directory}/{name}"
        with self._store.upload(key, size_hint=self._size_hint, storage_class=self._storage_class) as upload:
            stored, compressor = Counted(upload.write), _compressor()
            with Behind(stored) as kept, self._sealed(kept) as sealed:
                with Behind(lambda data: _pass(compressor.compress(data), sealed)) as packed:
                    raw = Counted(packed)

                    def sink(data: bytes) -> None:
                        raw(data)
                        self._progress(raw.size)

                    yield sink
                _pass(compressor.flush(), sealed)
            upload.commit()
        self.artefacts.append(self._artefact(name, format, raw, stored))

    def _sealed(self, sink: Sink) -> AbstractContextManager[Sink]:
        return self._encryptor.seal(sink) if self._encryptor else nullcontext(sink)

    def _artefact(self, name: str, format: str, raw: Counted, stored: Counted) -> Artefact:
        encryption = {"method": "gpg", "recipients": list(self._encryptor.fingerprints)} if self._encryptor else None
        return Artefact(
            name=name, format=format, compression="zstd", encryption=encryption, size=stored.size, raw_size=raw.size,
            sha256=stored.sha256, raw_sha256=None if self._encryptor else raw.sha256,
        )  # fmt: skip


def _compressor() -> Any:
    zstandard = require("zstandard", "zstandard")
    parameters = zstandard.ZstdCompressionParameters.from_level(
        2, **_SEARCH, threads=min(os.cpu_count() or 1, _CORES), job_size=_JOB, write_checksum=True
    )
    return zstandard.ZstdCompressor(compression_params=parameters).compressobj()


def _pass(data: bytes, sink: Sink) -> None:
    if data:
        sink(data)


class StoredArtefacts(ArtefactReader):
    """The artefacts of a backup in a store, proved against its manifest while they are read."""

    def __init__(self, store: Store, manifest: Manifest, decryptor: Decryptor | None = None) -> None:
        self.manifest = manifest
        self._store = store
        self._decryptor = decryptor
        self._artefacts = {artefact.name: artefact for artefact in manifest.artefacts}

    def names(self) -> list[str]:
        return list(self._artefacts)

    def read(self, name: str) -> Iterator[bytes]:
        artefact = self._artefacts[name]
        raw = Counted(lambda data: None)
        for data in ahead(self._opened(artefact)):
            raw(data)
            yield data
        if raw.size != artefact.raw_size or artefact.raw_sha256 not in (None, raw.sha256):
            raise Damaged(f"{name} unpacks to other bytes than its manifest says ({raw.size} of {artefact.raw_size}).")

    def stored(self, name: str) -> Iterator[bytes]:
        """The bytes as they lie in the store; ``Damaged`` at the end when they are not the manifest's."""
        artefact = self._artefacts[name]
        seen = Counted(lambda data: None)
        try:
            for data in self._store.read(f"{self.manifest.path}/{name}"):
                seen(data)
                yield data
        except NotFound:
            raise Damaged(f"{name} is not in {self._store.label} although its manifest names it.") from None
        if seen.size != artefact.size:
            raise Damaged(
                f"{name} in {self._store.label} has {seen.size} bytes, its manifest says {artefact.size}: "
                f"it is {'truncated' if seen.size < artefact.size else 'not the file that was written'}."
            )
        if seen.sha256 != artefact.sha256:
            raise Damaged(
                f"{name} in {self._store.label} has another sha256 than its manifest says: its bytes changed."
            )

    def _opened(self, artefact: Artefact) -> Iterator[bytes]:
        stored: Iterator[bytes] = ahead(self.stored(artefact.name))
        if artefact.encryption:
            if self._decryptor is None:
                raise InputError(f"{artefact.name} is encrypted and this host has no key for it: give decryption_key.")
            stored = self._decryptor.open(stored)
        return _decompressed(stored, artefact)


def _decompressed(source: Iterator[bytes], artefact: Artefact) -> Iterator[bytes]:
    if artefact.compression is None:
        yield from source
        return
    if artefact.compression != "zstd":
        raise Damaged(f"{artefact.name} is compressed with {artefact.compression!r}, which this release does not read.")
    try:
        yield from unpacked(source)
    except NotPacked as error:
        for _rest in source:  # the digest over all stored bytes says more than zstd can
            pass
        raise Damaged(f"{artefact.name} cannot be decompressed ({error}).") from None
