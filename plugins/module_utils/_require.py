# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Third-party libraries, loaded when first used: a run that has nothing to do pays for none of them."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from ._errors import MissingLibrary


def require(module: str, package: str) -> Any:
    """The imported ``module``; ``MissingLibrary`` names the pip ``package`` that brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingLibrary(
            f"The Python library {package} is missing for {sys.executable} on this host ({error}): install there what this "
            "collection's requirements.txt lists, or set ansible_python_interpreter to a Python that has it."
        ) from None
