# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter runbook.ops.unset."""

from __future__ import annotations

DOCUMENTATION = r"""
name: unset
short_description: Say why a variable of a system's description is not set
version_added: 1.0.0
description: Names the variable that was probably written in its stead, where there is one.
author: the runbook.ops contributors
positional: _input, variables
options:
  _input:
    description: The variable's name.
    type: str
    required: true
  variables:
    description: Names of the variables that are set.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show the policy, or say why there is none
  ansible.builtin.debug:
    msg: "{{ runbook_policy | default('runbook_policy' | runbook.ops.unset(query('ansible.builtin.varnames', '^runbook_'))) }}"
"""

RETURN = r"""
_value:
  description: The sentence.
  type: str
"""

from collections.abc import Callable, Collection

from ansible_collections.runbook.ops.plugins.filter.misspelt import read_by_roles
from ansible_collections.runbook.ops.plugins.module_utils._misspelt import unset as sentence


def unset(name: str, variables: Collection[str]) -> str:
    return sentence(name, variables, read_by_roles())


class FilterModule:
    """Makes the filter known."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"unset": unset}
