# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory as a store.

A file has its final name only when it is whole: it is written beside it as ``<name>.<random>.partial``, forced to the
disk, renamed, and the directory forced too, so that a crash or power cut at any point leaves the old file or the new.
The same care is taken of deletes, because their order matters: a manifest must not outlive the data it speaks of.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import BinaryIO

from .._errors import NoSpace, NotFound, Refused, RunbookError, StoreError, Unsupported
from ._keys import PARTIAL, check_key, check_prefix
from .base import DeleteReport, Entry, Store, Upload

_CHUNK = 1 << 20
_WRITE_BACK = 16 << 20
_OURS = re.compile(r"\.[0-9a-f]{8}" + re.escape(PARTIAL) + r"\Z")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM)


class LocalStore(Store):
    """Backups under one directory of this host. The directory is created at the first write, its parent never:
    a parent that is not there is more likely a disk that is not mounted."""

    type = "local"

    def __init__(self, path: str) -> None:
        self.root = os.path.normpath(path)
        self.label = f"local:{self.root}"

    def __repr__(self) -> str:
        return f"LocalStore({self.root!r})"

    def check(self, *, write: bool) -> None:
        where = self.root if os.path.lexists(self.root) else os.path.dirname(self.root)
        if not os.path.lexists(where):
            raise NotFound(f"{self.label}: {where} does not exist: create it, mount its disk, or correct the path.")
        if not os.path.isdir(where):
            raise Refused(f"{self.label}: {where} is no directory: name a directory for the backups.")
        needed = os.R_OK | os.X_OK | (os.W_OK if write else 0)
        if not os.access(where, needed, effective_ids=os.access in os.supports_effective_ids):
            verb = "write" if write else "read"
            if write and os.statvfs(where).f_flag & os.ST_RDONLY:
                raise Refused(f"{self.label}: {where} is mounted read-only: mount it for writing, or correct the path.")
            raise Refused(
                f"{self.label}: this account may not {verb} {where}: change its owner or mode, or become one that may."
            )

    def begun(self) -> bool:
        return os.path.isdir(self.root)

    @contextmanager
    def upload(self, key: str, *, size_hint: int, storage_class: str | None = None) -> Iterator[Upload]:
        upload = _LocalUpload(self, check_key(self.label, key))
        try:
            yield upload
        finally:
            upload.abort()

    def put(self, key: str, data: bytes) -> None:
        with self.upload(key, size_hint=len(data)) as upload:
            upload.write(data)
            upload.commit()

    def read(self, key: str) -> Iterator[bytes]:
        return _chunks(self._open(key), self, key)

    def get(self, key: str, limit: int = 4 << 20) -> bytes:
        with self._open(key) as file, self.explained("reading", key):
            data = file.read(limit + 1)
        if len(data) > limit:
            raise StoreError(f"{self.label}: {key} is larger than {limit} bytes: it is not the record it should be.")
        return data

    def entries(self, prefix: str) -> Iterator[Entry]:
        for key, status in self._walk(check_prefix(self.label, prefix)):
            if not key.endswith(PARTIAL):
                yield Entry(key, status.st_size, f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}")

    def delete(self, keys: Iterable[str]) -> DeleteReport:
        report, changed = DeleteReport(), set()
        for key in keys:
            try:
                report.freed += self._unlink(key)
                report.deleted.append(key)
                changed.add(os.path.dirname(key))
            except RunbookError as error:
                report.errors[key] = str(error)
        for directory in sorted(changed, reverse=True):
            self.settle(directory)
        return report

    def set_storage_class(self, key: str, storage_class: str) -> None:
        raise Unsupported(
            f"{self.label}: a directory has no storage classes: remove storage_class from this store's policy."
        )

    def free_space(self) -> int | None:
        where = self.root
        while not os.path.isdir(where) and where != os.path.dirname(where):
            where = os.path.dirname(where)
        with self.explained("asking for the free space of", where):
            status = os.statvfs(where)
        return status.f_bavail * status.f_frsize

    def sweep(self, prefix: str, older_than: timedelta = timedelta(days=1)) -> list[str]:
        """A file that is still being written has a recent time of change, so its age tells the dead from the living."""
        limit = time.time() - older_than.total_seconds()
        removed = []
        for key, status in list(self._walk(check_prefix(self.label, prefix))):
            if _OURS.search(key) and status.st_mtime <= limit:
                with self.explained("removing", key), suppress(FileNotFoundError):
                    os.unlink(os.path.join(self.root, key))
                    removed.append(key)
        for directory in sorted({os.path.dirname(key) for key in removed}, reverse=True):
            self.settle(directory)
        return removed

    def path(self, key: str) -> str:
        """Where ``key`` lies."""
        return os.path.join(self._directory(os.path.dirname(check_key(self.label, key))), os.path.basename(key))

    def _directory(self, relative: str) -> str:
        """Where a directory lies. ``Refused`` when a symbolic link below the root leads elsewhere: what is written
        through such a link would be neither listed nor deleted."""
        root = os.path.realpath(self.root)
        path = os.path.join(root, relative) if relative else root
        if os.path.realpath(path) != path:
            raise Refused(
                f"{self.label}: {relative} is reached through a symbolic link: put a directory (or a mount) in its place."
            )
        return path

    def make_directory(self, path: str) -> None:
        """``path`` with what is missing above it, down from the root's parent, each entry forced to the disk."""
        if os.path.isdir(path):
            return
        if path != os.path.realpath(self.root):
            self.make_directory(os.path.dirname(path))
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
            sync_directory(os.path.dirname(path))

    @contextmanager
    def explained(self, doing: str, key: str) -> Iterator[None]:
        """Turns what the system says into a sentence with the remedy."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno in _FULL:
                raise NoSpace(
                    f"{self.label}: {doing} {key} failed, the disk is full ({reason}): free some space, or name another directory."
                ) from None
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                raise NotFound(f"{self.label}: {doing} {key} failed: it is not there.") from None
            if error.errno in _FORBIDDEN:
                raise Refused(
                    f"{self.label}: {doing} {key} failed ({reason}): change its owner or mode, or become one that may."
                ) from None
            raise StoreError(
                f"{self.label}: {doing} {key} failed ({reason}): look after the disk it lies on."
            ) from None

    def _open(self, key: str) -> BinaryIO:
        path = self.path(key)
        with self.explained("reading", key):
            if not stat.S_ISREG(os.lstat(path).st_mode):
                raise Refused(f"{self.label}: {key} is no regular file, so no backup's: it is left alone.")
            return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")

    def _walk(self, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
        """Regular files under ``prefix`` in the order of their keys' bytes, as S3 lists them; links are not followed."""
        yield from self._walk_directory(self._directory(prefix.rstrip("/")), prefix)

    def _walk_directory(self, path: str, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
        try:
            with self.explained("listing", prefix or "the root"), os.scandir(path) as found:
                # A directory sorts as what is in it does: with the slash.
                names = {entry.name + "/" * entry.is_dir(follow_symlinks=False): entry for entry in found}
        except NotFound:
            return  # nothing was written here yet, or the last file went while we listed
        for name in sorted(names, key=os.fsencode):
            if name.endswith("/"):
                yield from self._walk_directory(names[name].path, prefix + name)
            elif names[name].is_file(follow_symlinks=False):
                try:
                    status = names[name].stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                yield prefix + name, status

    def _unlink(self, key: str) -> int:
        """Remove one file; the bytes that this freed (none while another hard link holds them)."""
        path = self.path(key)
        with self.explained("deleting", key):
            try:
                status = os.lstat(path)
                if not stat.S_ISREG(status.st_mode):
                    raise Refused(f"{self.label}: {key} is no regular file, so no backup's: it is left alone.")
                os.unlink(path)
            except (FileNotFoundError, NotADirectoryError):
                return 0
        return status.st_size if status.st_nlink == 1 else 0

    def settle(self, directory: str) -> None:
        """Force a directory's deletes to the disk and remove it, and those above it, while they are empty."""
        root = os.path.realpath(self.root)
        path = os.path.join(root, directory) if directory else root
        with suppress(OSError):  # gone already, or in use again: both are well
            sync_directory(path)
            while path != root:
                os.rmdir(path)
                path = os.path.dirname(path)
                sync_directory(path)


class _LocalUpload(Upload):
    def __init__(self, store: LocalStore, key: str) -> None:
        self._store = store
        self._key = key
        self._size = self._on_its_way = 0
        self._path = store.path(key)
        self._partial: str | None = f"{self._path}.{secrets.token_hex(4)}{PARTIAL}"
        if not os.path.isdir(store.root):
            store.check(write=True)
        with store.explained("creating", key):
            try:
                self._file = self._create(self._partial, tries=3)
            except OSError as error:
                if error.errno in (*_FORBIDDEN, errno.EROFS):
                    store.check(write=True)  # where the whole store is shut, the sentence is check mode's
                raise

    def _create(self, partial: str, tries: int) -> BinaryIO:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._store.make_directory(os.path.dirname(partial))
            return os.fdopen(os.open(partial, flags, 0o600), "wb")
        except FileNotFoundError:  # a delete beside us removed the directory while it was empty
            if tries == 1:
                raise
        return self._create(partial, tries - 1)

    def write(self, data: bytes) -> None:
        with self._store.explained("writing", self._key):
            self._file.write(data)
            self._size += len(data)
            if self._size - self._on_its_way >= _WRITE_BACK:
                # Has the kernel begin now with what fsync would wait for at the end; nothing is dropped that is not written.
                os.posix_fadvise(self._file.fileno(), self._on_its_way, 0, os.POSIX_FADV_DONTNEED)
                self._on_its_way = self._size

    def commit(self) -> None:
        if self._partial is None:
            raise StoreError(f"{self._store.label}: {self._key} cannot be published twice.")
        with self._store.explained("writing", self._key):
            self._file.flush()
            os.fsync(self._file.fileno())
            size = os.fstat(self._file.fileno()).st_size
            if size != self._size:
                raise StoreError(
                    f"{self._store.label}: {size} of {self._size} bytes of {self._key} reached the disk: look after it."
                )
            self._file.close()
            os.replace(self._partial, self._path)
            self._partial = None
            sync_directory(os.path.dirname(self._path))

    def abort(self) -> None:
        with suppress(OSError):
            self._file.close()
        if self._partial is not None:
            with suppress(OSError):
                os.unlink(self._partial)
            self._partial = None
            self._store.settle(os.path.dirname(self._key))


def _chunks(file: BinaryIO, store: LocalStore, key: str) -> Iterator[bytes]:
    with file:
        while True:
            with store.explained("reading", key):
                data = file.read(_CHUNK)
            if not data:
                return
            yield data


def sync_directory(path: str) -> None:
    """Force a directory's entries to the disk, where the file system knows how to (SMB says EINVAL)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF):
            raise
    finally:
        os.close(fd)
