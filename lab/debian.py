# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's packages for the laboratory: installed on this machine, or taken out of another release."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.runbook.ops.plugins.module_utils._errors import CommandFailed, NotFound

from .command import run

SECONDS = 300.0
_QUIETLY = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}  # a server among them is started by us, if at all
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def available() -> bool:
    """Whether this process may install Debian's packages here."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None and os.path.exists(_KEYRING)


def install(packages: Sequence[str]) -> None:
    """Install them without what they only recommend; the package lists are fetched where they are missing or old."""
    argv = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages]
    try:
        run(argv, timeout=SECONDS, env=_QUIETLY)
    except CommandFailed:
        run(["apt-get", "update", "-qq"], timeout=SECONDS)
        run(argv, timeout=SECONDS, env=_QUIETLY)


def mirror() -> str:
    """Where this machine gets Debian's main packages from."""
    form = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages", "Component: main"]
    for attempt in range(2):
        for line in run(form, timeout=30).splitlines():
            uri, _space, release = line.partition(" ")
            if release.isalpha():  # a release itself, not its updates or its security fixes
                return uri
        if not attempt:
            run(["apt-get", "update", "-qq"], timeout=SECONDS)
    raise NotFound("apt has no source of Debian's main packages: name one in /etc/apt/sources.list.d.")


def take_out(package: str, release: str, path: str, target: str) -> None:
    """Put the one file ``path`` of a package of another Debian release at ``target``; nothing is installed."""
    with tempfile.TemporaryDirectory(prefix="runbook-lab-apt-") as name:
        scratch = Path(name)
        for part in ("lists/partial", "archives/partial"):
            (scratch / part).mkdir(parents=True)
        sources = scratch / "sources.list"
        sources.write_text(f"deb [signed-by={_KEYRING}] {mirror()} {release} main\n")
        # The download is by root itself: apt's own account may not enter the directory.
        options = [
            "-o", f"Dir::Etc::SourceList={sources}", "-o", "Dir::Etc::SourceParts=/dev/null",
            "-o", f"Dir::State::Lists={scratch}/lists", "-o", f"Dir::Cache={scratch}", "-o", "APT::Sandbox::User=root",
        ]  # fmt: skip
        run(["apt-get", *options, "update", "-qq"], timeout=SECONDS)
        run(["apt-get", *options, "download", "-qq", package], timeout=SECONDS, cwd=name)
        (archive,) = scratch.glob("*.deb")
        run(["dpkg-deb", "--extract", str(archive), f"{name}/content"], timeout=60)
        shutil.copy(scratch / "content" / path, f"{target}.partial")
        os.rename(f"{target}.partial", target)
