# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup runbook.ops.collection_archive."""

from __future__ import annotations

DOCUMENTATION = r"""
name: collection_archive
short_description: This collection's own files, packed
version_added: 1.0.0
description: Packs what is needed to run this collection elsewhere, from a checkout or an installed collection alike.
author: The runbook.ops contributors (!UNKNOWN)
options: {}
"""

EXAMPLES = r"""
- name: Say how large the collection is
  ansible.builtin.debug:
    msg: "{{ lookup('runbook.ops.collection_archive') | length }}"
"""

RETURN = r"""
_raw:
  description: A compressed tar in Base64, the same for the same files.
  type: list
  elements: str
"""

import base64
from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible_collections.runbook.ops.plugins.module_utils._scheduling.collection import pack

_ROOT = Path(__file__).parents[2]


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible ships no types
    """Reads nothing but its own collection."""

    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[str]:
        return [base64.b64encode(pack(str(_ROOT))).decode()]
