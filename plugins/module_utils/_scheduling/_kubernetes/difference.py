# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would change of an object, to be shown: nothing of a Secret's but what is no credential. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from .. import inventory
from ..items import difference
from .description import INVENTORY, SETTINGS

_OF_THE_CLUSTER = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")


def told(found: Mapping[str, Any]) -> dict[str, Any]:
    """What somebody has asked for: without what the cluster adds of its own."""
    metadata = {name: value for name, value in found["metadata"].items() if name not in _OF_THE_CLUSTER}
    return {**{name: value for name, value in found.items() if name != "status"}, "metadata": metadata}


def reason(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Lines that differ; where those that may be shown do not, that a credential does."""
    return difference(_shown(before), _shown(after))


def _shown(found: Mapping[str, Any]) -> str:
    seen = told(found)
    if seen["kind"] != "Secret":
        return json.dumps(seen, indent=1, sort_keys=True)
    data = seen.pop("data", {})
    texts = {name: base64.b64decode(content).decode(errors="replace") for name, content in data.items()}
    metadata = json.dumps({**seen, "files": sorted(texts)}, indent=1, sort_keys=True)
    return "\n".join([metadata, inventory.shown(texts.get(INVENTORY, "")), texts.get(SETTINGS, "")])
