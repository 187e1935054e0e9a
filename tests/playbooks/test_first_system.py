# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A newcomer's first hour: the page that describes a system, step by step, with nothing added but the place it happens in."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from command_line import BIN, HANGS, ROOT

PAGE = (ROOT / "docs/describe_a_system.md").read_text()
STEPS = PAGE[PAGE.index("## The first one") : PAGE.index("## Another machine")]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_KEYS, _COMMANDS = (body for language, body in _BLOCK.findall(STEPS) if language == "bash")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A machine's ``/``, with the application on it that the page speaks of, and the page's files written."""
    root = tmp_path_factory.mktemp("machine")
    (root / "srv/notes").mkdir(parents=True)
    (root / "srv/notes/.env").write_text("SECRET_KEY=of-notes\n")
    with closing(sqlite3.connect(root / "srv/notes/notes.db")) as connection, connection:
        connection.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)")
        connection.execute("INSERT INTO notes (text) VALUES ('first'), ('second')")
    (root / "keyring").mkdir(mode=0o700)
    for language, body in _BLOCK.findall(STEPS):
        if language == "yaml":
            path = root / body.splitlines()[0].removeprefix("# ")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(here(body, root))
    yield root
    subprocess.run(["gpgconf", "--homedir", root / "keyring", "--kill", "gpg-agent"], check=False)


def here(text: str, root: Path) -> str:
    """What the page says of ``/``, said of a test's directory."""
    text = text.replace(" inventories/notes", f" {root}/inventories/notes")
    return re.sub(r"(?<![\w.])/(srv|backups)\b", rf"{root}/\1", text)


def typed(commands: str, root: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment |= {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "GNUPGHOME": str(root / "keyring")}
    ended = subprocess.run(
        ["bash", "-ec", here(commands, root)], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, encoding="utf-8", timeout=HANGS, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, f"{commands}\n{ended.stdout[-3000:]}\n{ended.stderr}"
    return ended.stdout


def test_the_steps_work_as_they_are_written(place: Path) -> None:
    if shutil.which("gpg") is None:
        pytest.skip("NOT RUN: there is no gpg, with which the page makes a key pair")
    typed(_KEYS, place)
    assert (place / "srv/notes/backup-secret.asc").stat().st_mode & 0o077 == 0

    look, back_up, verify, prune, show = _COMMANDS.splitlines()
    said = typed(look, place)
    assert "notes: Would do 2 of 2" in said and not (place / "backups").exists()
    assert "notes: Did 2 of 2" in typed(back_up, place)
    said = typed(verify, place)
    assert "notes: 2 of 2 proved by restoring" in said and "table_rows:notes: 2 (expected 2)" in said
    assert "keep 1, delete 0" in typed(prune, place)
    said = typed(show, place)
    assert len(re.findall(r"\brestored +local\b", said)) == 2
    stored = [path.read_bytes() for path in (place / "backups").rglob("data.*")]
    assert len(stored) == 2 and not any(b"of-notes" in data for data in stored)
