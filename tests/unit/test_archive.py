# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a key, and who belongs to whom: tables and properties. How a list page is read."""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

import pytest
from ansible_collections.runbook.ops.plugins.module_utils._archive.base import Found, Row
from ansible_collections.runbook.ops.plugins.module_utils._archive.compare import (
    Disordered,
    judge,
    pairs,
    place_of,
)
from ansible_collections.runbook.ops.plugins.module_utils._archive.declared import archive_of
from ansible_collections.runbook.ops.plugins.module_utils._archive.listing import Listing
from ansible_collections.runbook.ops.plugins.module_utils._archive.paths import components
from ansible_collections.runbook.ops.plugins.module_utils._archive.report import printable
from ansible_collections.runbook.ops.plugins.module_utils._archive.short_way import ShortWay
from ansible_collections.runbook.ops.plugins.module_utils._errors import InputError, Refused
from ansible_collections.runbook.ops.plugins.module_utils._runtime.local import LocalRuntime
from ansible_collections.runbook.ops.plugins.module_utils._store.declared import store_of
from ansible_collections.runbook.ops.plugins.module_utils._store.s3 import S3Store
from hypothesis import given
from hypothesis import strategies as st

A, B = "a" * 32, "b" * 32


def row(size: int | None = 5, checksum: str | None = A) -> Row:
    return Row("k", size, checksum)


@pytest.mark.parametrize(
    ("rows", "size", "digest", "expected"),
    [
        ([], 5, None, ("extra", "")),
        ([row()], None, None, ("missing", "")),
        ([row()], 5, A, ("good", "checksum")),
        ([row()], 5, None, ("good", "size")),
        ([row(checksum=None)], 5, A, ("good", "size")),
        ([row(checksum="")], 5, A, ("good", "size")),
        ([row(checksum="z" * 32)], 5, A, ("good", "size")),
        ([row(checksum="a" * 64)], 5, A, ("good", "size")),
        ([row(None)], 5, A, ("good", "checksum")),
        ([row(None, None)], 5, A, ("good", "existence")),
        ([row()], 4, A, ("damaged", "")),
        ([row()], 4, None, ("damaged", "")),
        ([row()], 5, B, ("damaged", "")),
        ([row(None)], 5, B, ("damaged", "")),
        ([row(None, None)], -1, None, ("damaged", "")),
        ([row(), row()], 5, A, ("good", "checksum")),
        ([row(), row(6)], 5, A, ("contradictory", "")),
        ([row(), row(checksum=B)], None, None, ("contradictory", "")),
        ([row(0, None)], 0, None, ("good", "size")),
    ],
)
def test_what_is_said_of_a_key(
    rows: list[Row], size: int | None, digest: str | None, expected: tuple[str, str]
) -> None:
    found = None if size is None else Found("k", size, "tag")
    verdict = judge(rows, found, digest, "md5")
    assert (verdict.state, verdict.proof) == expected
    assert bool(verdict.reason) == (verdict.state != "good")


KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6)


@given(st.lists(KEYS, max_size=30), st.lists(KEYS, max_size=30))
def test_every_key_comes_once_with_all_that_is_its_own(indexed: list[str], stored: list[str]) -> None:
    rows = [Row(key, number, None) for number, key in enumerate(sorted(indexed, key=place_of))]
    objects = [Found(key, 0, "t") for key in sorted(set(stored), key=place_of)]
    expected: dict[str, tuple[list[Row], Found | None]] = {}
    of_rows = defaultdict(list)
    for one in rows:
        of_rows[one.key].append(one)
    by_key = {found.key: found for found in objects}
    for key in {*indexed, *stored}:
        expected[key] = (of_rows[key], by_key.get(key))
    paired = list(pairs(rows, objects))
    keys = [group[0].key if group else found.key for group, found in paired if group or found]
    assert keys == sorted(expected, key=place_of)
    assert dict(zip(keys, paired, strict=True)) == expected


@pytest.mark.parametrize("keys", [["b", "a"], ["\U0001f4c4", "\ufb01"], ["a/b", "a.b"]])
def test_another_order_is_refused(keys: list[str]) -> None:
    """UTF-16 sorts a pictogram before a ligature; a directory bucket sorts as it likes."""
    with pytest.raises(Disordered, match="not the order of bytes"):
        list(pairs([], [Found(key, 0, "t") for key in keys]))
    with pytest.raises(Disordered, match="not the order of bytes"):
        list(pairs([Row(key, 0, None) for key in keys], []))


def test_a_key_twice_in_a_listing_is_refused() -> None:
    with pytest.raises(Disordered):
        list(pairs([], [Found("a", 0, "t"), Found("a", 0, "t")]))


def page(
    *entries: str, namespace: str = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"', encoding: str = "url"
) -> bytes:
    encoded = f"<EncodingType>{encoding}</EncodingType>" if encoding else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult{namespace}><Name>b</Name>{encoded}'
        f"<IsTruncated>true</IsTruncated><NextContinuationToken>next</NextContinuationToken>{''.join(entries)}</ListBucketResult>"
    ).encode()


def contents(key: str, tag: str = f"&quot;{A}&quot;", storage_class: str = "STANDARD") -> str:
    return (
        f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>{tag}</ETag><Size>7</Size>"
        f"<StorageClass>{storage_class}</StorageClass></Contents>"
    )


def parsed(body: bytes, status: int = 200) -> tuple[Any, bytes]:
    store = store_of("s", {"type": "s3", "bucket": "bucket", "prefix": "docs"})
    assert isinstance(store, S3Store)
    answer: dict[str, Any] = {"status_code": status, "body": body}
    taken: dict[str, Any] = {}
    Listing(store.bucket, ShortWay(store.bucket))._parse(answer, taken)
    return taken.get("Lean"), answer["body"]


@pytest.mark.parametrize(
    "key", ["a b", "new\nline", "q'uo\"te<&>", "Übergabe", "plus+and%", "\x01\x02", "漢字/\U0001f4c4", "../x"]
)
@pytest.mark.parametrize("quoted", [quote, lambda key: quote(key).replace("%20", "+")], ids=["percent", "plus"])
@pytest.mark.parametrize("namespace", ["", ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'])
def test_a_key_of_a_list_page(key: str, quoted: Any, namespace: str) -> None:
    (objects, token), rest = parsed(page(contents(quoted(f"docs/{key}")), namespace=namespace))
    assert objects == [Found(key, 7, A, A, "STANDARD")]
    assert (token, rest) == ("next", b"<ListBucketResult/>")


def test_an_endpoint_that_does_not_encode_keys() -> None:
    (objects, _token), _rest = parsed(page(contents(escape("docs/a+b%41<&>")), encoding=""))
    assert [found.key for found in objects] == ["a+b%41<&>"]


def test_what_a_list_page_says_of_objects() -> None:
    (objects, _token), _rest = parsed(
        page(contents("docs/a", tag=f'"{A}-3"'), contents("docs/b", storage_class="GLACIER"), contents("docs/folder/"))
    )
    assert [(found.key, found.md5, found.archived) for found in objects] == [("a", None, False), ("b", A, True)]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"<html><body/></html>", 200),
        (b"no XML", 200),
        (b"<ListBucketResult><Contents>", 200),
        (page(contents("docs/a")), 503),
    ],
)
def test_what_is_no_list_page_is_left_to_botocore(body: bytes, status: int) -> None:
    assert parsed(body, status) == (None, body)


@pytest.mark.parametrize(
    "key", ["../x", "a/../../x", "/etc/passwd", "a//b", "a/./b", "", "a\0b", "a/", ".0123456789abcdef.runbook-partial"]
)
def test_a_key_that_leads_out_of_the_directory(key: str) -> None:
    with pytest.raises(Refused, match="cannot be a file below the directory"):
        components("local:/data", key)


def test_a_key_is_shown_as_one_line() -> None:
    assert printable("a\nb\x1b[2J\udcff Übergabe") == "a\\nb\\x1b[2J\\xff Übergabe"


DECLARED: dict[str, Any] = {
    "database": {"name": "erp"},
    "table": "documents",
    "columns": {"key": "k", "size": "s", "checksum": "c"},
    "objects": {"type": "local", "path": "/data/archives"},
}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"database": {}}, "archive.database.name is empty: give the name"),
        ({"database": {"name": "erp", "port": 0}}, "archive.database.port is 0, which is no TCP port"),
        ({"table": ""}, "archive.table is '': write the table"),
        ({"table": "a.b.c"}, "archive.table is 'a.b.c': write the table"),
        ({"columns": {"key": "k", "size": "s"}}, "archive.columns.checksum is empty"),
        ({"columns": {"key": "k", "size": "k", "checksum": "c"}}, "archive.columns names 'k' twice"),
        ({"checksum": "crc32"}, "archive.checksum is 'crc32': write one of md5, sha1, sha256, sha512"),
        ({"objects": {}}, "archive.objects.type is None: write local or s3"),
        ({"objects": {"type": "s3"}}, "archive.objects.bucket is None"),
        ({"sources": [{"type": "s3", "bucket": "b b"}]}, "archive.sources[0].bucket is 'b b'"),
        ({"sources": [DECLARED["objects"]]}, "archive.sources[0] is local:/data/archives, which is named before it already"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_description(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        archive_of("archive", {**DECLARED, **changes}, LocalRuntime())
    assert str(caught.value).startswith(sentence)
