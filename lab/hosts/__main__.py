# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m lab.hosts up|down HOST...``: what was done, as JSON."""

from __future__ import annotations

import json
import sys

from ansible_collections.runbook.ops.plugins.module_utils._errors import RunbookError

from . import HOSTS, container, down, key, up

if __name__ == "__main__":
    verb, names = sys.argv[1], sys.argv[2:] or list(HOSTS)
    try:
        changed = [name for name in names if (up if verb == "up" else down)(name)]
    except RunbookError as error:
        sys.exit(str(error))
    print(json.dumps({"changed": changed, "hosts": {name: container(name) for name in names}, "key": key()}))
