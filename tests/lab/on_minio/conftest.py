# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the integration tests demand of moto, demanded of MinIO: signatures, checksums, versions and locks that are checked."""

from __future__ import annotations

import pytest

from lab.embedded.servers import S3Server


@pytest.fixture(scope="session")
def s3(minio: S3Server) -> S3Server:
    return minio
