# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deleting many objects so that they are gone: in a bucket with versions that means each version, by its id.

The order matters there. Older versions go first, then the newest, delete markers last, and a key that refused a step
is left at that: otherwise an old version, or an object that a marker hides, would come back to light.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from .._errors import RunbookError
from ._s3_bucket import Bucket
from .base import DeleteReport

_BATCH = 1000
"""Objects that one request may name."""

_TRANSIENT = frozenset({"InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout"})
_LOCKED = ("lock", "worm")
"""What the messages of Amazon and of MinIO have in common where Object Lock keeps a version; their codes say less."""
_PERMISSION = "s3:DeleteObject (and s3:DeleteObjectVersion where the bucket has versions)"


@dataclass(frozen=True)
class _Victim:
    """One object, or one version of it; ``turn`` is when it may go."""

    key: str
    version: str | None
    size: int
    turn: int = 0


def delete_objects(bucket: Bucket, keys: Iterable[str]) -> DeleteReport:
    """Delete ``keys`` and report what became of each. What is refused as a whole is reported for each key too, since
    some may be gone by then; only a bucket that cannot be asked at all raises."""
    report = DeleteReport()
    wanted = iter(sorted(set(keys), key=str.encode))
    find = _versions if bucket.keeps_versions else _objects
    while batch := list(islice(wanted, _BATCH)):
        try:
            found = list(find(bucket, batch))
            for turn in range(3):
                _delete(bucket, [v for v in found if v.turn == turn and v.key not in report.errors], report)
        except RunbookError as error:
            report.errors.update(dict.fromkeys((*batch, *wanted), str(error)))
            break
        report.deleted += [key for key in batch if key not in report.errors]
    return report


def _objects(bucket: Bucket, keys: Sequence[str]) -> Iterator[_Victim]:
    for key, found in _listed(bucket, keys, "list_objects_v2", "Contents"):
        yield _Victim(key, None, found["Size"])


def _versions(bucket: Bucket, keys: Sequence[str]) -> Iterator[_Victim]:
    for key, found in _listed(bucket, keys, "list_object_versions", "Versions", "DeleteMarkers"):
        marker = "Size" not in found
        turn = 2 if marker else 1 if found["IsLatest"] else 0
        yield _Victim(key, found["VersionId"], 0 if marker else found["Size"], turn)


def _listed(
    bucket: Bucket, keys: Sequence[str], operation: str, *kinds: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What there is of ``keys`` (sorted), with sizes: one walk through the directory that they share, since those that
    are deleted together lie together."""
    shared = os.path.commonpath([os.path.dirname(keys[0]), os.path.dirname(keys[-1])])
    prefix = f"{bucket.prefix}{shared}/" if shared else bucket.prefix
    wanted, last = set(keys), (bucket.prefix + keys[-1]).encode()
    with bucket.asking(f"listing {shared or 'all'}", "s3:ListBucket and s3:ListBucketVersions"):
        for page in bucket.client.get_paginator(operation).paginate(Bucket=bucket.name, Prefix=prefix):
            listed = [found for kind in kinds for found in page.get(kind, ())]
            for found in listed:
                key = found["Key"][len(bucket.prefix) :]
                if key in wanted:
                    yield key, found
            if listed and min(found["Key"].encode() for found in listed) > last:
                return


def _delete(bucket: Bucket, victims: Sequence[_Victim], report: DeleteReport) -> None:
    waiting = list(victims)
    attempts = bucket.patience.attempts
    for attempt in range(attempts):
        again: list[_Victim] = []
        for start in range(0, len(waiting), _BATCH):
            again += _request(bucket, waiting[start : start + _BATCH], report, last=attempt + 1 == attempts)
        if not again:
            return
        bucket.patience.pause(attempt)
        waiting = again


def _request(bucket: Bucket, victims: Sequence[_Victim], report: DeleteReport, *, last: bool) -> list[_Victim]:
    """One request; returns the victims that are worth another."""
    named = [
        {"Key": bucket.prefix + victim.key, **({"VersionId": victim.version} if victim.version else {})}
        for victim in victims
    ]
    with bucket.asking(f"deleting {len(named)} objects", _PERMISSION):
        answer = bucket.client.delete_objects(Bucket=bucket.name, Delete={"Objects": named, "Quiet": False})
    gone = {(found["Key"], found.get("VersionId")): found for found in answer.get("Deleted", ())}
    refused = {found["Key"]: found for found in answer.get("Errors", ())}
    again = []
    for victim, name in zip(victims, named, strict=True):
        confirmed = gone.get((name["Key"], victim.version))
        error = refused.get(name["Key"], {"Code": "NotConfirmed", "Message": "the answer does not mention it"})
        if confirmed and not (victim.version is None and confirmed.get("DeleteMarker")):
            report.freed += victim.size
        elif confirmed:
            report.errors[victim.key] = (
                f"{bucket.label}: {victim.key} is hidden, not gone: the bucket keeps versions, and the credentials lack "
                "s3:GetBucketVersioning, s3:ListBucketVersions or s3:DeleteObjectVersion."
            )
        elif error["Code"] in _TRANSIENT and not last:
            again.append(victim)
        else:
            report.errors[victim.key] = _reason(bucket, victim.key, error)
    return again


def _reason(bucket: Bucket, key: str, error: Mapping[str, str]) -> str:
    code, message = error.get("Code", ""), error.get("Message", "").rstrip(".")
    if any(word in message.lower() for word in _LOCKED):
        remedy = "it stays until its retention or legal hold ends"
    elif code == "AccessDenied":
        remedy = f"Object Lock keeps it, or the credentials need {_PERMISSION}"
    else:
        remedy = f"see what {bucket.place.endpoint} reports"
    return f"{bucket.label}: {key} was not deleted ({code}: {message}): {remedy}."
