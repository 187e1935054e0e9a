# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter runbook.ops.backup_line."""

from __future__ import annotations

DOCUMENTATION = r"""
name: backup_line
short_description: Show one database in a line
version_added: 1.0.0
description: Show one database in a line.
author: the runbook.ops contributors
positional: _input
options:
  _input:
    description: One of RV(runbook.ops.backup_info#module:databases).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show one database in a line
  ansible.builtin.debug:
    msg: "{{ info.databases | first | runbook.ops.backup_line }}"
"""

RETURN = r"""
_value:
  description: The text.
  type: str
"""

from collections.abc import Callable

from ansible_collections.runbook.ops.plugins.module_utils._protect.report import database_line


class FilterModule:
    """Makes the filter known."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"backup_line": database_line}
