# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See ``conftest.py``."""

from integration.test_archive_restore import *  # noqa: F403 - its tests and fixtures are these

# What MinIO does not have: GLACIER; keys that could lead out of a directory; versions that are called anything but a UUID.
del test_archived_copies_are_requested_waited_for_and_restored_later, test_a_bounded_wait  # noqa: F821
del test_what_cannot_be_asked_is_not_gone  # noqa: F821
del test_no_key_and_no_link_leads_out_of_the_directory  # noqa: F821
del test_a_version_that_went_away_leaves_the_older_ones  # noqa: F821
