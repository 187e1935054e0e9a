# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter runbook.ops.size."""

from __future__ import annotations

DOCUMENTATION = r"""
name: size
short_description: Show bytes in a binary unit
version_added: 1.0.0
description: Shows bytes in KiB, MiB, GiB and TiB, as all of this collection does.
author: the runbook.ops contributors
positional: _input
options:
  _input:
    description: The bytes.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Show what was freed
  ansible.builtin.debug:
    msg: "{{ pruned.freed_bytes | runbook.ops.size }}"
"""

RETURN = r"""
_value:
  description: The text, such as C(161 MiB).
  type: str
"""

from collections.abc import Callable

from ansible_collections.runbook.ops.plugins.module_utils._protect.report import human_size


class FilterModule:
    """Makes the filter known."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"size": human_size}
