# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an S3 endpoint's refusals and a broken network mean, as one sentence with the remedy."""

from __future__ import annotations

from dataclasses import dataclass

from .._errors import Archived, Changed, InputError, NotFound, Refused, RunbookError, StoreError
from .._require import require

_CREDENTIALS = {
    "InvalidAccessKeyId": "the access key is not known there: correct access_key",
    "SignatureDoesNotMatch": "the secret key does not belong to the access key: correct secret_key",
    "ExpiredToken": "the session token has expired: get a new one",
    "ExpiredTokenException": "the session token has expired: get a new one",
    "InvalidToken": "the session token is not valid: get a new one",
    "RequestTimeTooSkewed": "this host's clock and the store's differ too much: set this host's clock",
}
_ARCHIVED = frozenset({"InvalidObjectState", "ObjectNotInActiveTierError"})
_ARCHIVE_REMEDY = (
    "it is archived (GLACIER or DEEP_ARCHIVE): request its restore, wait until S3 has done it, then try again"
)
_ELSEWHERE = frozenset(
    {"301", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
)
_REPLACED = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict"})
_ABSENT = frozenset({"404", "NoSuchKey", "NotFound", "NoSuchVersion"})


@dataclass(frozen=True)
class Place:
    """What the sentences call the bucket; ``variable`` is where the operator wrote its name."""

    label: str
    bucket: str
    variable: str
    endpoint: str
    attempts: int


def translate(error: Exception, place: Place, doing: str, permission: str) -> RunbookError:
    """The domain error for what botocore raised while ``doing`` something that needs ``permission``."""
    if isinstance(error, require("botocore.exceptions", "boto3").ClientError):
        return _answered(error, place, doing, permission)
    return _unanswered(error, place, doing)


def code_of(error: Exception) -> str:
    """The endpoint's code for what it refused, empty when it did not answer."""
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _answered(error: Exception, place: Place, doing: str, permission: str) -> RunbookError:
    response = getattr(error, "response", {})
    code, said = code_of(error), str(response.get("Error", {}).get("Message", ""))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    for codes, kind, sentence in (
        ({"NoSuchBucket"}, NotFound, f"there is no bucket {place.bucket} at {place.endpoint}: create it, or correct {place.variable}"),
        (_ABSENT, NotFound, "it is not there"),
        (_REPLACED, Changed, "it was replaced meanwhile: try again"),
        (_ARCHIVED, Archived, _ARCHIVE_REMEDY),
        (_ELSEWHERE, Refused, f"the bucket {place.bucket} is in another region ({said or code}): set its region"),
        ({"InvalidStorageClass"}, Refused, f"{place.endpoint} does not have this storage class: correct storage_class"),
        ({"NotImplemented", "501"}, Refused, f"{place.endpoint} does not implement it ({said or code})"),
        (_CREDENTIALS, Refused, f"{_CREDENTIALS.get(code)} ({code})"),
    ):  # fmt: skip
        if code in codes:
            return kind(f"{place.label}: {doing} failed: {sentence}.")
    if status == 403:
        return Refused(
            f"{place.label}: {doing} was denied ({code}: {said.rstrip('.')}): "
            f"the credentials need {permission} on the bucket {place.bucket}."
        )
    tries = response.get("ResponseMetadata", {}).get("RetryAttempts", 0) + 1
    return StoreError(
        f"{place.label}: {doing} failed after {tries} {'try' if tries == 1 else 'tries'} "
        f"({status} {code}: {said.rstrip('.')}): see what {place.endpoint} reports."
    )


def _unanswered(error: Exception, place: Place, doing: str) -> RunbookError:
    known = require("botocore.exceptions", "boto3")
    failed = f"{place.label}: {doing} failed"
    if isinstance(error, known.ProfileNotFound | known.InvalidConfigError | known.ConfigParseError):
        return InputError(f"{failed}: the profile cannot be used ({error}): correct profile, or the AWS configuration.")
    if isinstance(error, known.NoCredentialsError | known.PartialCredentialsError | known.CredentialRetrievalError):
        return Refused(f"{failed}: no usable credentials ({error}): give access_key and secret_key, or a profile.")
    if isinstance(error, known.ParamValidationError):
        return InputError(f"{failed}: {place.variable} or the key is not valid ({error}).".replace("\n", " "))
    if isinstance(error, known.SSLError):
        return StoreError(
            f"{failed}: the TLS certificate of {place.endpoint} was not accepted ({error}): set aws_ca_bundle to its authority."
        )
    if isinstance(error, known.FlexibleChecksumError):
        return StoreError(f"{failed}: bytes changed on the way from {place.endpoint} ({error}): try again.")
    return StoreError(
        f"{failed} after up to {place.attempts} tries: {place.endpoint} did not answer in time or cut the connection ({error}): "
        "check the address, the network and the store."
    )
