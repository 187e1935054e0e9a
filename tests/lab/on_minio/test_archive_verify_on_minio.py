# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See ``conftest.py``."""

from integration.test_archive_verify import *  # noqa: F403 - its tests and fixtures are these

# What MinIO does not have: encryption by a KMS of its own, GLACIER.
del test_an_upload_in_parts_and_encryption_by_kms_are_no_damage  # noqa: F821
del test_an_archived_object_is_not_read_and_not_damaged  # noqa: F821
