# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive's objects as files below a directory, such as ``/data/archives`` of a mounted volume."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from .._errors import Changed, NoSpace, NotFound, Refused, StoreError
from .base import Content, Found, Place
from .compare import place_of
from .paths import OURS, PARTIAL, parent_of

_CHUNK = 1 << 20
_PAGE = 1000
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV})


class ArchiveDirectory(Place):
    """Regular files only: what is a symbolic link, a device or a pipe is shown with a size below zero, and never opened."""

    def __init__(self, root: str) -> None:
        self._root = root
        self.label = f"local:{root}"
        self._left: list[str] = []

    def pages(self, boundaries: Sequence[str] = (), last: str | None = None) -> Iterator[list[Found]]:
        self._left = []
        with self._asking("listing it"):
            os.close(os.open(self._root, os.O_RDONLY | os.O_DIRECTORY))
        yield from _batched(self._walk(self._root, ""), _PAGE)

    def begin(self, *, quick: bool) -> None:
        """A directory answers at once."""

    def end(self) -> None:
        pass

    def _walk(self, path: str, prefix: str) -> Iterator[Found]:
        """Depth first, a directory where its name with the slash stands in the order."""
        with self._asking(f"listing {prefix or 'it'}"):
            try:
                with os.scandir(path) as entries:
                    listed = [
                        (place_of(e.name + "/" if e.is_dir(follow_symlinks=False) else e.name), e) for e in entries
                    ]
            except FileNotFoundError:
                if not prefix:
                    raise
                return  # gone meanwhile
        listed.sort(key=lambda pair: pair[0])
        for place, entry in listed:
            key = prefix + entry.name
            if place.endswith(b"/"):
                yield from self._walk(entry.path, key + "/")
            elif OURS.fullmatch(entry.name):
                self._left.append(key)
            else:
                with suppress(FileNotFoundError), self._asking(f"looking at {key!r}"):
                    yield _found(key, entry.stat(follow_symlinks=False))

    def look(self, key: str) -> Found | None:
        with self._asking(f"looking at {key!r}"):
            try:
                with parent_of(self.label, self._root, key) as (fd, name):
                    return _found(key, os.stat(name, dir_fd=fd, follow_symlinks=False))
            except FileNotFoundError:
                os.close(
                    os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
                )  # the directory itself must be there to say so
                return None
            except NotADirectoryError:
                return None

    def read(self, found: Found) -> Iterator[bytes]:
        with self._asking(f"reading {found.key!r}"):
            try:
                with parent_of(self.label, self._root, found.key) as (fd, name):
                    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
            except (FileNotFoundError, NotADirectoryError):
                raise NotFound(f"{self.label}: {found.key!r} is not there.") from None
        return self._chunks(found, file)

    def _chunks(self, found: Found, file: int) -> Iterator[bytes]:
        try:
            self._same(found, os.fstat(file))
            with self._asking(f"reading {found.key!r}"):
                while data := os.read(file, _CHUNK):
                    yield data
            self._same(found, os.fstat(file))
        finally:
            os.close(file)

    def describe(self, found: Found) -> Mapping[str, Any]:
        return {}

    def versions(self, key: str) -> Iterator[Found]:
        return iter(())

    def request(self, found: Found) -> None:
        raise StoreError(f"{self.label}: {found.key!r} is no archived object.")

    def replace(self, key: str, current: Found | None, content: Content) -> str | None:
        with self._asking(f"writing {key!r}"), parent_of(self.label, self._root, key, make=True) as (fd, name):
            return self._written(fd, name, key, current, content)

    def _written(self, fd: int, name: str, key: str, current: Found | None, content: Content) -> str | None:
        with _partial(fd) as (file, partial):
            content.file.seek(0)
            while data := content.file.read(_CHUNK):
                view = memoryview(data)
                while view:
                    view = view[os.write(file, view) :]
            self._own(file, fd, name, current)
            os.fsync(file)
            note = self._publish(fd, partial, name, key, current)
            os.fsync(fd)
            return note

    def check(self) -> None:
        with self._asking("listing it"), os.scandir(self._root) as entries:
            if next(entries, None) is None:
                raise StoreError(
                    f"{self.label} is empty: see whether the volume is mounted, or remove it from the archive's sources."
                )

    def sweep(self) -> None:
        """What a living run writes, it holds locked."""
        for key in self._left:
            with suppress(OSError), parent_of(self.label, self._root, f"{key}.") as (fd, _name):
                name = os.path.basename(key)
                file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(name, dir_fd=fd)
                finally:
                    os.close(file)

    @staticmethod
    def _own(file: int, directory: int, name: str, current: Found | None) -> None:
        """Owner and mode as the replaced file has them; else those of the directory, without the right to execute."""
        like, mode = os.fstat(directory), 0o666
        if current is not None:
            replaced = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if stat.S_ISREG(replaced.st_mode):
                like, mode = replaced, 0o7777
        os.fchown(file, like.st_uid, like.st_gid)
        os.fchmod(file, like.st_mode & mode)

    def _publish(self, fd: int, partial: str, name: str, key: str, current: Found | None) -> str | None:
        if current is None:
            try:
                os.link(partial, name, src_dir_fd=fd, dst_dir_fd=fd, follow_symlinks=False)
                return None
            except FileExistsError:
                raise self._changed(key) from None
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
        now: Found | None = None
        with suppress(FileNotFoundError):
            now = _found(key, os.stat(name, dir_fd=fd, follow_symlinks=False))
        if (now and now.tag) != (current and current.tag):
            raise self._changed(key)
        os.rename(partial, name, src_dir_fd=fd, dst_dir_fd=fd)
        if current is None:
            return f"{self.label}: the file system has no hard links, so a file written in the last moment would have been replaced."
        return None

    def _changed(self, key: str) -> Changed:
        return Changed(f"{self.label}: {key!r} was written meanwhile: it is left as it is.")

    def _same(self, found: Found, now: os.stat_result) -> None:
        if _found(found.key, now).tag != found.tag or not stat.S_ISREG(now.st_mode):
            raise Changed(f"{self.label}: {found.key!r} was written while it was read.")

    @contextmanager
    def _asking(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            said = error.strerror or str(error)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpace(f"{self.label}: {doing} failed ({said}): free some space there.") from None
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise Refused(f"{self.label}: {doing} was denied ({said}): see who may use that directory.") from None
            raise StoreError(
                f"{self.label}: {doing} failed ({said}): see whether the volume is mounted and sound."
            ) from None


def _found(key: str, seen: os.stat_result) -> Found:
    regular = stat.S_ISREG(seen.st_mode)
    tag = f"{seen.st_dev}:{seen.st_ino}:{seen.st_size}:{seen.st_mtime_ns}:{stat.S_IFMT(seen.st_mode)}"
    return Found(key, seen.st_size if regular else -1, tag)


@contextmanager
def _partial(directory: int) -> Iterator[tuple[int, str]]:
    name = f".{secrets.token_hex(8)}{PARTIAL}"
    file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file, name
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)
        os.close(file)


def _batched(found: Iterator[Found], size: int) -> Iterator[list[Found]]:
    page: list[Found] = []
    for one in found:
        page.append(one)
        if len(page) == size:
            yield page
            page = []
    if page:
        yield page
