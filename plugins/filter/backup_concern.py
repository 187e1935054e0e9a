# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter runbook.ops.backup_concern."""

from __future__ import annotations

DOCUMENTATION = r"""
name: backup_concern
short_description: Say what no scheduled job mends
version_added: 1.0.0
description: What a person is to do where nothing is due and all the same not everything is well; empty where it is.
author: the runbook.ops contributors
positional: _input
options:
  _input:
    description: RV(runbook.ops.backup_info#module:databases).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Say what is to be done
  ansible.builtin.debug:
    msg: "{{ info.databases | runbook.ops.backup_concern }}"
"""

RETURN = r"""
_value:
  description: A sentence, or nothing.
  type: str
"""

from collections.abc import Callable

from ansible_collections.runbook.ops.plugins.module_utils._protect.report import concern


class FilterModule:
    """Makes the filter known."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"backup_concern": concern}
