# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One demo for all tests of playbooks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.playbook import Demo

from lab.embedded import demo as servers


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo that is up, with nothing backed up yet. Tests keep apart by their systems' names and their stores."""
    parent = tmp_path_factory.mktemp("demo")
    parent.chmod(0o711)
    directory = parent / "the demo"
    servers.up(str(directory))
    yield Demo(directory)
    servers.clean(str(directory))
