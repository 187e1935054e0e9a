# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m lab.embedded up|down|status|history|clean [--directory DIR]``: the demo's servers, told as JSON."""

from __future__ import annotations

import argparse
import json
import sys

from ansible_collections.runbook.ops.plugins.module_utils._errors import RunbookError

from . import demo

VERBS = {"up": demo.up, "down": demo.down, "status": demo.status, "history": demo.history, "clean": demo.clean}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.embedded", description=__doc__)
    parser.add_argument("verb", choices=VERBS)
    parser.add_argument("--directory", default=demo.default_directory(), help="the demo's (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        print(json.dumps(VERBS[arguments.verb](arguments.directory)))
    except RunbookError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
