# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A damaged archive is mended from copies that are proved; what the application has is never lost, whatever goes wrong."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._archive import bucket as buckets
from ansible_collections.runbook.ops.plugins.module_utils._archive import restore as restores
from ansible_collections.runbook.ops.plugins.module_utils._archive.base import Content, Found
from ansible_collections.runbook.ops.plugins.module_utils._archive.paths import PARTIAL
from ansible_collections.runbook.ops.plugins.module_utils._archive.restore import Outcome, Restore, Wishes
from ansible_collections.runbook.ops.plugins.module_utils._errors import InputError, StoreError
from ansible_collections.runbook.ops.plugins.module_utils._policy import MaxDelete
from botocore.awsrequest import AWSResponse
from support.archives import AWKWARD, Documents, Files, S3Objects, archive, documents, new_bucket, objects_of

from lab.embedded.servers import PostgresServer, S3Server

PLAIN = tuple(f"2025/{month:02}/{number}.pdf" for month in (1, 2) for number in range(5))
GONE, SHORT, FLIPPED = "2025/01/1.pdf", "umlaut/Übergabe.pdf", "2025/02/3.pdf"


@pytest.fixture(params=["bucket", "directory"])
def placed(
    request: pytest.FixtureRequest, postgres: PostgresServer, s3: S3Server, tmp_path: Path
) -> Iterator[Documents]:
    objects = new_bucket(s3) if request.param == "bucket" else {"type": "local", "path": str(tmp_path)}
    with archive(postgres, objects, [new_bucket(s3)], checksum="sha256") as made:
        made.store(documents([*PLAIN, *AWKWARD]))
        yield made


@pytest.fixture
def stored(postgres: PostgresServer, s3: S3Server) -> Iterator[Documents]:
    with archive(postgres, new_bucket(s3), [new_bucket(s3)]) as made:
        made.store(documents([*PLAIN, *AWKWARD]))
        yield made


@pytest.fixture
def filed(postgres: PostgresServer, s3: S3Server, tmp_path: Path) -> Iterator[Documents]:
    (tmp_path / "archive").mkdir()
    with archive(postgres, {"type": "local", "path": str(tmp_path / "archive")}, [new_bucket(s3)]) as made:
        made.store(documents(PLAIN))
        yield made


def of_other_content(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def damage(made: Documents) -> None:
    made.objects.delete(GONE)
    made.objects.put(SHORT, made.contents[SHORT][:-1])
    made.objects.put(FLIPPED, of_other_content(made.contents[FLIPPED]))


def prepared(made: Documents, *, check: bool = False, archive: Any = None, **wishes: Any) -> Restore:
    return Restore(archive or made.archive(), Wishes(**wishes), "/var/tmp", check=check)


def restore(made: Documents, **also: Any) -> Outcome:
    return prepared(made, **also).run()


def done(outcome: Outcome) -> list[tuple[str, str]]:
    return [(action.action, action.object) for action in outcome.actions()]


def predicted_and_done(made: Documents, **wishes: Any) -> Outcome:
    """What check mode says is what is done, and it writes nothing."""
    before = snapshot(made)
    predicted = restore(made, check=True, **wishes)
    assert snapshot(made) == before
    outcome = restore(made, **wishes)
    assert (predicted.actions(), predicted.errors) == (outcome.actions(), outcome.errors)
    assert predicted.to_dict()["counts"] == outcome.to_dict()["counts"]
    return outcome


def snapshot(made: Documents) -> Any:
    places = [made.objects, *(objects_of(source) for source in made.declared["sources"])]
    return made.rows(), [place.contents() for place in places]


def test_only_what_is_missing_or_damaged_is_restored(placed: Documents) -> None:
    damage(placed)
    placed.objects.put("not/indexed.pdf", b"x")
    outcome = predicted_and_done(placed, deep=True)
    assert done(outcome) == [("restore", GONE), ("restore", FLIPPED), ("restore", SHORT)]
    assert {key: placed.objects.get(key) for key in placed.contents} == placed.contents
    assert placed.objects.get("not/indexed.pdf") == b"x"
    again = restore(placed, deep=True)
    assert (again.actions(), again.errors, again.report.sound) == ([], [], True)


def test_a_copy_that_is_not_what_the_index_says_replaces_nothing(placed: Documents) -> None:
    damage(placed)
    for key in (GONE, SHORT, FLIPPED):
        placed.copies.put(key, of_other_content(placed.contents[key]))
    before = snapshot(placed)
    outcome = predicted_and_done(placed, deep=True)
    assert (outcome.actions(), snapshot(placed)) == ([], before)
    assert "3 could not be restored, such as 2025/01/1.pdf: the one copy is not what the index says." in outcome.errors


def test_an_older_version_serves(postgres: PostgresServer, s3: S3Server) -> None:
    with archive(postgres, new_bucket(s3, versions=True), []) as made:
        objects = made.objects
        assert isinstance(objects, S3Objects)
        contents = documents([*PLAIN, f"{FLIPPED}.old", SHORT])
        made.store(contents, copies=False)
        objects.put(FLIPPED, b"an older one that does not fit")
        damage(made)
        versions = objects.versions()
        outcome = predicted_and_done(made)
        assert len(outcome.of("restored")) == 3 and all(", version " in one.said for one in outcome.of("restored"))
        assert {key: objects.get(key) for key in contents} == contents
        assert set(versions) < set(objects.versions())  # nothing that was there is gone


def test_versions_that_may_not_be_listed_are_not_taken_for_none(
    postgres: PostgresServer, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row of a document whose older version nobody may see stays."""
    with archive(postgres, new_bucket(s3, versions=True), []) as made:
        made.store(documents(PLAIN), copies=False)
        made.objects.delete(GONE)
        rows = made.rows()

        def denied(_bucket: object, _key: str) -> Iterator[str]:
            raise StoreError("Listing the versions was denied.")

        monkeypatch.setattr(buckets.ArchiveBucket, "_older", denied)
        outcome = restore(made, rebuild=True, remove_rows=True)
        assert ([one.key for one in outcome.of("failed")], outcome.of("lost"), made.rows()) == ([GONE], [], rows)


def test_a_version_that_went_away_leaves_the_older_ones(
    postgres: PostgresServer, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with archive(postgres, new_bucket(s3, versions=True), []) as made:
        made.store(documents(PLAIN), copies=False)
        made.objects.delete(GONE)
        honest = buckets.ArchiveBucket._older
        monkeypatch.setattr(buckets.ArchiveBucket, "_older", lambda *asked: iter(["gone", *honest(*asked)]))
        assert [one.key for one in restore(made).of("restored")] == [GONE]


def test_content_type_and_metadata_come_along(stored: Documents) -> None:
    copies, objects = stored.copies, stored.objects
    assert isinstance(copies, S3Objects) and isinstance(objects, S3Objects)
    copies.put(GONE, stored.contents[GONE], ContentType="application/pdf", Metadata={"customer": "4711"})
    objects.delete(GONE)
    restore(stored)
    told = objects.client.head_object(**objects.name(GONE))
    assert (told["ContentType"], told["Metadata"]) == ("application/pdf", {"customer": "4711"})


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_archived_copies_are_requested_waited_for_and_restored_later(
    stored: Documents, s3: S3Server, storage_class: str
) -> None:
    slowly(s3, 3)
    try:
        copies = stored.copies
        assert isinstance(copies, S3Objects)
        for key in (GONE, FLIPPED):
            copies.put(key, stored.contents[key], StorageClass=storage_class)
        damage(stored)
        first = predicted_and_done(stored)
        assert done(first) == [("request", GONE), ("request", FLIPPED), ("restore", SHORT)]
        assert storage_class in first.of("requested")[0].said and first.errors == []
        second = restore(stored)
        assert (second.actions(), second.errors) == ([], [])
        assert {one.key for one in second.of("waiting")} == {GONE, FLIPPED}
        restored: set[str] = set()
        for _later in range(4):
            restored |= {key for action, key in done(restore(stored)) if action == "restore"}
        assert restored == {GONE, FLIPPED}
        assert {key: stored.objects.get(key) for key in stored.contents} == stored.contents
    finally:
        slowly(s3, 0)


def slowly(s3: S3Server, looks: int) -> None:
    """How often moto is asked before a requested object has come."""
    transition = {"progression": "manual", "times": looks} if looks else {"progression": "immediate"}
    body = f'{{"model_name": "s3::keyrestore", "transition": {str(transition).replace(chr(39), chr(34))}}}'
    request = urllib.request.Request(
        f"{s3.endpoint_url}/moto-api/state-manager/set-transition", body.encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request).close()


def test_a_bounded_wait(stored: Documents, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(restores.time, "sleep", slept.append)
    slowly(s3, 3)
    try:
        copies = stored.copies
        assert isinstance(copies, S3Objects)
        copies.put(GONE, stored.contents[GONE], StorageClass="GLACIER")
        stored.objects.delete(GONE)
        outcome = restore(stored, wait=3600)
    finally:
        slowly(s3, 0)
    assert done(outcome) == [("request", GONE), ("restore", GONE)] and 0 < len(slept) < 5
    assert outcome.of("waiting") == [] and stored.objects.get(GONE) == stored.contents[GONE]


def test_the_application_writes_in_the_last_moment(stored: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the last look and the put: only a conditional write can tell."""
    damage(stored)
    put, objects = buckets.ArchiveBucket._put, stored.objects

    def raced(self: Any, key: str, current: Found | None, content: Content, condition: Any) -> None:
        objects.put(key, b"from the application")
        put(self, key, current, content, condition)

    monkeypatch.setattr(buckets.ArchiveBucket, "_put", raced)
    outcome = restore(stored)
    assert (outcome.actions(), len(outcome.of("left")), outcome.errors) == ([], 3, [])
    assert {objects.get(key) for key in (GONE, SHORT, FLIPPED)} == {b"from the application"}


def no_conditions(restoring: Restore, code: bytes = b"NotImplemented") -> None:
    """The archive's server answers as one that has no conditional writes."""

    class Raw:
        def stream(self) -> Iterator[bytes]:
            yield b"<Error><Code>%s</Code><Message>A header you provided is not implemented</Message></Error>" % code

    def refuse(request: Any, **_: Any) -> Any:
        if (
            b"If-None-Match" in bytes(str(request.headers), "latin-1")
            or "If-Match" in request.headers
            or "If-None-Match" in request.headers
        ):
            return AWSResponse(request.url, 501, {}, Raw())
        return None

    place = restoring._archive.objects
    assert isinstance(place, buckets.ArchiveBucket)
    place.client.meta.events.register("before-send.s3.PutObject", refuse)


def test_a_server_without_conditional_writes(stored: Documents) -> None:
    damage(stored)
    restoring = prepared(stored)
    no_conditions(restoring)
    outcome = restoring.run()
    assert len(outcome.of("restored")) == 3 and any("has no conditional writes" in note for note in outcome.notes)
    assert {key: stored.objects.get(key) for key in stored.contents} == stored.contents


def test_without_conditional_writes_the_object_is_looked_at_again(
    stored: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(stored)
    restoring = prepared(stored)
    no_conditions(restoring)
    still, objects, asked = buckets.ArchiveBucket._still, stored.objects, set()

    def raced(self: Any, key: str, current: Found | None) -> None:
        if key in asked:  # the second look, after the refusal
            objects.put(key, b"from the application")
        asked.add(key)
        still(self, key, current)

    monkeypatch.setattr(buckets.ArchiveBucket, "_still", raced)
    outcome = restoring.run()
    assert len(outcome.of("left")) == 3
    assert {objects.get(key) for key in (GONE, SHORT, FLIPPED)} == {b"from the application"}


def test_a_failed_confirmation_deletes_nothing(
    postgres: PostgresServer, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the object, nor any of its versions."""
    with archive(postgres, new_bucket(s3, versions=True), [new_bucket(s3)]) as made:
        objects = made.objects
        assert isinstance(objects, S3Objects)
        made.store(documents([*PLAIN, SHORT]))
        damage(made)
        before = objects.versions()
        restoring = prepared(made)
        place = restoring._archive.objects
        assert isinstance(place, buckets.ArchiveBucket)
        look, deletes = place.look, []
        written: set[str] = set()
        put = place._put

        def noted(key: str, *arguments: Any) -> None:
            put(key, *arguments)
            written.add(key)

        def another(key: str) -> Found | None:
            found = look(key)
            return found._replace(size=1) if found and key in written else found

        monkeypatch.setattr(place, "_put", noted)
        monkeypatch.setattr(place, "look", another)
        place.client.meta.events.register("before-send.s3", lambda request, **_: deletes.append(request.method))
        outcome = restoring.run()
        assert "what is there now is not what was sent: nothing was deleted" in outcome.errors[0]
        assert set(before) < set(objects.versions())
        assert "DELETE" not in deletes and "POST" not in deletes


AWAY = {"endpoint_url": "http://127.0.0.1:9"}


def test_a_source_that_is_away_is_passed_over(stored: Documents) -> None:
    damage(stored)
    (source,) = stored.declared["sources"]
    opened = stored.archive(sources=[{**source, **AWAY, "prefix": "away"}, {**source, "bucket": "nobodys"}, source])
    outcome = restore(stored, archive=opened)
    assert len(outcome.of("restored")) == 3 and outcome.errors == []
    assert any("http://127.0.0.1:9 did not answer" in note for note in outcome.notes)
    assert any("there is no bucket nobodys" in note for note in outcome.notes)


def broken_look(key: str) -> Found | None:
    raise StoreError("s3:copies: looking at it failed: the network is down.")


def test_a_candidate_that_cannot_be_asked_is_passed_over(
    stored: Documents, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answered when it was checked, and fails for the object."""
    other = new_bucket(s3)
    objects_of(other).put_all(stored.contents)
    damage(stored)
    opened = stored.archive(sources=[*stored.declared["sources"], other])
    monkeypatch.setattr(opened.sources[0], "look", broken_look)
    assert len(restore(stored, archive=opened).of("restored")) == 3


ROWS = {"rebuild": True, "remove_rows": True, "max_remove": MaxDelete(percent=50)}


@pytest.mark.parametrize("how", ["away", "no bucket", "empty", "broken look", "unreadable", "unfit", "archived"])
def test_what_cannot_be_asked_is_not_gone(
    stored: Documents, s3: S3Server, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows stay unless every place has answered that it has nothing."""
    stored.objects.delete(GONE)
    (source,) = stored.declared["sources"]
    changes = {"away": AWAY, "no bucket": {"bucket": "nobodys"}, "empty": {"prefix": "nothing"}}.get(how, {})
    opened = stored.archive(sources=[{**source, **changes}])
    copies = stored.copies
    assert isinstance(copies, S3Objects)
    if how == "broken look":
        monkeypatch.setattr(opened.sources[0], "look", broken_look)
    if how == "unreadable":
        monkeypatch.setattr(opened.sources[0], "read", lambda found: broken_look(found.key))
    if how == "unfit":
        copies.put(GONE, b"something else")
    if how == "archived":
        copies.put(GONE, stored.contents[GONE], StorageClass="GLACIER")
    before = stored.rows()
    for check in (True, False):
        outcome = restore(stored, check=check, archive=opened, **ROWS)
        assert (outcome.of("lost"), stored.rows()) == ([], before)
        assert bool(outcome.errors) == (how != "archived")


def test_rows_of_what_is_gone_everywhere_go_only_when_asked(stored: Documents) -> None:
    for key in (GONE, FLIPPED):
        stored.objects.delete(key)
        stored.copies.delete(key)
    before = stored.rows()
    outcome = predicted_and_done(stored, rebuild=True)
    assert outcome.actions() == [] and stored.rows() == before
    assert outcome.errors[0].startswith("2 have no good copy anywhere, such as 2025/01/1.pdf: name another source")
    outcome = predicted_and_done(stored, **ROWS)
    assert (done(outcome), outcome.errors) == ([("remove row", GONE), ("remove row", FLIPPED)], [])
    assert stored.rows() == [row for row in before if row[0] not in (GONE, FLIPPED)]
    assert restore(stored, **ROWS).actions() == []


def test_more_rows_than_may_go_stay(stored: Documents) -> None:
    for key in (GONE, FLIPPED):
        stored.objects.delete(key)
        stored.copies.delete(key)
    before = stored.rows()
    outcome = predicted_and_done(stored, rebuild=True, remove_rows=True)  # 2 of 16 are more than 10 %
    assert "would remove 2 of 16, more than max_remove (10%): none was removed" in outcome.errors[0]
    assert (outcome.actions(), stored.rows()) == ([], before)


def test_an_object_that_comes_back_keeps_its_row(stored: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    stored.objects.delete(GONE)
    stored.copies.delete(GONE)
    restoring = prepared(stored, **ROWS)
    rebuild = restoring._rebuild

    def meanwhile(index: Any, outcome: Outcome) -> None:
        stored.objects.put(GONE, stored.contents[GONE])
        rebuild(index, outcome)

    monkeypatch.setattr(restoring, "_rebuild", meanwhile)
    before = stored.rows()
    assert (restoring.run().actions(), stored.rows()) == ([], before)


def test_damage_is_never_accepted(stored: Documents) -> None:
    """Rebuilding gives rows to objects that have none; a damaged object's row stays what it is known by."""
    damage(stored)
    for key in (SHORT, FLIPPED):
        stored.copies.delete(key)
    before = stored.rows()
    outcome = restore(stored, **ROWS)
    assert done(outcome) == [("restore", GONE)]
    assert stored.rows() == before and outcome.errors


def test_the_index_is_rebuilt_from_the_objects(placed: Documents) -> None:
    """From nothing, and with the checksums that reading tells."""
    before = placed.rows()
    placed.execute("DELETE FROM documents")
    outcome = predicted_and_done(placed, rebuild=True)
    assert {action for action, _key in done(outcome)} == {"index"}
    assert placed.rows() == before
    assert restore(placed, rebuild=True).actions() == []


def test_a_row_that_the_application_adds_first_is_kept(stored: Documents) -> None:
    """What was really added is what is told."""
    stored.objects.put_all({"new/1": b"one", "new/2": b"two"})
    restoring = prepared(stored, rebuild=True)
    rebuild = restoring._rebuild

    def meanwhile(index: Any, outcome: Outcome) -> None:
        stored.execute("INSERT INTO documents (storage_key, size_bytes, digest) VALUES ('new/1', 3, 'theirs')")
        rebuild(index, outcome)

    restoring._rebuild = meanwhile  # type: ignore[method-assign]
    assert done(restoring.run()) == [("index", "new/2")]
    assert [row for row in stored.rows() if row[0] == "new/1"] == [("new/1", 3, "theirs")]


def test_a_unique_index_meets_a_late_insert(stored: Documents) -> None:
    stored.execute("ALTER TABLE documents ADD UNIQUE (storage_key)")
    stored.objects.put("new/1", b"one")
    assert done(restore(stored, rebuild=True)) == [("index", "new/1")]


def test_an_index_that_wants_more_than_three_columns(stored: Documents) -> None:
    stored.execute(
        "ALTER TABLE documents ADD owner text NOT NULL DEFAULT 'x'; ALTER TABLE documents ALTER owner DROP DEFAULT"
    )
    stored.objects.put("new/1", b"one")
    stored.objects.delete(GONE)
    outcome = restore(stored, rebuild=True)
    assert done(outcome) == [("restore", GONE)] and 'null value in column "owner"' in outcome.errors[0]


def test_everything_lost_is_restored_when_that_is_said(placed: Documents) -> None:
    for key in placed.contents:
        placed.objects.delete(key)
    with pytest.raises(InputError, match="set archive_restore_into_empty to true"):
        restore(placed)
    outcome = predicted_and_done(placed, into_empty=True)
    assert len(outcome.of("restored")) == len(placed.contents)
    assert {key: placed.objects.get(key) for key in placed.contents} == placed.contents


def test_wishes_that_exclude_each_other(stored: Documents) -> None:
    with pytest.raises(InputError, match="into_empty and remove_rows exclude each other"):
        prepared(stored, into_empty=True, **ROWS)
    with pytest.raises(InputError, match="set rebuild_index too"):
        prepared(stored, remove_rows=True)


def test_what_cannot_be_proved_is_not_restored(stored: Documents) -> None:
    stored.execute("UPDATE documents SET digest = NULL WHERE storage_key = %s", [GONE])
    stored.objects.delete(GONE)
    outcome = predicted_and_done(stored)
    assert "the index has no usable md5 of it, so no copy can be proved" in outcome.errors[0]
    assert GONE not in stored.objects.contents()


def test_a_row_that_changed_meanwhile_is_left_alone(stored: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    stored.objects.put(FLIPPED, of_other_content(stored.contents[FLIPPED]))
    restoring = prepared(stored)
    ask = restoring._ask_sources

    def meanwhile() -> None:
        stored.execute("UPDATE documents SET digest = repeat('0', 32) WHERE storage_key = %s", [FLIPPED])
        ask()

    monkeypatch.setattr(restoring, "_ask_sources", meanwhile)
    outcome = restoring.run()
    assert (outcome.actions(), [one.key for one in outcome.of("left")]) == ([], [FLIPPED])


def test_files_get_owner_and_mode(filed: Documents) -> None:
    root = Path(filed.declared["objects"]["path"])
    filed.objects.delete(GONE)
    short = PLAIN[0]
    (root / short).write_bytes(b"short")
    (root / short).chmod(0o640)
    (root / "2025/01").chmod(0o2775)
    owner = 65534 if os.geteuid() == 0 else os.geteuid()
    if os.geteuid() == 0:
        os.chown(root / "2025/01", 1234, 2345)
        os.chown(root / short, owner, owner)
    restore(filed)
    told = {key: (root / key).stat() for key in (short, GONE)}
    assert (stat.S_IMODE(told[short].st_mode), told[short].st_uid) == (0o640, owner)
    assert stat.S_IMODE(told[GONE].st_mode) == 0o664
    if os.geteuid() == 0:
        assert (told[GONE].st_uid, told[GONE].st_gid) == (1234, 2345)
    assert {key: filed.objects.get(key) for key in filed.contents} == filed.contents


def test_a_directory_that_is_gone_is_made_like_the_one_it_is_in(filed: Documents) -> None:
    root = Path(filed.declared["objects"]["path"])
    for key in PLAIN[:5]:
        filed.objects.delete(key)
    (root / "2025/01").rmdir()
    (root / "2025").chmod(0o750)
    assert len(restore(filed).of("restored")) == 5
    assert stat.S_IMODE((root / "2025/01").stat().st_mode) == 0o750


@pytest.mark.parametrize("key", [GONE, FLIPPED])
def test_a_file_that_the_application_writes_in_the_last_moment(
    filed: Documents, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    filed.objects.delete(key) if key == GONE else filed.objects.put(key, b"damaged")
    restoring = prepared(filed)
    place = restoring._archive.objects
    publish: Callable[..., Any] = place._publish  # type: ignore[attr-defined]

    def raced(*arguments: Any) -> Any:
        filed.objects.put(key, b"from the application")
        return publish(*arguments)

    monkeypatch.setattr(place, "_publish", raced)
    outcome = restoring.run()
    assert (outcome.actions(), [one.key for one in outcome.of("left")]) == ([], [key])
    assert filed.objects.get(key) == b"from the application"
    assert not [name for name in filed.objects.contents() if name.endswith(PARTIAL)]


def test_a_file_system_without_links(filed: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_arguments: Any, **_more: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    filed.objects.delete(GONE)
    outcome = restore(filed)
    assert done(outcome) == [("restore", GONE)] and any("no hard links" in note for note in outcome.notes)
    assert filed.objects.get(GONE) == filed.contents[GONE]


def test_no_key_and_no_link_leads_out_of_the_directory(filed: Documents, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root = Path(filed.declared["objects"]["path"])
    (root / "linked").symlink_to(outside)
    planted = documents(["../outside/planted", str(outside / "planted"), "linked/planted"])
    filed.index(planted)
    copies = filed.copies
    assert isinstance(copies, S3Objects)
    copies.put_all({key: data for key, data in planted.items() if not key.startswith("/")})
    (root / FLIPPED).unlink()
    (root / FLIPPED).symlink_to(outside / "target")
    outcome = restore(filed)
    assert list(outside.iterdir()) == []
    assert {one.key for one in outcome.of("failed")} == set(planted)
    assert done(outcome) == [("restore", FLIPPED)] and not (root / FLIPPED).is_symlink()
    assert filed.objects.get(FLIPPED) == filed.contents[FLIPPED]


def test_what_a_killed_run_left_is_swept(filed: Documents) -> None:
    """The file of a run that lives is held by it; of one that is dead, by nobody."""
    root = Path(filed.declared["objects"]["path"])
    held, dead = root / f"2025/.{'a' * 16}{PARTIAL}", root / f"2025/.{'d' * 16}{PARTIAL}"
    theirs = root / f"2025/report{PARTIAL}"
    for file in (held, dead, theirs):
        file.touch()
    holder = subprocess.Popen(
        [sys.executable, "-c", "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, 2); print(flush=True); input()", str(held)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout and holder.stdout.readline()
    restore(filed, check=True)
    assert dead.exists()
    outcome = restore(filed)
    assert (held.exists(), dead.exists(), theirs.exists(), outcome.actions()) == (True, False, True, [])
    holder.communicate(b"\n")


def test_actions_are_capped(stored: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restores, "LISTED", 2)
    for key in PLAIN[:5]:
        stored.objects.delete(key)
    outcome = predicted_and_done(stored)
    assert done(outcome) == [("restore", PLAIN[0]), ("restore", PLAIN[1]), ("restore", "3 more")]
    assert outcome.to_dict()["counts"]["restored"] == 5


def test_a_directory_as_source(stored: Documents, tmp_path: Path) -> None:
    copies = Files({"type": "local", "path": str(tmp_path)})
    copies.put_all(stored.contents)
    damage(stored)
    opened = stored.archive(sources=[copies.declared])
    assert len(restore(stored, archive=opened).of("restored")) == 3
    assert {key: stored.objects.get(key) for key in stored.contents} == stored.contents
