# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parameters that several modules share, beside the documentation fragments of the same names."""

from __future__ import annotations

from typing import Any

from ._engine._limits import DEFAULTS
from ._records import LABELS

Spec = dict[str, Any]

_TEXT: Spec = {"type": "str"}
_SECRET: Spec = {"type": "str", "no_log": True}

STORE: Spec = {
    "type": {"type": "str", "required": True, "choices": ["local", "s3"]},
    "path": {"type": "path"},
    "bucket": _TEXT,
    "prefix": {"type": "str", "default": ""},
    "region": _TEXT,
    "endpoint_url": _TEXT,
    "profile": _TEXT,
    "access_key": {"type": "str", "no_log": False},
    "secret_key": _SECRET,
    "session_token": _SECRET,
    "aws_ca_bundle": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
    "storage_class": _TEXT,
    "policy": {"type": "dict"},
}

SCRATCH: Spec = {
    "memory_mib": {"type": "int", "default": DEFAULTS["memory_mib"]},
    "cpus": {"type": "float", "default": DEFAULTS["cpus"]},
    "host": _TEXT,
    "port": {"type": "int", "default": 5432},
    "user": _TEXT,
    "password": _SECRET,
}

DATABASE: Spec = {
    "engine": {"type": "str", "required": True, "choices": ["postgresql", "redis", "sqlite", "files"]},
    "name": {"type": "str", "required": True},
    "service": {"type": "str", "default": ""},
    "host": _TEXT,
    "port": {"type": "int"},
    "user": _TEXT,
    "password": _SECRET,
    "bin_dir": {"type": "path"},
    "path": {"type": "path"},
    "paths": {"type": "list", "elements": "path"},
    "objects": {"type": "list", "elements": "str", "default": []},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "recipients": {"type": "list", "elements": "str", "default": []},
    "plaintext": {"type": "bool", "default": False},
    "checks": {"type": "list", "elements": "dict", "default": []},
    "schedule": _TEXT,
    "policy": {"type": "dict"},
    "rpo": _TEXT,
    "rto": _TEXT,
    "lock_timeout": {"type": "str", "default": "30s"},
    "timeout": {"type": "str", "default": "4h"},
    "scratch": {"type": "dict", "options": SCRATCH},
    "run_as": _TEXT,
}

ENDPOINTS: Spec = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {
        "name": {"type": "str", "required": True},
        "url": {"type": "str", "required": True},
        "expect": {"type": "int", "default": 200},
        "timeout": {"type": "str", "default": "5s"},
        "ca_file": {"type": "path"},
    },
}

ARCHIVE_DATABASE: Spec = {
    "name": {"type": "str", "required": True},
    "service": {"type": "str", "default": ""},
    "host": _TEXT,
    "port": {"type": "int"},
    "user": _TEXT,
    "password": _SECRET,
}

ARCHIVE: Spec = {
    "type": "dict",
    "required": True,
    "options": {
        "database": {"type": "dict", "required": True, "options": ARCHIVE_DATABASE},
        "table": {"type": "str", "required": True},
        "columns": {
            "type": "dict",
            "required": True,
            "options": {
                name: {"type": "str", "required": True, "no_log": False} for name in ("key", "size", "checksum")
            },
        },
        "checksum": {"type": "str", "default": "sha256", "choices": ["md5", "sha1", "sha256", "sha512"]},
        "objects": {"type": "dict", "required": True, "options": STORE},
        "sources": {"type": "list", "elements": "dict", "default": [], "options": STORE},
    },
}

SYSTEM: Spec = {"type": "str", "required": True}
RUNTIME: Spec = {"type": "dict", "default": {"type": "local"}}
ONE_STORE: Spec = {"type": "dict", "required": True, "options": STORE}
STORES: Spec = {"type": "list", "elements": "dict", "required": True, "options": STORE}
ONE_DATABASE: Spec = {"type": "dict", "required": True, "options": DATABASE}
DATABASES: Spec = {"type": "list", "elements": "dict", "required": True, "options": DATABASE}
JOBS = ("backup", "copy", "verify", "prune")
SCHEDULES: Spec = {"type": "dict", "default": {}, "options": dict.fromkeys(JOBS, _TEXT)}
LABEL: Spec = {"type": "str", "default": "manual", "choices": list(LABELS)}
WORK_DIR: Spec = {"type": "path", "default": "/var/tmp"}  # noqa: S108 - every file there is private and locked
CACHE_DIR: Spec = {"type": "path", "default": "~/.cache/runbook.ops"}

RETENTION: Spec = {
    "policy": {"type": "dict"},
    "keep_last_good": {"type": "int", "default": 1},
    "keep_labelled": {"type": "str", "default": "30d"},
}
