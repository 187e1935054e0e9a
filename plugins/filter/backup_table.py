# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter runbook.ops.backup_table."""

from __future__ import annotations

DOCUMENTATION = r"""
name: backup_table
short_description: Show backups as a table
version_added: 1.0.0
description: Show backups as a table.
author: the runbook.ops contributors
positional: _input
options:
  _input:
    description: What M(runbook.ops.backup_info) returned.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show backups as a table
  ansible.builtin.debug:
    msg: "{{ info | runbook.ops.backup_table }}"
"""

RETURN = r"""
_value:
  description: The text.
  type: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.runbook.ops.plugins.module_utils._protect.report import backup_table as table


def backup_table(info: Mapping[str, Any]) -> str:
    return table(info["databases"], info["backups"])


class FilterModule:
    """Makes the filter known."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"backup_table": backup_table}
