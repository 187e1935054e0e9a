# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter runbook.ops.status_screen."""

from __future__ import annotations

DOCUMENTATION = r"""
name: status_screen
short_description: Show a system's status as a screen
version_added: 1.0.0
description: Shows the verdict, its reasons, every object in a line and what to do next, without colours.
author: the runbook.ops contributors
positional: _input
options:
  _input:
    description: What M(runbook.ops.system_status_info) returned.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show a system's status
  ansible.builtin.debug:
    msg: "{{ status | runbook.ops.status_screen }}"
"""

RETURN = r"""
_value:
  description: The text.
  type: str
"""

from collections.abc import Callable

from ansible_collections.runbook.ops.plugins.module_utils._status.screen import screen


class FilterModule:
    """Makes the filter known."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"status_screen": screen}
