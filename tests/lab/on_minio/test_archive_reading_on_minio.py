# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See ``conftest.py``."""

from integration.test_archive_reading import *  # noqa: F403 - its tests and fixtures are these

del test_keys_that_are_no_paths_go_the_long_way  # noqa: F821 - MinIO has none: its objects are files
