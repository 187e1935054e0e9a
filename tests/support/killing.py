# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store that kills its own process when it is asked for its k-th change, just before making it."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from ansible_collections.runbook.ops.plugins.module_utils._store.base import DeleteReport, Entry, Store, Upload


class Killing(Store):
    """Passes everything on to ``store``. Beginning, writing and committing an upload are changes of their own, in a
    small record as in an artefact, and so is each key of a batch that is deleted."""

    def __init__(self, store: Store, at: int) -> None:
        self.type, self.label = store.type, store.label
        self._store = store
        self._at = at
        self._count = itertools.count(1)

    def change(self) -> None:
        if next(self._count) == self._at:
            os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def upload(self, key: str, *, size_hint: int, storage_class: str | None = None) -> Iterator[Upload]:
        self.change()
        with self._store.upload(key, size_hint=size_hint, storage_class=storage_class) as upload:
            yield _Killing(self, upload)

    def put(self, key: str, data: bytes) -> None:
        with self.upload(key, size_hint=len(data)) as upload:
            upload.write(data)
            upload.commit()

    def delete(self, keys: Iterable[str]) -> DeleteReport:
        report = DeleteReport()
        for key in keys:
            self.change()
            one = self._store.delete([key])
            report.deleted += one.deleted
            report.errors.update(one.errors)
            report.freed += one.freed
        return report

    def set_storage_class(self, key: str, storage_class: str) -> None:
        self.change()
        self._store.set_storage_class(key, storage_class)

    def sweep(self, prefix: str, older_than: timedelta = timedelta(days=1)) -> list[str]:
        self.change()
        return self._store.sweep(prefix, older_than)

    def check(self, *, write: bool) -> None:
        self._store.check(write=write)

    def read(self, key: str) -> Iterator[bytes]:
        return self._store.read(key)

    def get(self, key: str, limit: int = 4 << 20) -> bytes:
        return self._store.get(key, limit)

    def entries(self, prefix: str) -> Iterator[Entry]:
        return self._store.entries(prefix)

    def free_space(self) -> int | None:
        return self._store.free_space()


class _Killing(Upload):
    def __init__(self, store: Killing, upload: Upload) -> None:
        self._store = store
        self._upload = upload

    def write(self, data: bytes) -> None:
        self._store.change()
        self._upload.write(data)

    def commit(self) -> None:
        self._store.change()
        self._upload.commit()

    def abort(self) -> None:
        self._upload.abort()
