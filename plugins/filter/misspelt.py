# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter runbook.ops.misspelt."""

from __future__ import annotations

DOCUMENTATION = r"""
name: misspelt
short_description: Say which names of a system's description nothing reads
version_added: 1.0.0
description:
  - Gives a sentence for each key that a database, a store, the archive or the schedules cannot have, for each word there that is
    none of the choices, and for each variable that begins with C(runbook_) and that no role of this collection reads.
  - Gives one, too, for a variable that is a slip away from an input of a role.
author: the runbook.ops contributors
positional: _input, variables, inputs, roles
options:
  _input:
    description: The description, with V(databases), V(stores), V(schedules), V(endpoints) and V(archive).
    type: dict
    required: true
  variables:
    description: Names of variables that begin with C(runbook_).
    type: list
    elements: str
    required: true
  inputs:
    description: Names of variables that begin as the inputs of roles do.
    type: list
    elements: str
    default: []
  roles:
    description: Names of roles. The first of this collection has inputs for what is not in variables that begin with C(runbook_).
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show what is misspelt
  ansible.builtin.debug:
    msg: "{{ {'databases': runbook_databases} | runbook.ops.misspelt(query('ansible.builtin.varnames', '^runbook_')) }}"
"""

RETURN = r"""
_value:
  description: The sentences.
  type: list
  elements: str
"""

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.runbook.ops.plugins.module_utils import _arguments as arguments
from ansible_collections.runbook.ops.plugins.module_utils._misspelt import (
    PREFIX,
    roles_of_ours,
    unknown_words,
    unread_inputs,
    unread_variables,
)

_ROLES = Path(__file__).parents[2] / "roles"
_SPECS = {
    "databases": arguments.DATABASES,
    "stores": arguments.STORES,
    "schedules": arguments.SCHEDULES,
    "endpoints": arguments.ENDPOINTS,
    "archive": arguments.ARCHIVE,
}


def read_by_roles() -> set[str]:
    """The variables of a description: those that the roles' inputs default to."""
    lines = [line for path in _ROLES.glob("*/defaults/main.yml") for line in path.read_text().splitlines()]
    return {name for line in lines if not line.startswith("#") for name in re.findall(rf"\b{PREFIX}\w+", line)}


def inputs_of_roles() -> dict[str, list[str]]:
    """What each role is asked for beside the description, most by ``-e``; what defaults to the description is likelier to have a
    namesake of somebody else's."""
    return {
        path.parts[-3]: re.findall(r"^(\w+):(?! >-\n)(?!.*\brunbook_)", path.read_text(), re.MULTILINE)
        for path in _ROLES.glob("*/defaults/main.yml")
    }


def switches_of(role: str) -> list[str]:
    """What a role with a name of two words is told to do or not. Its other inputs have words that a stranger may use as well."""
    if "_" not in role:
        return []
    defaults = (_ROLES / role / "defaults/main.yml").read_text()
    return re.findall(r"^(\w+): (?:true|false)$", defaults, re.MULTILINE)


def misspelt(
    description: Mapping[str, Any],
    variables: Collection[str],
    inputs: Collection[str] = (),
    roles: Collection[str] = (),
) -> list[str]:
    role = next(iter(roles_of_ours(roles)), "preflight")
    names = {name: f"{PREFIX}{name}" if PREFIX + name in variables else f"{role}_{name}" for name in _SPECS}
    keys = [told for name, spec in _SPECS.items() for told in unknown_words(names[name], description.get(name), spec)]
    return [
        *unread_variables(variables, read_by_roles()),
        *unread_inputs(inputs, inputs_of_roles(), switches_of(role)),
        *keys,
    ]


class FilterModule:
    """Makes the filter known."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        return {"misspelt": misspelt}
