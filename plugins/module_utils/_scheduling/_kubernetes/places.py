# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things lie in the pod of a job: what its image has, and what is mounted into it."""

from __future__ import annotations

from ..layout import Layout

CONFIGURATION = "/etc/runbook.ops"
"""The Secret's files."""

DECRYPTION_KEY = "decryption_key"
"""The one of them that opens backups."""

WORK = "/tmp"  # noqa: S108 - the pod's own, gone with it
"""All that may be written to: home, scratch, caches."""

COLLECTIONS = "/usr/share/ansible/collections"
"""Of an execution environment."""

PROGRAM = "runbook-job"
"""Of our image: runs a job (``execution-environment.yml``)."""

TERMINATION = "/dev/termination-log"
"""What is written there Kubernetes keeps as the pod's last words."""


def layout() -> Layout:
    return Layout(library=COLLECTIONS, configuration=CONFIGURATION, state=WORK)
