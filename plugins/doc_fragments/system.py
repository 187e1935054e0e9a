# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of what most modules ask about the system and its host."""

from __future__ import annotations


class ModuleDocFragment:
    """C(DOCUMENTATION) for the system, C(WORK_DIR) and C(CACHE_DIR) for its host, C(RETENTION) for the policy."""

    DOCUMENTATION = r"""
options:
  system:
    description: The system's name, the first directory of its backups in every store.
    type: str
    required: true
requirements:
  - python-dateutil
  - croniter
  - zstandard
  - boto3 (for S3 stores)
notes:
  - Runs on the system's own host, where the bulk data stays.
"""

    RUNTIME = r"""
options:
  runtime:
    description:
      - "The platform the system's services run on: C({type: local}), where a database is found by host and port;
        C({type: compose, project: NAME}), where it is found by its service in the compose project of that name; or
        C({type: kubernetes, namespace: NAME}), where its service names the labels (C(app=postgres)) of the one ready pod in that
        namespace, or its workload (C(statefulset/postgres))."
      - With C(compose), C(docker_host) names the Engine's local socket where it is not V(unix:///var/run/docker.sock).
      - With C(kubernetes), C(kubeconfig) and C(context) say which cluster (without them C(kubectl) finds it, which knows a pod's
        service account, too), C(container) which container of a pod where it is not the first, C(release) which Helm release must
        be there, and C(scratch_namespace) where throw-away pods may prove backups, which verification needs.
    type: dict
    default: {type: local}
"""

    WORK_DIR = r"""
options:
  work_dir:
    description: Where locks and private scratch directories are made; what killed runs left there is swept.
    type: path
    default: /var/tmp
"""

    CACHE_DIR = r"""
options:
  cache_dir:
    description: Where small records of S3 stores are remembered by ETag. Not written in check mode; losing it costs time only.
    type: path
    default: ~/.cache/runbook.ops
"""

    RETENTION = r"""
options:
  policy:
    description:
      - "Retention rules: V(last), V(hourly), V(daily), V(weekly), V(monthly), V(yearly); each C({within: 30d}) and/or
        C({count: N}), with C(select: oldest) and C(storage_class) where wanted."
      - C(within) takes C(h), C(d), C(w), C(m) and C(y) and counts back from the newest good backup, not from now.
    type: dict
  keep_last_good:
    description: How many of the newest verified backups are kept whatever the rules say, in each store.
    type: int
    default: 1
  keep_labelled:
    description: How long backups labelled C(pre_*) are kept; they fill no bucket.
    type: str
    default: 30d
"""
