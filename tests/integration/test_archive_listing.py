# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket is listed the short way, and from where that meets anything odd the long one, to the same objects in their order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._archive import listing, short_way
from ansible_collections.runbook.ops.plugins.module_utils._archive.base import Found
from ansible_collections.runbook.ops.plugins.module_utils._archive.bucket import ArchiveBucket
from ansible_collections.runbook.ops.plugins.module_utils._archive.declared import place_of as declared_place
from ansible_collections.runbook.ops.plugins.module_utils._errors import StoreError
from support.archives import AWKWARD, S3Objects, documents, new_bucket
from support.processes import until
from support.s3_proxy import Answer, Cut, Reply, S3Proxy

from lab.embedded.servers import S3Server, start_s3

PLAIN = tuple(f"2020/{number:02}.pdf" for number in range(12))


PAGE = 3
BOUNDARIES = PLAIN[PAGE - 1 : -1 : PAGE]


@pytest.fixture(scope="module")
def small_pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server that gives so many keys at once."""
    directory = tmp_path_factory.mktemp("s3")
    directory.chmod(0o711)  # another account's server must get through
    server = start_s3(directory, page=PAGE)
    yield server
    server.stop()


@pytest.fixture
def objects(small_pages: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Objects:
    for module in (listing, short_way):
        monkeypatch.setattr(module, "PAGE", PAGE)
    return S3Objects(new_bucket(small_pages))


def place_of(objects: S3Objects, **changes: Any) -> ArchiveBucket:
    place = declared_place("archive.objects", {**objects.declared, **changes})
    assert isinstance(place, ArchiveBucket)
    return place


def listed(
    place: ArchiveBucket, *boundaries: str, last: str | None = PLAIN[-1], quick: bool = True, begun: bool = True
) -> list[Found]:
    if begun:
        place.begin(quick=quick)
    return [found._replace(storage_class=None) for page in place.pages(boundaries, last) for found in page]


def went_long(place: ArchiveBucket) -> bool:
    return "_client" in vars(place._bucket)


def started_after(proxy: S3Proxy) -> list[str]:
    """Behind which key each request began."""
    return [parse_qs(urlsplit(request.path).query).get("start-after", [""])[0] for request in proxy.requests]


def tokens(proxy: S3Proxy) -> int:
    return sum("continuation-token" in request.path for request in proxy.requests)


@pytest.mark.parametrize("boundaries", [(), BOUNDARIES, (PLAIN[PAGE - 1], PLAIN[3 * PAGE - 1])])
def test_plain_objects_are_listed_without_botocore(
    objects: S3Objects, monkeypatch: pytest.MonkeyPatch, boundaries: tuple[str, ...]
) -> None:
    monkeypatch.setattr(listing, "_HEAD_PAGES", 1)
    objects.put_all(documents(PLAIN))
    with S3Proxy(objects.declared["endpoint_url"]) as proxy:
        place = place_of(objects, endpoint_url=proxy.endpoint_url)
        found = listed(place, *boundaries)
        assert [one.key for one in found] == list(PLAIN) and not went_long(place)
        behind_the_last = 0 if boundaries else 1  # nobody knows yet that it is the last, as it is full
        assert proxy.count("ListObjectsV2") == len(proxy.requests) == len(PLAIN) // PAGE + behind_the_last
        assert tokens(proxy) == 0
    with S3Proxy(objects.declared["endpoint_url"]) as proxy:
        assert found == listed(place_of(objects, endpoint_url=proxy.endpoint_url), quick=False)
        assert tokens(proxy) == len(PLAIN) // PAGE - 1, "so one would have been seen"


def test_a_page_that_ends_with_an_odd_key_is_gone_on_from(objects: S3Objects) -> None:
    objects.put_all(documents([*PLAIN, "2020/01\N{LATIN SMALL LETTER E WITH ACUTE}.pdf"]))
    with S3Proxy(objects.declared["endpoint_url"]) as proxy:
        place = place_of(objects, endpoint_url=proxy.endpoint_url)
        assert len(listed(place)) == len(PLAIN) + 1 and not went_long(place)
        assert tokens(proxy) == 1


@pytest.mark.parametrize("came", range(1, 6))
def test_what_came_before_the_boundaries_is_not_asked_for_again(
    objects: S3Objects, monkeypatch: pytest.MonkeyPatch, came: int
) -> None:
    """The index may take any time to be opened."""
    monkeypatch.setattr(listing, "_HEAD_PAGES", came)
    objects.put_all(documents(PLAIN))
    with S3Proxy(objects.declared["endpoint_url"]) as proxy:
        place = place_of(objects, endpoint_url=proxy.endpoint_url)
        place.begin(quick=True)
        until(lambda: len(proxy.requests) >= min(came, len(PLAIN) // PAGE))
        assert [found.key for page in place.pages(BOUNDARIES, PLAIN[-1]) for found in page] == list(PLAIN)
        asked = started_after(proxy)
        assert len(set(asked)) == len(asked) <= len(PLAIN) // PAGE + 1


@pytest.mark.parametrize("odd", [*AWKWARD, "2020/03.pdf//x", "2020/./x", "2020/05.pdf/x"])
def test_odd_keys_are_among_the_others(objects: S3Objects, odd: str) -> None:
    objects.put_all(documents([*PLAIN, odd]))
    found = listed(place_of(objects), *sorted({"2020/03.pdf", "2020/07.pdf", odd}, key=str.encode)[:-1])
    assert [one.key for one in found] == sorted([*PLAIN, odd], key=str.encode)
    assert found == listed(place_of(objects), quick=False)


@pytest.mark.parametrize(
    ("folder", "data", "beside"),
    [
        ("2023/", b"", "2024"),
        ("2020/", b"", "2024"),
        ("/", b"", "2024"),
        ("2021/", b"with something in it", "2021/x"),
        ("2022/", b"with something in it", "2022-x"),
    ],
)
def test_what_shows_a_folder_is_no_object(objects: S3Objects, folder: str, data: bytes, beside: str) -> None:
    objects.put_all({**documents([*PLAIN, beside]), folder: data})
    place = place_of(objects)
    found = listed(place)
    assert went_long(place) and len(found) == len(PLAIN) + 1
    assert found == listed(place_of(objects), quick=False)


def test_what_shows_a_folder_is_none_behind_a_boundary_either(
    objects: S3Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_HEAD_PAGES", 1)
    objects.put_all({**documents([*PLAIN, "2022-x"]), "2022/": b"with something in it"})
    assert [one.key for one in listed(place_of(objects), "2022-x", last="2022-x")] == [*PLAIN, "2022-x"]


def test_an_object_of_no_bytes_is_one(objects: S3Objects) -> None:
    objects.put_all({**documents(PLAIN), "2020/empty": b""})
    assert "2020/empty" in [one.key for one in listed(place_of(objects))]


FAULTS = [
    Cut(of="response"), Answer(503, "SlowDown"), Reply(b"<Lis"),
    *map(Reply, (b"<html/>", b"<Error><Code>AccessDenied</Code></Error>", b"<!DOCTYPE html><html><body/></html>")),
]  # fmt: skip
"""obstore takes the last three for an empty page, the last one."""


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("skip", range(len(PLAIN) // PAGE))
@pytest.mark.parametrize("boundaries", [(), BOUNDARIES])
def test_a_fault_is_gone_on_from(objects: S3Objects, fault: Any, skip: int, boundaries: tuple[str, ...]) -> None:
    objects.put_all(documents(PLAIN))
    with S3Proxy(objects.declared["endpoint_url"]) as proxy:
        proxy.inject("ListObjectsV2", fault, skip=skip, times=1)
        place = place_of(objects, endpoint_url=proxy.endpoint_url)
        assert [one.key for one in listed(place, *boundaries)] == list(PLAIN) and went_long(place)


@pytest.mark.parametrize("last", [None, PLAIN[0], PLAIN[-1]])
def test_what_lies_behind_the_index_is_not_taken_for_the_end(objects: S3Objects, last: str | None) -> None:
    objects.put_all(documents(PLAIN))
    with S3Proxy(objects.declared["endpoint_url"]) as proxy:
        proxy.inject("ListObjectsV2", Reply(b"<html/>"), skip=2, times=1)
        found = listed(place_of(objects, endpoint_url=proxy.endpoint_url), last=last)
    assert [one.key for one in found] == list(PLAIN)


def test_a_page_fetched_ahead_is_used_once(objects: S3Objects) -> None:
    objects.put_all(documents(PLAIN))
    place = place_of(objects)
    assert listed(place, quick=False) == listed(place, begun=False) and len(listed(place)) == len(PLAIN)


def test_what_was_begun_ends_when_it_is_not_wanted(objects: S3Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_HEAD_PAGES", 1 << 30)
    monkeypatch.setattr(listing.Listing, "_all", lambda *_, **__: (time.sleep(0.01) or [] for _page in range(3000)))
    place = place_of(objects)
    place.begin(quick=True)
    place.end()
    assert place._listing._begun and len(place._listing._begun.result(timeout=10).pages) < 1000


def test_keys_that_begin_with_a_slash_keep_it(small_pages: S3Server) -> None:
    objects = S3Objects(new_bucket(small_pages, prefix=""))
    objects.put_all(documents(["/1", "/2"]))
    assert [one.key for one in listed(place_of(objects), last="/2")] == ["/1", "/2"]


def test_a_fault_that_stays_is_said_as_ever(objects: S3Objects) -> None:
    with S3Proxy(objects.declared["endpoint_url"]) as proxy:
        proxy.inject("ListObjectsV2", Answer(403, "AccessDenied"))
        with pytest.raises(StoreError, match="s3:ListBucket"):
            listed(place_of(objects, endpoint_url=proxy.endpoint_url))


def test_without_declared_keys_the_chain_is_asked(objects: S3Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    objects.put_all(documents(PLAIN))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", objects.declared["access_key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", objects.declared["secret_key"])
    place = place_of(objects, access_key=None, secret_key=None)
    assert [one.key for one in listed(place)] == list(PLAIN) and not went_long(place)


@pytest.mark.parametrize("quick", [True, False])
def test_half_a_login_of_the_environment_is_told(
    objects: S3Objects, monkeypatch: pytest.MonkeyPatch, quick: bool
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "half")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    with pytest.raises(StoreError, match=r"setting up the connection|listing all"):
        listed(place_of(objects, access_key=None, secret_key=None), quick=quick)


@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"])
def test_a_bundle_without_a_certificate_is_botocore_s_affair(
    objects: S3Objects, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "ca.pem").write_bytes(content)
    objects.put_all(documents(PLAIN))
    place = place_of(objects, aws_ca_bundle=str(tmp_path / "ca.pem"))
    assert len(listed(place)) == len(PLAIN) and went_long(place)
