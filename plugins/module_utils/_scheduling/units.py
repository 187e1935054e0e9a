# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd and cron are told: the text of units, of a file for cron.d, and of a block in a crontab. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from .layout import Layout
from .slots import parse_slots

MODULE = "ansible_collections.runbook.ops.plugins.module_utils._scheduling.run"
BUSY = 75
"""What a run ends with while another one is under way (EX_TEMPFAIL of sysexits.h)."""

QUARTERLY = "*/15 * * * *"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

SANDBOX = """\
# What a backup does not need it cannot do. It needs to read all that is backed up, wherever that lies, and to write to its
# stores, so the file system is closed where programs and settings are; locks in /var/tmp are shared with runs by hand.
NoNewPrivileges=yes
ProtectSystem=full
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
UMask=0077
"""


def unit(system: str, job: str) -> str:
    return f"runbook-{system}-{job}"


def argv(layout: Layout, system: str, job: str, *options: str) -> list[str]:
    return [layout.python, "-m", MODULE, *options, system, job]


def service(layout: Layout, system: str, job: str, digest: str, written: Sequence[str]) -> str:
    """``written`` are paths below what the sandbox closes that the job must write to."""
    open_paths = "".join(f"ReadWritePaths={_quoted(f'-{path}')}\n" for path in written)
    return f"""\
# Written by runbook.ops; playbooks/schedule.yml changes and removes it.
[Unit]
Description=runbook.ops: {job} of {system}
After=network-online.target docker.service
Wants=network-online.target

[Service]
Type=oneshot
Environment=PYTHONPATH={layout.collection(digest)}
ExecStart={" ".join(argv(layout, system, job))}
# Also after a kill: no run is left without an end.
ExecStopPost={" ".join(argv(layout, system, job, "--ended"))}
# Another run is under way: that one does the work.
SuccessExitStatus={BUSY}
Nice=5
{SANDBOX}{open_paths}"""


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def timer(system: str, job: str, slots: Sequence[str]) -> str:
    calendars = [calendar for slot in slots for calendar in parse_slots("schedule", slot).on_calendar()]
    return f"""\
# Written by runbook.ops; playbooks/schedule.yml changes and removes it.
[Unit]
Description=runbook.ops: when {job} of {system} runs

[Timer]
{"".join(f"OnCalendar={calendar}{chr(10)}" for calendar in dict.fromkeys(calendars))}\
# A slot that passed while the host was down is made up for.
Persistent=true
RandomizedDelaySec=2min

[Install]
WantedBy=timers.target
"""


def cron_lines(layout: Layout, system: str, jobs: Mapping[str, Sequence[str]], digest: str, user: str = "") -> str:
    """A look every quarter of an hour: cron reads the host's clock, and slots are UTC; so one that was missed is seen, too."""
    lines = []
    for job in jobs:
        command = [f"PYTHONPATH={layout.collection(digest)}", *argv(layout, system, job, "--if-due")]
        lines.append(f"{QUARTERLY} {user}{' ' if user else ''}{shlex.join(['env', f'PATH={PATH}', *command])}\n")
    return "".join(lines)


def cron_file(layout: Layout, system: str, jobs: Mapping[str, Sequence[str]], digest: str) -> str:
    header = (
        "# Written by runbook.ops; playbooks/schedule.yml changes and removes it. Slots are UTC and in schedule.json.\n"
    )
    return header + cron_lines(layout, system, jobs, digest, "root")


def in_crontab(found: str, system: str, lines: str) -> str:
    """A crontab with the system's block replaced, or with none where ``lines`` is empty; all else is kept as it is."""
    begin, end = f"# BEGIN runbook.ops {system}\n", f"# END runbook.ops {system}\n"
    block = f"{begin}{lines}{end}" if lines else ""
    before, opened, rest = found.partition(begin)
    _inner, closed, after = rest.partition(end)
    if opened and closed:
        return before + block + after
    if found and not found.endswith("\n"):
        found += "\n"
    return found + block
