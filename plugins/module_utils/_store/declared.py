# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an operator's description of a store to the store."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from .._errors import InputError
from ._keys import segments
from ._s3_bucket import PATIENCE, Credentials, Patience
from .base import Store
from .local import LocalStore
from .s3 import S3Store

_KEYS = {
    "local": ("path",),
    "s3": (
        "bucket", "prefix", "region", "endpoint_url", "profile", "access_key", "secret_key", "session_token",
        "aws_ca_bundle", "validate_certs",
    ),
}  # fmt: skip
_BUCKET = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._-]{1,254}\Z")
_URL = re.compile(r"\Ahttps?://[^/?#@\s]+/?\Z")


def store_of(variable: str, declared: Mapping[str, Any], patience: Patience = PATIENCE) -> Store:
    """The store that ``variable`` describes; ``InputError`` names the key that is wrong and the remedy.

    An absent key, ``None`` and the default are the same. Keys that are no store's (a policy) are others' business.
    """
    kind = declared.get("type")
    if kind not in _KEYS:
        raise InputError(f"{variable}.type is {kind!r}: write local or s3.")
    for other in (key for name, keys in _KEYS.items() if name != kind for key in keys):
        if declared.get(other) not in (None, "", True):
            raise InputError(f"{variable}.{other} means nothing for a store of type {kind}: remove it.")
    return _local(variable, declared) if kind == "local" else _s3(variable, declared, patience)


def _local(variable: str, declared: Mapping[str, Any]) -> LocalStore:
    path = declared.get("path")
    if not isinstance(path, str) or not os.path.isabs(path) or os.path.normpath(path) in ("/", "//"):
        raise InputError(f"{variable}.path is {path!r}: write the absolute path of a directory for the backups.")
    if "\0" in path or "\n" in path:
        raise InputError(f"{variable}.path is {path!r}: a path holds no control characters.")
    return LocalStore(path)


def _s3(variable: str, declared: Mapping[str, Any], patience: Patience) -> S3Store:
    bucket = declared.get("bucket")
    if not isinstance(bucket, str) or not _BUCKET.match(bucket):
        raise InputError(f"{variable}.bucket is {bucket!r}: write the name of a bucket, without s3:// and prefix.")
    endpoint_url = declared.get("endpoint_url")
    if endpoint_url is not None and not _is_address(str(endpoint_url)):
        raise InputError(
            f"{variable}.endpoint_url is not an address such as https://s3.example.org, without credentials in it."
        )
    return S3Store(
        bucket, _prefix(variable, declared.get("prefix") or ""), region=declared.get("region"), endpoint_url=endpoint_url,
        credentials=_credentials(variable, declared), verify=_verify(variable, declared), variable=f"{variable}.bucket",
        patience=patience,
    )  # fmt: skip


def _is_address(url: str) -> bool:
    try:
        return _URL.match(url) is not None and urlsplit(url).port != 0
    except ValueError:  # brackets without an IPv6 address in them, a port that there is not
        return False


def _prefix(variable: str, prefix: str) -> str:
    path = prefix.strip("/")
    try:
        if path:
            segments(path)
    except ValueError as error:
        raise InputError(
            f"{variable}.prefix is {prefix!r} ({error}): write plain names with '/' between them."
        ) from None
    return path


def _credentials(variable: str, declared: Mapping[str, Any]) -> Credentials:
    given = {name: declared.get(name) for name in ("profile", "access_key", "secret_key", "session_token")}
    if bool(given["access_key"]) != bool(given["secret_key"]):
        missing = "secret_key" if given["access_key"] else "access_key"
        raise InputError(f"{variable}.{missing} is missing: give both access_key and secret_key, or neither.")
    if given["session_token"] and not given["access_key"]:
        raise InputError(f"{variable}.session_token is given without access_key and secret_key: give all three.")
    if given["profile"] and given["access_key"]:
        raise InputError(f"{variable}.profile and {variable}.access_key exclude each other: give one of them.")
    for name, value in given.items():
        if value and not str(value).isprintable():
            raise InputError(f"{variable}.{name} holds a line break or another control character: correct it.")
    return Credentials(**given)


def _verify(variable: str, declared: Mapping[str, Any]) -> bool | str:
    bundle = declared.get("aws_ca_bundle")
    if declared.get("validate_certs") is False:
        if bundle is not None:
            raise InputError(f"{variable}.aws_ca_bundle is of no use with validate_certs: false: remove one of them.")
        return False
    if bundle is None:
        return True
    if not os.path.isfile(bundle):
        raise InputError(f"{variable}.aws_ca_bundle is {bundle!r}, which is no file on this host.")
    return str(bundle)
