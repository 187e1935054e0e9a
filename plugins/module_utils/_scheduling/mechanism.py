# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What starts jobs on this host: systemd, cron's directory for root, or an account's own crontab."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Collection, Iterator, Sequence

from .._errors import CommandFailed, MissingLibrary
from .._result import Action
from .units import PATH, unit

SYSTEMD, CRON_D, CRONTAB = "etc/systemd/system", "etc/cron.d", "crontab"
"""Named after where they read what they are to do, below the root."""

_CRON_PROGRAMS = ("usr/sbin/cron", "usr/sbin/crond", "usr/bin/crond")
SECONDS = 60.0


class Mechanism:
    """cron needs nothing beside its file; it is the base."""

    def __init__(self, name: str) -> None:
        self.name = name

    def pending(self, system: str, jobs: Collection[str], changed: Collection[str]) -> Iterator[Action]:
        """What is to be done beside writing the items, given the paths that will be written."""
        yield from ()

    def settle(self, system: str, jobs: Collection[str], changed: Collection[str]) -> None:
        """Make the written items count."""

    def stop(self, system: str, jobs: Sequence[str]) -> None:
        """Before the items go."""


class Systemd(Mechanism):
    """Of a host that was booted with it."""

    def pending(self, system: str, jobs: Collection[str], changed: Collection[str]) -> Iterator[Action]:
        for job in jobs:
            name = f"{unit(system, job)}.timer"
            state = _properties(name)
            if state.get("ActiveState") != "active":
                yield Action("start", name, "the timer does not run")
            elif any(path.endswith((f"/{name}", f"/{unit(system, job)}.service")) for path in changed):
                yield Action("restart", name, "its units change")
            elif state.get("NeedDaemonReload") == "yes":
                yield Action("restart", name, "systemd has not read its units again")

    def settle(self, system: str, jobs: Collection[str], changed: Collection[str]) -> None:
        _systemctl("daemon-reload")
        timers = [f"{unit(system, job)}.timer" for job in jobs]
        if restarted := [name for name in timers if name in changed]:
            _systemctl("restart", *restarted)
        for name in {os.path.basename(path) for path in changed if path.endswith(".timer")} - set(timers):
            _systemctl("stop", name, check=False)  # of a job that is no longer scheduled

    def stop(self, system: str, jobs: Sequence[str]) -> None:
        timers = [f"{unit(system, job)}.timer" for job in jobs]
        _systemctl("stop", *timers, check=False)
        _systemctl("clean", "--what=state", *timers, check=False)  # when they ran last


def mechanism_of(root: str = "/") -> Mechanism:
    """What this host has; below another ``root`` nothing runs, so files are all there is to it."""
    if os.geteuid() == 0 or root != "/":
        if os.path.isdir(os.path.join(root, "run/systemd/system")):
            return Systemd(SYSTEMD) if root == "/" else Mechanism(SYSTEMD)
        if any(os.path.exists(os.path.join(root, program)) for program in _CRON_PROGRAMS):
            return Mechanism(CRON_D)
        raise MissingLibrary(
            "This host runs neither systemd nor cron, so nothing would start a job: install cron, or run the playbooks from elsewhere."
        )
    if shutil.which("crontab", path=f"{os.environ.get('PATH', '')}:{PATH}"):
        return Mechanism(CRONTAB)
    if os.path.isdir("/run/systemd/system"):
        raise MissingLibrary(
            f"{getpass.getuser()} cannot install systemd timers, and this host has no crontab: set become to true, or install cron."
        )
    raise MissingLibrary("This host has neither systemd nor crontab, so nothing would start a job: install cron.")


def _systemctl(*arguments: str, check: bool = True) -> str:
    argv = ["/usr/bin/systemctl", "--no-ask-password", *arguments]
    try:
        ended = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False)  # pylint: disable=ansible-bad-function
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandFailed(f"systemctl {arguments[0]} could not be done: {error}") from None
    if check and ended.returncode:
        raise CommandFailed(f"systemctl {' '.join(arguments)} failed: {ended.stderr.strip()}")
    return ended.stdout


def _properties(name: str) -> dict[str, str]:
    said = _systemctl("show", "--property=ActiveState,NeedDaemonReload", name)
    return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
