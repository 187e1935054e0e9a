# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods a workload's selector means: as the API is asked for them, and among those that are at hand. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class _Requirement:
    """``operator`` is the API's word."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        listed = ",".join(self.values)
        return {
            "In": f"{self.key}={listed}" if len(self.values) == 1 else f"{self.key} in ({listed})",
            "NotIn": f"{self.key} notin ({listed})", "Exists": self.key, "DoesNotExist": f"!{self.key}",
        }[self.operator]  # fmt: skip

    def met_by(self, labels: Mapping[str, str]) -> bool:
        """A label that is not there is in no list: ``NotIn`` is met."""
        among = labels.get(self.key) in self.values if self.values else self.key in labels
        return among == (self.operator in ("In", "Exists"))


@dataclass(frozen=True)
class Selector:
    """All of its requirements; with none it means no pod, whereas the API, asked with an empty text, answers with every one."""

    requirements: tuple[_Requirement, ...]

    @classmethod
    def of(cls, declared: Mapping[str, Any]) -> Selector:
        """From ``matchLabels`` and ``matchExpressions``."""
        labels = [_Requirement(key, "In", (value,)) for key, value in (declared.get("matchLabels") or {}).items()]
        expressions = [
            _Requirement(each["key"], each["operator"], tuple(sorted(each.get("values") or ())))
            for each in declared.get("matchExpressions") or []
        ]
        return cls(tuple(sorted([*labels, *expressions], key=str)))

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))

    def selects(self, labels: Mapping[str, str]) -> bool:
        return bool(self.requirements) and all(each.met_by(labels) for each in self.requirements)
