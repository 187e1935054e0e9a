# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verification of a document archive against rclone's, which is given the same checksums in a file: no database to ask.

Both are whole processes, and the S3 server is MinIO, which answers as fast as it is asked.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sysconfig
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ansible_collections.runbook.ops.plugins.module_utils._archive.verify import Verification
from support.archives import Documents, S3Objects, archive, new_bucket
from support.s3_proxy import S3Proxy

from lab import minio

from . import laboratory
from .laboratory import Scale
from .module import run_module
from .pairs import Contestant, take_turns
from .rows import Row, at_most, faster

_BYTES = 2000
_WRITERS = 8
_RCLONE = Path(sysconfig.get_path("scripts"), "rclone")


def measure(scale: Scale) -> Iterator[Row]:
    with laboratory.workplace() as place, laboratory.postgres() as postgres:
        server = minio.start(place / "minio")
        try:
            with archive(postgres, new_bucket(server), []) as made:
                sums = _filled(made, scale.archived_objects, place)
                yield from _against_rclone(made, sums, scale)
                yield _requests(made)
        finally:
            server.stop()


def _filled(made: Documents, number: int, place: Path) -> Path:
    """Objects and rows; returns a file of their MD5s as rclone reads it."""
    generator = random.Random(number)
    documents = {
        f"{2020 + n % 5}/{n % 12 + 1:02}/{n:06}.pdf": generator.randbytes(_BYTES) for n in range(number)
    }  # fmt: skip
    made.index(documents)
    objects = made.objects
    assert isinstance(objects, S3Objects)
    client = objects.client
    with ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(lambda key: client.put_object(**objects.name(key), Body=documents[key]), documents))
    sums = place / "documents.md5"
    lines = (f"{hashlib.md5(data).hexdigest()}  {key}\n" for key, data in documents.items())
    sums.write_text("".join(lines), encoding="utf-8")
    return sums


def _against_rclone(made: Documents, sums: Path, scale: Scale) -> Iterator[Row]:
    number = len(made.contents)
    for mode, options, rounds in (("quick", (), scale.rounds), ("deep", ("--download",), scale.rare_rounds)):
        ours = Contestant("archive_verification", lambda mode=mode: _ours(made, mode), rounds)
        theirs = Contestant("rclone", lambda options=options: _theirs(made, sums, *options), rounds)
        take_turns(f"{number:,} documents, {mode}", ours, theirs)
        against = " ".join(["rclone check", *options])
        yield faster(ours, theirs, f"Archive of {number:,} documents, verified {mode} against `{against}`", 1.0)


def _ours(made: Documents, mode: str) -> float:
    ran = run_module("archive_verification", {"archive": made.declared, "mode": mode})
    if ran.result["report"]["counts"]["by_checksum"] != len(made.contents):
        raise SystemExit(f"archive_verification saw something else: {ran.result['report']['counts']}")
    return ran.seconds


def _theirs(made: Documents, sums: Path, *options: str) -> float:
    declared = made.declared["objects"]
    started = time.monotonic()
    ended = subprocess.run(
        [_RCLONE, "check", "--config", os.devnull, "--checkfile", "md5", sums,
         f"A:{declared['bucket']}/{declared['prefix']}", *options],
        env={**os.environ, **_remote(declared)}, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    seconds = time.monotonic() - started
    if ended.returncode != 0 or f"{len(made.contents)} matching files" not in ended.stderr:
        raise SystemExit(f"rclone saw something else: {ended.stderr[-2000:]}")
    return seconds


def _remote(declared: Mapping[str, str]) -> dict[str, str]:
    """A remote of rclone's, by its environment."""
    values = {
        "TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": declared["endpoint_url"], "REGION": declared["region"],
        "ACCESS_KEY_ID": declared["access_key"], "SECRET_ACCESS_KEY": declared["secret_key"],
    }  # fmt: skip
    return {f"RCLONE_CONFIG_A_{name}": value for name, value in values.items()}


def _requests(made: Documents) -> Row:
    with S3Proxy(made.declared["objects"]["endpoint_url"]) as proxy:
        objects = {**made.declared["objects"], "endpoint_url": proxy.endpoint_url}
        Verification(made.archive(objects=objects), deep=False).run()
    number = len(made.contents)
    pages = -(-number // 1000)
    return at_most(
        f"Archive of {number:,} documents, verified quick: requests, list pages all", len(proxy.requests), pages, ""
    )
