# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter runbook.ops.backup_metrics."""

from __future__ import annotations

DOCUMENTATION = r"""
name: backup_metrics
short_description: Show databases as Prometheus gauges
version_added: 1.0.0
description: Show databases as Prometheus gauges.
author: the runbook.ops contributors
positional: _input, system
options:
  _input:
    description: RV(runbook.ops.backup_info#module:databases).
    type: list
    elements: dict
    required: true
  system:
    description: The system's name.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show databases as Prometheus gauges
  ansible.builtin.debug:
    msg: "{{ info.databases | runbook.ops.backup_metrics('erni') }}"
"""

RETURN = r"""
_value:
  description: The text.
  type: str
"""

from collections.abc import Callable

from ansible_collections.runbook.ops.plugins.module_utils._protect.report import metrics


class FilterModule:
    """Makes the filter known."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"backup_metrics": metrics}
