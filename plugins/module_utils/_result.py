# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module of this collection returns alike: actions, and a diff made of nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Action:
    """What is to be done, to what, and why: the same in check mode and for real."""

    action: str
    object: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        return {"action": self.action, "object": self.object, "reason": self.reason}


def result_of(actions: Sequence[Action], **values: Any) -> dict[str, Any]:
    """``changed``, ``actions`` and ``diff``, with a module's own ``values`` beside them."""
    after = "".join(f"{action.action} {action.object}: {action.reason}\n" for action in actions)
    return {
        "changed": bool(actions),
        "actions": [action.to_dict() for action in actions],
        "diff": {"before": "", "after": after, "before_header": "to do", "after_header": "to do"},
        **values,
    }
