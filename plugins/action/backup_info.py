# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs any module of this collection; where a role of ours called it, its errors name what the operator wrote.

A module knows its own parameters alone. ``meta/runtime.yml`` sends the other modules here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any

from ansible.plugins.action.normal import ActionModule as Normal
from ansible_collections.runbook.ops.plugins.module_utils._misspelt import PREFIX, roles_of_ours

_NAMED = re.compile(
    r"(?:\A|(?<=\Avalue of )|(?<= found in ))[a-z_]+(?=\Z|[\[.]| -> | (?:is|has|names|says|must) )"
    r"""|(?<![\w/.'"`(-])[a-z_]+(?=\[\d+\])"""
)
"""How our sentences name a parameter, and Ansible's own where it refuses one."""


def as_written(sentence: str, variable_of: Callable[[str], str | None]) -> str:
    """The sentence with each parameter that it names as the variable that it came from, where there is one."""
    return _NAMED.sub(lambda match: variable_of(match[0]) or match[0], sentence)


class ActionModule(Normal):  # type: ignore[misc]  # Ansible ships no types
    """What Ansible does for every module, and the words of a failure."""

    def run(self, tmp: Any = None, task_vars: Any = None) -> Any:
        result = super().run(tmp, task_vars)
        message = result.get("msg")
        if result.get("failed") and isinstance(message, str):
            with suppress(Exception):  # the module's own words are better than none
                variables = self._variables(task_vars or {})
                if (said := as_written(message, variables)) != message:
                    result["msg"] = said
                    result.pop("exception", None)  # it says the same in the module's words
                if result.get("errors"):
                    result["errors"] = [as_written(error, variables) for error in result["errors"]]
        return result

    def _variables(self, known: Mapping[str, Any]) -> Callable[[str], str | None]:
        """Which variable a parameter came from: the system's description before the inputs of a role, where they are the same."""
        roles = roles_of_ours([*known.get("ansible_parent_role_names", []), known.get("ansible_role_name", "")])

        @cache
        def variable_of(name: str) -> str | None:
            if name not in self._task.args:
                return None
            candidates = [PREFIX + name, *(f"{role}_{name}" for role in roles)]
            return next(
                (variable for variable in candidates if variable in known and self._is(name, known[variable])), None
            )

        return variable_of

    def _is(self, parameter: str, value: Any) -> bool:
        """A role may leave some of it out, and what is the first there is not the first here."""
        return bool(self._templar.template(value) == self._task.args[parameter])
