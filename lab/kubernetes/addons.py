# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster that was just made lacks: DNS and a class of storage."""

from __future__ import annotations

from pathlib import Path

from . import components, network

MANIFESTS = Path(__file__).resolve().parent / "manifests"


def manifests() -> str:
    """The DNS last: where it is ready, all of it was applied."""
    values = {"coredns": components.COREDNS, "dns": network.DNS, "provisioner": components.PROVISIONER}
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(MANIFESTS.glob("*.yaml"), reverse=True))
    for name, value in values.items():
        text = text.replace(f"{{{{ {name} }}}}", value)
    return text
