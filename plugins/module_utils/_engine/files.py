# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files and directories, such as ``.env`` and TLS keys: one tar (pax) stream that any ``tar`` unpacks.

Read on the host that the module runs on. Names are relative to ``/``, in a fixed order. Hard links become files of
their own; extended attributes and ACLs are not kept. What cannot be read whole and unchanged fails the backup by name
rather than being left out.
"""

from __future__ import annotations

import errno
import io
import os
import platform
import stat
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from functools import partial
from typing import IO, Any, Self, cast

from .._checks import Check, parse_checks
from .._durations import parse_duration
from .._errors import Damaged, EngineError, InputError, NoSpace, TimedOut, Unsupported
from .._records import CheckResult, utc_now
from .._runtime.base import CHUNK, Instance, Sink
from .._runtime.local import LocalInstance
from .._scratch import require_space
from ._files_restored import FilesPlace, members, unpack
from .base import ArtefactReader, Dump, Engine, Facts, OpenArtefact, Place

TOOL = f"Python {platform.python_version()} tarfile"

_MEMBER_OVERHEAD = 3072
"""Bytes of headers and padding for one member: its own, and a pax header with its times and a long name."""
OBJECTS = "kubernetes"
"""The directory of an archive in which objects of a cluster lie, each a manifest that ``kubectl apply`` takes back."""

Manifest = Callable[[str, str], bytes]
"""A platform's object by its name; the variable that named it is for errors."""

_SHOWN = 20
"""Skipped paths that are named; the rest are counted."""


@dataclass
class _Tree:
    """What lies under the declared paths."""

    size: int = tarfile.RECORDSIZE
    files: int = 0
    skipped: list[str] = field(default_factory=list)


class FilesEngine(Engine):
    """A declared set of files and directories."""

    name = "files"

    def __init__(
        self,
        paths: Sequence[str],
        *,
        exclude: Sequence[str] = (),
        objects: Mapping[str, Callable[[], bytes]] | None = None,
        checks: Sequence[Check] = (),
        timeout: float = 14400.0,
    ) -> None:
        self._paths = paths
        self._exclude = exclude
        self._objects = objects or {}
        self._checks = checks
        self._timeout = timeout

    @classmethod
    def declared(
        cls, variable: str, database: Mapping[str, Any], instance: Instance, manifest: Manifest | None = None
    ) -> Self:
        """From one entry of ``runbook_databases``; ``InputError`` names the variable and the key. ``manifest`` is asked for the
        objects of a platform."""
        if not isinstance(instance, LocalInstance):
            raise Unsupported(
                f"{variable} names files inside {instance.name}, and this release reads those of the host: "
                "mount them there, give the paths there, and remove service."
            )
        paths = database.get("paths") or []
        objects = {
            f"{OBJECTS}/{name}.json": partial(manifest, name, f"{variable}.objects")
            for name in database.get("objects") or []
            if manifest is not None
        }
        if isinstance(paths, str) or not (paths or objects):
            raise InputError(f"{variable}.paths is {paths!r}: give a list of files and directories.")
        for path in paths:
            if not os.path.isabs(path) or os.path.normpath(path) == "/":
                raise InputError(f"{variable}.paths has {path!r}: give absolute paths, and not all of '/'.")
        return cls(
            sorted({os.path.normpath(path) for path in paths}), exclude=database.get("exclude") or [],
            objects=objects, checks=parse_checks(f"{variable}.checks", database.get("checks"), cls.name),
            timeout=parse_duration(f"{variable}.timeout", database.get("timeout") or "4h").total_seconds(),
        )  # fmt: skip

    def preflight(self) -> Facts:
        tree = self._surveyed()
        details = {"files": tree.files, "skipped": tree.skipped[:_SHOWN], "skipped_count": len(tree.skipped)}
        return Facts(platform.release(), TOOL, tree.size, details)

    def _surveyed(self) -> _Tree:
        tree = _Tree()
        for path, status in self._walk():
            if _kind(status) is None:
                tree.skipped.append(path)
                continue
            tree.size += _MEMBER_OVERHEAD
            if stat.S_ISREG(status.st_mode):
                tree.size += status.st_size
                tree.files += 1
                _open(path).close()
        for fetch in self._objects.values():
            tree.size += _MEMBER_OVERHEAD + len(fetch())
            tree.files += 1
        if tree.files == 0:
            raise EngineError(
                f"{', '.join(self._paths)}: there is no file there that exclude leaves in, so there is nothing to back up."
            )
        return tree

    def _walk(self) -> Iterator[tuple[str, os.stat_result]]:
        """Every path under the declared ones, each once, parents first, in the order of their bytes."""
        done: list[str] = []
        for declared in self._paths:
            # A declared link stands for what it points to, so both are kept.
            for root in dict.fromkeys((declared, os.path.realpath(declared))):
                if not any(root == other or root.startswith(f"{other}/") for other in done):
                    yield from self._under(root)
                    done.append(root)

    def _under(self, root: str) -> Iterator[tuple[str, os.stat_result]]:
        ahead = [root]
        while ahead:
            path = ahead.pop()
            if self._excluded(path):
                continue
            with _reading(path):
                status = os.lstat(path)
                if stat.S_ISDIR(status.st_mode):
                    names = sorted(os.listdir(path), key=os.fsencode, reverse=True)
                    ahead += [os.path.join(path, name) for name in names]
            yield path, status

    def _excluded(self, path: str) -> bool:
        """A pattern with a slash is held against the whole path, one without against the last name."""
        return any(
            fnmatchcase(path if "/" in pattern else os.path.basename(path), pattern) for pattern in self._exclude
        )

    def dump(self, open_artefact: OpenArtefact) -> Dump:
        consistent_at = utc_now()
        self._surveyed()  # an unreadable file is better found before the first byte than after hours
        count = 0
        end = time.monotonic() + self._timeout
        with open_artefact("data.tar", "tar") as sink:
            buffer = _Buffered(sink)
            tar = tarfile.open(  # noqa: SIM115 - left open after a failure: closing would end the archive properly
                fileobj=cast("IO[bytes]", buffer), mode="w", format=tarfile.PAX_FORMAT,
                encoding="utf-8", errors="surrogateescape",
            )  # fmt: skip
            for path, status in self._walk():
                if time.monotonic() > end:
                    raise TimedOut(
                        f"The backup of {path} did not begin within the timeout of {self._timeout:g} s: raise timeout."
                    )
                if _kind(status) is not None:
                    count += _add(tar, path, status)
                    tar.members, tar.inodes = [], {}  # type: ignore[attr-defined] # it would remember every file
            for name, fetch in self._objects.items():
                count += _add_text(tar, name, fetch(), consistent_at)
            tar.close()
            buffer.flush()
        return Dump(platform.release(), TOOL, consistent_at, {"files": count})

    def check(self, reader: ArtefactReader) -> None:
        self._require_count(reader, sum(1 for member, _content in members(reader) if member.isreg()))

    @contextmanager
    def scratch(self, reader: ArtefactReader, directory: str) -> Iterator[Place]:
        require_space(directory, reader.manifest.artefacts[0].raw_size, "the restored files")
        with closing(FilesPlace(os.path.join(directory, "files"), platform.release())) as place:
            yield place

    def restore(self, reader: ArtefactReader, place: Place) -> None:
        try:
            self._require_count(reader, unpack(reader, _ours(place), time.monotonic() + self._timeout))
        except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
            raise Damaged(f"{reader.names()[0]} names {error.filename} as a file and as a directory.") from None
        except OSError as error:
            kind = NoSpace if error.errno in (errno.ENOSPC, errno.EDQUOT) else EngineError
            raise kind(f"{reader.names()[0]} could not be unpacked ({error.strerror}).") from None

    def _require_count(self, reader: ArtefactReader, count: int) -> None:
        expected = reader.manifest.observed.get("files", count)
        if count != expected:
            raise Damaged(f"{reader.names()[0]} holds {count} files, its manifest says {expected}.")

    def verify(self, reader: ArtefactReader, place: Place) -> list[CheckResult]:
        manifest = reader.manifest
        return [
            check.judge(_ours(place).readable(check.subject), manifest.observed, manifest.consistent_at)
            for check in self._checks
        ]


def _ours(place: Place) -> FilesPlace:
    if not isinstance(place, FilesPlace):
        raise EngineError(f"{place!r} is no scratch directory for files: restore into the place that scratch() gave.")
    return place


def _kind(status: os.stat_result) -> str | None:
    """``None`` for what holds no data: sockets, pipes and devices."""
    for kind, test in (("file", stat.S_ISREG), ("directory", stat.S_ISDIR), ("link", stat.S_ISLNK)):
        if test(status.st_mode):
            return kind
    return None


@contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise EngineError(
            f"{path} is not there, or went away while it was read: see whether paths is right, and try again."
        ) from None
    except OSError as error:
        raise EngineError(
            f"{path} cannot be read ({error.strerror}): let this account read it (become), or exclude it."
        ) from None


def _open(path: str) -> IO[bytes]:
    """The file itself: no link that took its place, and no wait on a pipe that did."""
    with _reading(path):
        return open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0)


def _add(tar: tarfile.TarFile, path: str, status: os.stat_result) -> int:
    """Append one member; returns the number of files that were added."""
    name = path.lstrip("/")
    if not stat.S_ISREG(status.st_mode):
        with _reading(path):
            info = tar.gettarinfo(path, name)
        tar.addfile(info)
        return 0
    with _open(path) as file:
        before = os.fstat(file.fileno())
        info = tar.gettarinfo(arcname=name, fileobj=file)
        if not stat.S_ISREG(before.st_mode):
            raise _changed(path)
        tar.addfile(info, cast("IO[bytes]", _Steady(file, path)))
        after = os.fstat(file.fileno())
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise _changed(path)
    return 1


def _add_text(tar: tarfile.TarFile, name: str, text: bytes, moment: datetime) -> int:
    """Append what is in no file."""
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(text), 0o600, int(moment.timestamp())
    tar.addfile(info, io.BytesIO(text))
    return 1


def _changed(path: str) -> EngineError:
    return EngineError(
        f"{path} changed while it was read, so its copy would be torn: try again, stop its writer, or exclude it."
    )


class _Steady:
    """``read(n)`` of exactly ``n`` bytes: a file that got shorter must not make a corrupt archive."""

    def __init__(self, file: IO[bytes], path: str) -> None:
        self._file = file
        self._path = path

    def read(self, size: int) -> bytes:
        pieces: list[bytes] = []
        while size > 0:
            with _reading(self._path):
                data = self._file.read(size)
            if not data:
                raise _changed(self._path)
            pieces.append(data)
            size -= len(data)
        return b"".join(pieces)


class _Buffered:
    """The file that ``tarfile`` writes to: headers are gathered, so that the sink gets few large pieces."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._gathered = bytearray()
        self._size = 0

    def tell(self) -> int:
        return self._size

    def write(self, data: bytes) -> int:
        self._size += len(data)
        self._gathered += data
        if len(self._gathered) >= CHUNK:
            self.flush()
        return len(data)

    def flush(self) -> None:
        if self._gathered:
            self._sink(bytes(self._gathered))
            self._gathered.clear()
