# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files with hostile names, in motion, and in hostile archives; sealed before a byte reaches a disk."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._cipher.declared import decryptor, encryptor
from ansible_collections.runbook.ops.plugins.module_utils._engine.files import FilesEngine, _add
from ansible_collections.runbook.ops.plugins.module_utils._errors import (
    Damaged,
    EngineError,
    InputError,
    NoSpace,
    TimedOut,
    Unsupported,
)
from ansible_collections.runbook.ops.plugins.module_utils._pipeline import ArtefactWriter
from ansible_collections.runbook.ops.plugins.module_utils._runtime.base import Instance
from ansible_collections.runbook.ops.plugins.module_utils._runtime.local import LocalInstance
from ansible_collections.runbook.ops.plugins.module_utils._store.local import LocalStore
from contract.shelf import Shelf

UNPRIVILEGED = 65534
CANARY = b"CANARY-7b1f-plain-configuration-value"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    directory = tmp_path / "shelf"
    directory.mkdir()
    return Shelf(directory)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "etc app"
    root.mkdir()
    (root / ".env").write_bytes(CANARY)
    return root


def declared(*paths: Path, **also: Any) -> FilesEngine:
    description = {"engine": "files", "name": "configuration", "paths": [str(path) for path in paths], **also}
    return FilesEngine.declared("databases[0]", description, LocalInstance())


def taken(engine: FilesEngine, shelf: Shelf) -> bytes:
    shelf.take(engine)
    return b"".join(shelf.read("data.tar"))


def names(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return ["/" + name for name in tar.getnames()]


def picture(root: Path) -> dict[bytes, tuple[int, bytes | None]]:
    """Every path below ``root`` with its mode, and its content or target."""
    seen: dict[bytes, tuple[int, bytes | None]] = {}
    for directory, below, files in os.walk(os.fsencode(root)):
        for name in [*below, *files]:
            path = os.path.join(directory, name)
            content = None
            if os.path.islink(path):
                content = os.readlink(path)
            elif os.path.isfile(path):
                content = Path(os.fsdecode(path)).read_bytes()
            seen[os.path.relpath(path, os.fsencode(root))] = (os.lstat(path).st_mode, content)
    return seen


def test_any_tar_unpacks_the_same_tree(tree: Path, shelf: Shelf, tmp_path: Path) -> None:
    for name in ("with space", "line\nbreak", "Schlüssel.pem", "-rf", "*?[x]", "x" * 250, "quote'\"\\"):
        (tree / name).write_bytes(os.urandom(600))
    Path(os.fsdecode(os.fsencode(tree) + b"/latin\xfc")).write_bytes(b"no UTF-8")
    deep = tree / ("d" * 100) / ("e" * 100) / ("f" * 100)
    deep.mkdir(parents=True)
    (deep / "key").write_bytes(b"deep")
    (deep / "key").chmod(0o400)
    (tree / "dangling").symlink_to("nowhere/at all")
    (tree / "absolute").symlink_to("/etc/hostname")
    os.link(tree / "with space", tree / "hard")
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    subprocess.run(["tar", "-x", "-p", "-C", unpacked], input=taken(declared(tree), shelf), check=True)
    assert picture(unpacked / str(tree).lstrip("/")) == picture(tree)


def test_an_unchanged_tree_gives_the_same_bytes(tree: Path, shelf: Shelf) -> None:
    for number in range(50):
        (tree / f"{number}").write_bytes(bytes([number]))
    first = taken(declared(tree), shelf)
    assert taken(declared(tree), shelf) == first
    assert names(first) == sorted(names(first), key=os.fsencode)


def test_each_path_is_kept_once(tree: Path, shelf: Shelf) -> None:
    (tree / "sub").mkdir()
    (tree / "sub" / "file").write_bytes(b"x")
    found = names(taken(declared(tree, tree / "sub", tree / "sub" / "file", Path(f"{tree}/")), shelf))
    assert found == [str(tree), str(tree / ".env"), str(tree / "sub"), str(tree / "sub" / "file")]


def test_a_declared_link_brings_what_it_stands_for(tree: Path, shelf: Shelf, tmp_path: Path) -> None:
    link = tmp_path / "current.env"
    link.symlink_to(tree / ".env")
    engine = declared(link, checks=[{"file": str(link)}])
    assert names(taken(engine, shelf)) == [str(link), str(tree / ".env")]
    with engine.scratch(shelf, str(tmp_path)) as place:
        engine.restore(shelf, place)
        assert engine.verify(shelf, place)[0].passed


def test_a_link_to_what_is_not_kept_fails_its_check(tree: Path, shelf: Shelf, tmp_path: Path) -> None:
    (tree / "outside.pem").symlink_to("/etc/hostname")
    (tree / "circle").symlink_to("circle")
    checks = [{"file": str(tree / "outside.pem")}, {"file": str(tree / "circle")}]
    engine = declared(tree, checks=checks)
    shelf.take(engine)
    with engine.scratch(shelf, str(tmp_path)) as place:
        engine.restore(shelf, place)
        assert [result.passed for result in engine.verify(shelf, place)] == [False, False]


@pytest.mark.parametrize(
    ("exclude", "gone"),
    [
        (["*.log"], {"app.log", "logs/old.log"}),
        (["logs"], {"logs", "logs/old.log"}),
        (["{tree}/logs/*"], {"logs/old.log"}),
        ([".env", "app.log"], {".env", "app.log"}),
    ],
)
def test_exclude_leaves_out(tree: Path, shelf: Shelf, exclude: list[str], gone: set[str]) -> None:
    (tree / "app.log").write_bytes(b"x")
    (tree / "logs").mkdir()
    (tree / "logs" / "old.log").write_bytes(b"x")
    everything = set(names(taken(declared(tree), shelf)))
    engine = declared(tree, exclude=[pattern.format(tree=tree) for pattern in exclude])
    assert everything - set(names(taken(engine, shelf))) == {str(tree / name) for name in gone}


def test_what_holds_no_data_is_skipped_with_a_note(tree: Path, shelf: Shelf) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(os.path.relpath(tree / "s.sock"))
        os.mkfifo(tree / "pipe")
        engine = declared(tree)
        facts = engine.preflight()
        assert names(taken(engine, shelf)) == [str(tree), str(tree / ".env")]
    assert facts.details == {
        "files": 1, "skipped": [str(tree / "pipe"), str(tree / "s.sock")], "skipped_count": 2,
    }  # fmt: skip
    assert facts.estimated_bytes >= 10240


def test_records_tell_nothing_of_the_contents(tree: Path, shelf: Shelf) -> None:
    dump = shelf.take(declared(tree, checks=[{"file": str(tree / ".env")}]))
    assert dump.observed == {"files": 1}


def shrink(path: Path) -> None:
    os.truncate(path, 10)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other bytes")
    os.utime(path, (1, 1))


@pytest.mark.parametrize(
    ("name", "happens", "why"),
    [
        ("a-big", shrink, "changed while it was read"),
        ("a-big", grow, "changed while it was read"),
        ("a-big", rewrite, "changed while it was read"),
        ("z-later", Path.unlink, "went away while it was read"),
    ],
    ids=["shrinks", "grows", "rewritten", "vanishes"],
)
def test_a_file_in_motion_fails_by_name(
    tree: Path, shelf: Shelf, name: str, happens: Callable[[Path], Any], why: str
) -> None:
    (tree / "a-big").write_bytes(bytes(5 << 20))
    (tree / "z-later").write_bytes(b"x")
    happened: list[Path] = []

    class Meddling(Shelf):
        @contextmanager
        def open(self, stem: str, format: str) -> Iterator[Callable[[bytes], None]]:
            with Shelf.open(self, stem, format) as sink:

                def meddle(data: bytes) -> None:
                    if not happened:
                        happened.append(tree / name)
                        happens(tree / name)
                    sink(data)

                yield meddle

    meddling = Meddling(shelf._directory)
    with pytest.raises(EngineError, match=why) as caught:
        meddling.take(declared(tree))
    assert str(tree / name) in str(caught.value)
    assert meddling.names() == []


@pytest.mark.parametrize(
    ("put", "why"), [(os.mkfifo, "changed"), (lambda path: path.symlink_to("/etc/passwd"), "cannot be read")]
)
def test_what_takes_a_files_place_is_not_read(tree: Path, put: Callable[[Path], Any], why: str) -> None:
    path = tree / ".env"
    status = path.lstat()
    path.unlink()
    put(path)
    with tarfile.open(fileobj=io.BytesIO(), mode="w") as tar, pytest.raises(EngineError, match=why):
        _add(tar, str(path), status)


@contextmanager
def unprivileged() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(UNPRIVILEGED)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_cannot_be_read_fails_by_name(tree: Path, shelf: Shelf, kind: str) -> None:
    secret = tree / "secret"
    secret.mkdir() if kind == "directory" else secret.write_bytes(b"x")
    secret.chmod(0)
    with unprivileged(), pytest.raises(EngineError, match=r"secret cannot be read .Permission denied.: let this"):
        declared(tree).preflight()
    secret.chmod(0o700)


@pytest.mark.parametrize(
    ("also", "why"),
    [
        ({"exclude": ["*"]}, "there is no file there"),
        ({"paths": ["/nowhere/.env"]}, "/nowhere/.env is not there"),
    ],
)
def test_nothing_is_no_backup(tree: Path, shelf: Shelf, also: dict[str, Any], why: str) -> None:
    for attempt in (lambda engine: engine.preflight(), shelf.take):
        with pytest.raises(EngineError, match=why):
            attempt(declared(tree, **also))
    assert shelf.names() == []


@pytest.mark.parametrize(
    ("also", "why"),
    [
        ({"paths": []}, r"databases\[0\].paths is \[\]"),
        ({"paths": None}, r"databases\[0\].paths"),
        ({"paths": "/etc/app"}, "give a list"),
        ({"paths": ["etc/app"]}, "absolute paths"),
        ({"paths": ["/etc/.."]}, "not all of '/'"),
        ({"timeout": "never"}, r"databases\[0\].timeout"),
        ({"checks": [{"table": "x", "rows": 1}]}, r"databases\[0\].checks\[0\]"),
    ],
)
def test_a_bad_declaration_is_named(tree: Path, also: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        declared(tree, **also)


def test_inside_a_container_it_is_unsupported(tree: Path) -> None:
    class Elsewhere(LocalInstance.__bases__[0]):  # type: ignore[misc]
        name = "app-1"
        run = stream = feed = fetch = place = endpoint = lambda self: None

    elsewhere: Instance = Elsewhere()
    with pytest.raises(Unsupported, match="files inside app-1"):
        FilesEngine.declared("databases[0]", {"paths": [str(tree)]}, elsewhere)


def test_a_backup_that_takes_too_long_is_ended(tree: Path, shelf: Shelf) -> None:
    with pytest.raises(TimedOut, match="timeout of 0 s"):
        shelf.take(FilesEngine([str(tree)], timeout=0.0))
    assert shelf.names() == []


def archive(*members: tuple[str, bytes, str]) -> bytes:
    """A tar of (name, type, content or target)."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content.encode()))
            else:
                info.linkname = content
                tar.addfile(info)
    return made.getvalue()


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([("../evil", tarfile.REGTYPE, "x")], "lies outside"),
        ([("/{tmp}/evil", tarfile.REGTYPE, "x")], "lies outside"),
        ([("a/../../evil", tarfile.REGTYPE, "x")], "lies outside"),
        ([("a", tarfile.SYMTYPE, "{tmp}"), ("a/evil", tarfile.REGTYPE, "x")], None),
        ([("a", tarfile.LNKTYPE, "../../evil"), ("a", tarfile.REGTYPE, "x")], None),
        ([("a", tarfile.REGTYPE, "x"), ("a/b", tarfile.REGTYPE, "x")], "as a file and as a directory"),
        ([("a/b", tarfile.REGTYPE, "x"), ("a", tarfile.REGTYPE, "x")], "as a file and as a directory"),
        ([("dev", tarfile.CHRTYPE, "")], "holds 0 files"),
    ],
)
def test_a_hostile_archive_writes_nothing_outside(
    tree: Path, shelf: Shelf, tmp_path: Path, members: list[tuple[str, bytes, str]], why: str | None
) -> None:
    engine = declared(tree)
    shelf.take(engine)
    shelf.manifest.observed["files"] = sum(1 for member in members if member[1] == tarfile.REGTYPE) or 1  # type: ignore[index]
    filled = [(name.format(tmp=tmp_path), kind, content.format(tmp=tmp_path)) for name, kind, content in members]
    shelf.damage("data.tar", lambda data: archive(*filled), unnoticed=True)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    before = picture(tmp_path)
    try:
        with engine.scratch(shelf, str(scratch)) as place:
            engine.restore(shelf, place)
    except Damaged as error:
        assert why is not None
        assert why in str(error)
    else:
        assert why is None
    assert picture(tmp_path) == before


def test_an_archive_that_lost_a_whole_member_is_damaged(tree: Path, shelf: Shelf, tmp_path: Path) -> None:
    """Cut between two members, the rest is a sound tar: only the count tells."""
    (tree / "z").write_bytes(b"last")
    engine = declared(tree)
    shelf.take(engine)
    shelf.damage("data.tar", lambda data: archive(("etc/.env", tarfile.REGTYPE, "x")), unnoticed=True)
    for attempt in (lambda: engine.check(shelf), lambda: engine.restore(shelf, place)):
        with (
            engine.scratch(shelf, str(tmp_path)) as place,
            pytest.raises(Damaged, match="holds 1 files, its manifest says 2"),
        ):
            attempt()


def test_an_archive_made_by_hand_is_read(tree: Path, shelf: Shelf, tmp_path: Path) -> None:
    """The format is public: GNU tar's own, with a hard link, and no count in its manifest."""
    os.link(tree / ".env", tree / "same")
    made = subprocess.run(["tar", "-c", "-C", "/", str(tree).lstrip("/")], capture_output=True, check=True).stdout
    engine = declared(tree, checks=[{"file": str(tree / ".env")}, {"file": str(tree / "same")}])
    shelf.take(engine)
    shelf.manifest.observed.clear()  # type: ignore[attr-defined]
    shelf.damage("data.tar", lambda data: made, unnoticed=True)
    engine.check(shelf)
    with engine.scratch(shelf, str(tmp_path)) as place:
        engine.restore(shelf, place)
        assert [result.passed for result in engine.verify(shelf, place)] == [True, True]


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT RUN: only root mounts a small file system")
def test_a_full_scratch_is_told(tree: Path, shelf: Shelf, tmp_path: Path) -> None:
    (tree / "big").write_bytes(os.urandom(600_000))
    engine = declared(tree)
    shelf.take(engine)
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", small], check=False).returncode:
        pytest.skip("NOT RUN: mounting is not allowed here")
    try:
        with pytest.raises(NoSpace, match="needs about"), engine.scratch(shelf, str(small)):
            pass
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "ansible_collections.runbook.ops.plugins.module_utils._scratch.free_space", lambda _dir: 1 << 30
            )
            with engine.scratch(shelf, str(small)) as place, pytest.raises(NoSpace, match="could not be unpacked"):
                engine.restore(shelf, place)
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.skipif(not shutil.which("gpg"), reason="NOT RUN: no gpg to make a key with")
@pytest.mark.parametrize("tool", ["gpg", "gpg-is-not-on-this-host"], ids=["gpg", "sequoia"])
def test_sealed_files_never_touch_a_disk_in_plain(tree: Path, tmp_path: Path, tool: str) -> None:
    store = tmp_path / "store"
    store.mkdir()
    watched = [store, Path(tempfile.gettempdir()), Path("/dev/shm")]
    with tempfile.TemporaryDirectory(prefix="keys-") as home:
        gpg = ["gpg", "--homedir", home, "--batch", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", ""]
        subprocess.run(
            [*gpg, "--quick-gen-key", "ops@example.org", "default", "default", "0"], check=True, capture_output=True
        )
        export = subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True).stdout.decode()
        key = Path(home) / "secret.asc"
        key.write_bytes(
            subprocess.run([*gpg, "--armor", "--export-secret-keys"], check=True, capture_output=True).stdout
        )
        writer = ArtefactWriter(
            LocalStore(str(store)), "sys/files/conf/id", encryptor=encryptor([export], "recipients", gpg=tool),
            size_hint=0, progress=lambda _size: found_in(watched),
        )  # fmt: skip
        declared(tree).dump(writer.open)
        found_in(watched)
        (artefact,) = writer.artefacts
        sealed = (store / "sys/files/conf/id" / artefact.name).read_bytes()
        plain = b"".join(decryptor(str(key), gpg=tool).open(iter([sealed])))
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)
    assert artefact.name == "data.tar.zst.gpg"
    assert artefact.raw_sha256 is None
    assert plain[:4] == b"\x28\xb5\x2f\xfd"  # zstd's magic number


def found_in(places: list[Path]) -> None:
    for place in places:
        for path in [*place.glob("runbook-*/*"), *(place.rglob("*") if place.name == "store" else ())]:
            with suppress(OSError):  # a directory, or another test's file that has gone
                assert CANARY not in path.read_bytes(), path


def test_memory_is_bounded(tree: Path, shelf: Shelf) -> None:
    for number in range(4):
        with (tree / f"big{number}").open("wb") as file:
            file.truncate(32 << 20)
    engine = declared(tree)
    seen = [0]

    @contextmanager
    def counting(stem: str, format: str) -> Iterator[Callable[[bytes], None]]:
        yield lambda data: seen.__setitem__(0, seen[0] + len(data))

    tracemalloc.start()
    try:
        engine.dump(counting)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen[0] > 128 << 20
    assert peak < 8 << 20
