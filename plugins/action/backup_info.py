# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs any module of this collection; where a role of ours called it, its errors name what the operator wrote.

A module knows its own parameters alone. ``meta/runtime.yml`` sends the other modules here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ansible.plugins.action.normal import ActionModule as Normal
from ansible_collections.runbook.ops.plugins.module_utils._misspelt import PREFIX, roles_of_ours

_NAMED = re.compile(
    r"(?:\A|(?<=\Avalue of )|(?<= found in ))[a-z_]+(?=\Z|[\[.]| -> | (?:is|has|names|says|must) )"
    r"|(?<![\w/.'-])[a-z_]+(?=\[\d+\])"
)
"""How our sentences name a parameter, and Ansible's own where it refuses one."""


def as_written(sentence: str, variable_of: Callable[[str], str | None]) -> str:
    """The sentence with each parameter that it names as the variable that it came from, where there is one."""
    return _NAMED.sub(lambda match: variable_of(match[0]) or match[0], sentence)


class ActionModule(Normal):  # type: ignore[misc]  # Ansible ships no types
    """What Ansible does for every module, and the words of a failure."""

    def run(self, tmp: Any = None, task_vars: Any = None) -> Any:
        result, known = super().run(tmp, task_vars), task_vars or {}
        roles = roles_of_ours([*known.get("ansible_parent_role_names", []), known.get("ansible_role_name", "")])

        def variable_of(name: str) -> str | None:
            # A role that another one calls has its inputs from that one, and most of those are the system's description.
            given = next((f"{role}_{name}" for role in roles if f"{role}_{name}" in known), None)
            described = PREFIX + name
            if given is None or described not in known:
                return given
            values = [self._templar.template(known[variable]) for variable in (given, described)]
            return described if values[0] == values[1] else given

        message = result.get("msg")
        if result.get("failed") and isinstance(message, str) and (said := as_written(message, variable_of)) != message:
            result["msg"] = said
            result.pop("exception", None)  # it says the same in the module's words
        return result
