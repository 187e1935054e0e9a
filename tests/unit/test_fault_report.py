# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault that protection must survive has a test that puts a row into the report of faults."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

COMPUTED = "…"
"""Stands for what only a run knows, such as a number."""

PROMISED = {
    "wrong password": ["wrong password"],
    "unreachable server": ["unreachable server"],
    "missing database": ["missing database"],
    "client older than server": ["client older than the server"],
    "unknown policy key": ["bad input: unknown key"],
    "within 0d": ["bad input: zero window"],
    "negative count": ["bad input: negative count"],
    "empty policy": ["bad input: empty policy"],
    "future-dated manifest": ["manifest dated in the future (local)", "manifest dated in the future (s3)"],
    "unreadable manifest": ["unreadable manifest (local)", "unreadable manifest (s3)"],
    "manifest of format 2": ["manifest of format 2 (local)", "manifest of format 2 (s3)"],
    "id or name with a slash, dots or newline": [
        f"bad input: {what} with {sign}" for what in ("id", "name") for sign in ("slash", "dots", "newline")
    ],
    "S3 403": ["S3 listing: AccessDenied", "S3 writing: 403 at UploadPart"],
    "S3 without the bucket": ["S3 listing: NoSuchBucket"],
    "S3 500": ["S3 listing: InternalError", "S3 writing: 500 at UploadPart"],
    "S3 slow": ["S3 writing: silence at UploadPart", "S3 writing: a part that crawls"],
    "connection cut mid-part": ["S3 writing: cut at UploadPart"],
    "disk full at each phase": [
        *(f"the store's disk is full ({phase})" for phase in ("preflight", "lease", "artefact", "manifest")),
        "no space for SQLite's scratch copy (preflight)", "the disk fills during SQLite's scratch copy",
        "no space for a verification's scratch (sqlite, preflight)", "the disk fills during a verification (sqlite)",
        "no space for a verification's scratch (postgresql, preflight)", "the disk fills during a verification (postgresql)",
    ],
    "SIGKILL of the module at each phase": [
        "SIGKILL at each of … store changes of a backup (… -> …)",
        "SIGKILL at each of … store changes of two copies (local -> …)",
        "SIGKILL at each of … store changes of a prune (…)",
        "SIGKILL at each of … store changes of a verification (…)",
    ],
    "SIGKILL of pg_dump": ["SIGKILL of pg_dump in the middle of a dump"],
    "pg_dump failing half way": ["pg_dump fails after half of the dump"],
    "damage in each store": [
        f"{change} artefact in {place}" for change in ("flipped", "truncated") for place in ("local", "s3", "every store")
    ],
    "two runs at once": [
        "two backups of a database at once, one host", "two backups of a database at once, two hosts",
        "two copies at once, one host", "two copies at once, two hosts", "two verifications at once, one host",
        "two verifications at once, two hosts", "two prunes at once (the first before its delete)",
    ],
    "a prune during a backup": ["a prune during a backup"],
    "clock stepped back": ["the clock stepped back: newest backup in the future"],
    "a hung server": ["a server that hangs in the middle of a dump", "a server that takes the connection and is silent"],
    "a table locked exclusively": [f"a table locked exclusively, met by {what}" for what in ("pg_dump", "a check")],
    "a container killed": ["a container is killed in the middle of a stream", "a container is gone before its program starts"],
    "Docker daemon down, silent, or closed to us": [
        "no Docker Engine on the host", "the Docker Engine is down", "the Docker Engine takes the connection and is silent",
        "the account may not use the Docker Engine",
    ],
    "a stream that is cut or changed": [
        "the Engine's connection is cut in the middle of a stream", "one bit of a stream flips on its way",
    ],
    "a service that is not one healthy container": [
        "a service scaled to 0", "a service scaled to 2", "a service is stopped, paused or restarts",
    ],
    "PostgreSQL's container killed in its dump": ["PostgreSQL's container is killed in the middle of its dump"],
    "PostgreSQL in recovery": ["PostgreSQL in a container is in recovery"],
    "a full volume": ["Redis's volume in a container is full"],
    "Redis out of memory at fork": ["Redis cannot fork to save"],
    "Docker daemon restarted": ["the Docker Engine is restarted in the middle of a stream"],
    "S3 away during the copy": [
        "S3 is away during the off-site copy", "the S3 server is killed in the middle of the off-site copy",
    ],
    "ssh host unreachable": ["the host cannot be reached by ssh"],
    "compose project renamed": ["the compose project was renamed"],
    "the API server restarted": ["the API server is restarted in the middle of a dump"],
    "a node that is not ready": ["the pod's node is not ready"],
    "a job that the cluster ends": [f"a job's pod is {name}" for name in ("hungry", "late", "greedy")],
    "a claim that is full": ["the claim that a job stores in is full"],
    "an image without a shell": ["an image without a shell"],
    "a program that hangs in a container": ["a program hangs in a container"],
    "SIGKILL of the module beside a container": ["SIGKILL of the module while its program runs in a container"],
    "a lock in a container": ["a table locked exclusively, met by pg_dump in PostgreSQL's container"],
    "a Redis save that fails": ["a Redis save that fails: directory not writable", "a Redis save that fails: full disk"],
}  # fmt: skip

Report = tuple[re.Pattern[str], set[object]]


def template(name: ast.expr) -> re.Pattern[str]:
    """The names that a call reports: a text, or a text with gaps."""
    parts = name.values if isinstance(name, ast.JoinedStr) else [name]
    return re.compile("".join(re.escape(str(p.value)) if isinstance(p, ast.Constant) else "(.+?)" for p in parts))


def reports(source: str) -> Iterator[Report]:
    """Each ``fault(...)`` in a test file, with the constants that may fill its gaps."""
    nodes = list(ast.walk(ast.parse(source)))
    constants: set[object] = {node.value for node in nodes if isinstance(node, ast.Constant)}
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "fault":
            yield template(node.args[0]), constants


def covered(name: str, found: list[Report]) -> bool:
    matches = ((pattern.fullmatch(name), constants) for pattern, constants in found)
    return any(match and {COMPUTED, *constants}.issuperset(match.groups()) for match, constants in matches)


@pytest.fixture(scope="module")
def found() -> list[Report]:
    files = Path(__file__).parents[1].rglob("test_*.py")
    return [report for path in sorted(files) for report in reports(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("promise", PROMISED)
def test_every_promised_fault_is_reported(promise: str, found: list[Report]) -> None:
    assert [name for name in PROMISED[promise] if not covered(name, found)] == []


def test_a_fault_that_nobody_reports_is_missed() -> None:
    found = list(reports('for disk in ("a", "b"):\n    fault(f"full: {disk} ({len(disk)})", "", "")\nother("no row")'))
    assert [covered(name, found) for name in ("full: a (…)", "full: c (…)", "full: a", "no row", "a")] == [
        True, False, False, False, False,
    ]  # fmt: skip
