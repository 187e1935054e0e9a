# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive's objects are read the short way, and whatever is not plain the long one, to the same bytes."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._archive import reading
from ansible_collections.runbook.ops.plugins.module_utils._archive.base import Found
from ansible_collections.runbook.ops.plugins.module_utils._archive.bucket import ArchiveBucket
from ansible_collections.runbook.ops.plugins.module_utils._archive.declared import place_of as declared_place
from ansible_collections.runbook.ops.plugins.module_utils._errors import Changed, NotFound
from ansible_collections.runbook.ops.plugins.module_utils._store._s3_bucket import Patience
from support.archives import AWKWARD, S3Objects, new_bucket
from support.s3_proxy import Cut, S3Proxy, Silence

from lab.embedded.servers import S3Server

DATA = random.Random(1).randbytes(3 << 20)
PLAIN = ("2020/01/a.pdf", "x", "a-b_c/d.e.f/0")


@pytest.fixture
def long_way(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What went it: each key, and from which byte on."""
    went: list[tuple[str, int]] = []

    def read_object(bucket: Any, key: str, which: Any, done: int = 0) -> Iterator[bytes]:
        went.append((key, done))
        return reader(bucket, key, which, done)

    reader = reading.read_object
    monkeypatch.setattr(reading, "read_object", read_object)
    return went


@pytest.fixture(params=[False, True], ids=["plain", "versions"])
def objects(request: pytest.FixtureRequest, s3: S3Server) -> S3Objects:
    return S3Objects(new_bucket(s3, versions=request.param))


def place_of(objects: S3Objects, **changes: Any) -> ArchiveBucket:
    place = declared_place("archive.objects", {**objects.declared, **changes})
    assert isinstance(place, ArchiveBucket)
    return place


def found(place: ArchiveBucket, key: str) -> Found:
    there = place.look(key)
    assert there is not None
    return there


def read(place: ArchiveBucket, there: Found) -> bytes:
    return b"".join(place.read(there))


@pytest.mark.parametrize("key", PLAIN)
def test_plain_keys_go_the_short_way(objects: S3Objects, long_way: list[tuple[str, int]], key: str) -> None:
    objects.put(key, DATA)
    place = place_of(objects)
    assert read(place, found(place, key)) == DATA and long_way == []


@pytest.mark.parametrize("key", ["a//b", "a/./b", "a/../b"])
def test_keys_that_are_no_paths_go_the_long_way(objects: S3Objects, long_way: list[tuple[str, int]], key: str) -> None:
    test_keys_that_somebody_would_write_otherwise_go_the_long_way(objects, long_way, key)


@pytest.mark.parametrize("key", [*AWKWARD, "%2e/b"])
def test_keys_that_somebody_would_write_otherwise_go_the_long_way(
    objects: S3Objects, long_way: list[tuple[str, int]], key: str
) -> None:
    objects.put(key, DATA[:1000])
    place = place_of(objects)
    assert read(place, found(place, key)) == DATA[:1000] and long_way == [(key, 0)]


def test_an_object_that_was_written_meanwhile_is_another(objects: S3Objects) -> None:
    objects.put("x", b"before")
    place = place_of(objects)
    before = found(place, "x")
    objects.put("x", b"after!")
    with pytest.raises(Changed):
        read(place, before)
    objects.delete("x")
    with pytest.raises((Changed, NotFound)):
        read(place, before)


def test_an_older_version_is_read_as_what_it_was(s3: S3Server, long_way: list[tuple[str, int]]) -> None:
    objects = S3Objects(new_bucket(s3, versions=True))
    objects.put("x", b"older")
    objects.put("x", b"newer")
    place = place_of(objects)
    (older,) = place.versions("x")
    assert (read(place, older), read(place, found(place, "x")), long_way) == (b"older", b"newer", [])


def test_keys_that_are_declared_are_mixed_with_none_of_the_environment(
    objects: S3Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects.put("x", DATA[:1000])
    monkeypatch.setenv("AWS_SESSION_TOKEN", "somebody-elses")
    with S3Proxy(objects.declared["endpoint_url"]) as proxy:
        place = place_of(objects, endpoint_url=proxy.endpoint_url)
        assert read(place, found(place, "x")) == DATA[:1000]
        (request,) = (one for one in proxy.requests if one.operation == "GetObject")
    assert "authorization" in request.headers and "x-amz-security-token" not in request.headers


def test_a_server_that_falls_silent_is_waited_for_as_long_as_for_any_answer(
    objects: S3Objects, long_way: list[tuple[str, int]]
) -> None:
    objects.put("x", DATA[:1000])
    with S3Proxy(objects.declared["endpoint_url"]) as proxy:
        place = place_of(objects, endpoint_url=proxy.endpoint_url)
        place._bucket.patience = Patience(read=0.5)
        there = found(place, "x")
        proxy.inject("GetObject", Silence(), times=1)
        begun = time.monotonic()
        assert read(place, there) == DATA[:1000]
    assert long_way == [("x", 0)] and time.monotonic() - begun < 30


def test_a_connection_that_is_cut_is_gone_on_with(objects: S3Objects, long_way: list[tuple[str, int]]) -> None:
    objects.put("x", DATA)
    with S3Proxy(objects.declared["endpoint_url"]) as proxy:
        place = place_of(objects, endpoint_url=proxy.endpoint_url)
        there = found(place, "x")
        proxy.inject("GetObject", Cut(after=2 << 20), times=1)
        assert read(place, there) == DATA
    ((key, done),) = long_way
    assert key == "x" and 0 <= done <= 2 << 20
