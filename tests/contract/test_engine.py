# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every engine keeps the promises of ``_engine/base.py``, shown on a small real source.

What an engine brings is described in ``subjects/base.py``; a module put beside it takes part by being there.
"""

from __future__ import annotations

import importlib
import json
import traceback
from collections.abc import Iterator
from datetime import timedelta, timezone
from pathlib import Path

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._errors import Busy, Damaged, RunbookError
from ansible_collections.runbook.ops.plugins.module_utils._records import utc_now
from contract.shelf import Shelf
from contract.subjects.base import Subject

SUBJECTS = [
    pytest.param(stem, marks=pytest.mark.lab) if stem.endswith(("_in_container", "_in_pod")) else stem
    for stem in sorted(
        path.stem for path in (Path(__file__).parent / "subjects").glob("[a-z]*.py") if path.stem != "base"
    )
]

DAMAGES = {
    "truncated": lambda data: data[: len(data) * 9 // 10],
    "cut to nothing": lambda data: b"",
    "a flipped byte": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
    ),
    "other bytes": lambda data: b"no dump of any kind " * 64,
}
UNNOTICED = {name: DAMAGES[name] for name in ("cut to nothing", "other bytes")}


@pytest.fixture(params=SUBJECTS)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    module = importlib.import_module(f"contract.subjects.{request.param}")
    source = tmp_path / "source"
    source.mkdir(mode=0o711)
    with module.subject(source, request) as made:
        yield made


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    directory = tmp_path / "shelf"
    directory.mkdir()
    return Shelf(directory)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    directory = tmp_path / "scratch"
    directory.mkdir(mode=0o711)
    return directory


def test_preflight_tells_versions_and_an_estimate(subject: Subject) -> None:
    facts = subject.engine(()).preflight()
    assert facts.server_version
    assert facts.tool
    assert facts.estimated_bytes >= 0


def test_an_unreachable_source_is_one_sentence_without_the_password(subject: Subject) -> None:
    engine = subject.unreachable()
    with pytest.raises(RunbookError) as caught:
        engine.preflight()
    shown = f"{caught.value}{engine!r}{''.join(traceback.format_exception(caught.value))}"
    assert len(str(caught.value).splitlines()) == 1
    assert subject.secret is None or subject.secret not in shown


def test_a_dump_says_when_it_is_consistent_and_what_was_seen(subject: Subject, shelf: Shelf) -> None:
    engine = subject.engine(subject.holding)
    before = utc_now()
    dump = shelf.take(engine)
    assert dump.consistent_at.tzinfo is timezone.utc or dump.consistent_at.utcoffset() == timedelta(0)
    assert before - timedelta(seconds=1) <= dump.consistent_at <= utc_now()
    assert json.loads(json.dumps(dict(dump.observed))) == dump.observed
    assert dump.server_version
    assert dump.tool
    assert shelf.names()[0].startswith("data.")
    engine.check(shelf)


def test_a_restored_backup_meets_its_checks_though_the_source_moved_on(
    subject: Subject, shelf: Shelf, scratch: Path
) -> None:
    engine = subject.engine(subject.holding)
    shelf.take(engine)
    subject.change()
    with engine.scratch(shelf, str(scratch)) as place:
        engine.restore(shelf, place)
        results = engine.verify(shelf, place)
        assert place.server_version
    assert len(results) == len(subject.holding)
    assert [result for result in results if not result.passed] == []
    assert list(scratch.iterdir()) == []


def test_a_check_that_fails_is_a_result_not_a_crash(subject: Subject, shelf: Shelf, scratch: Path) -> None:
    engine = subject.engine([subject.failing])
    shelf.take(engine)
    with engine.scratch(shelf, str(scratch)) as place:
        engine.restore(shelf, place)
        (result,) = engine.verify(shelf, place)
    assert not result.passed
    json.dumps(result.to_dict())


def test_a_dump_whose_sink_fails_leaves_no_artefact_and_no_lock(subject: Subject, shelf: Shelf) -> None:
    class DiskFull(Exception):
        pass

    class FullShelf(Shelf):
        def open(self, stem, format):  # type: ignore[no-untyped-def]
            raise DiskFull

    engine = subject.engine(())
    with pytest.raises(DiskFull):
        engine.dump(FullShelf(Path("/nonexistent")).open)
    assert shelf.names() == []
    shelf.take(engine)
    engine.check(shelf)


def test_a_second_dump_at_the_same_time_is_told_so(subject: Subject, shelf: Shelf) -> None:
    holding = subject.busy()
    if holding is None:
        pytest.skip("this engine has no lock of its own")
    with holding, pytest.raises(Busy):
        shelf.take(subject.engine(()))
    shelf.take(subject.engine(()))


def test_every_damage_is_told_from_a_sound_backup(subject: Subject, shelf: Shelf, scratch: Path) -> None:
    engine = subject.engine(())
    shelf.take(engine)
    cases = [(name, change, False) for name, change in DAMAGES.items()]
    cases += [(name, change, True) for name, change in UNNOTICED.items()]
    sound, data = shelf.manifest, shelf.names()[0]
    kept: list[bytes] = []

    for name, change, unnoticed in cases:
        shelf.damage(
            data, lambda original, change=change: kept.append(original) or change(original), unnoticed=unnoticed
        )
        with pytest.raises(Damaged):
            engine.check(shelf)
            pytest.fail(f"{name} ({unnoticed=}) was not seen by check")
        with pytest.raises(Damaged):
            with engine.scratch(shelf, str(scratch)) as place:
                engine.restore(shelf, place)
            pytest.fail(f"{name} ({unnoticed=}) was not seen by restore")
        assert list(scratch.iterdir()) == [], name
        shelf.damage(data, lambda _damaged: kept.pop())
        shelf.manifest = sound
    engine.check(shelf)


def test_the_scratch_is_dropped_after_an_exception_too(subject: Subject, shelf: Shelf, scratch: Path) -> None:
    engine = subject.engine(())
    shelf.take(engine)
    with pytest.raises(KeyboardInterrupt), engine.scratch(shelf, str(scratch)):
        raise KeyboardInterrupt
    assert list(scratch.iterdir()) == []


def test_the_password_is_nowhere(subject: Subject, shelf: Shelf) -> None:
    if subject.secret is None:
        pytest.skip("this engine has no password")
    engine = subject.engine(subject.holding)
    dump = shelf.take(engine)
    assert subject.secret not in f"{engine!r}{engine}{engine.preflight()!r}{dump!r}{shelf.manifest!r}"
