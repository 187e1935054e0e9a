# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The links by which Ansible finds this collection inside its own repository."""

from __future__ import annotations

from pathlib import Path

from command_line import ROOT, repository_files

COLLECTION = ROOT / "collections/ansible_collections/runbook/ops"
LOADED_BY_ANSIBLE = {"extensions", "galaxy.yml", "meta", "playbooks", "plugins", "roles"}


def test_each_entry_that_ansible_loads_is_linked_and_nothing_else() -> None:
    entries = {path.name: path.readlink() for path in COLLECTION.iterdir()}
    present = {path.name for path in ROOT.iterdir()} & LOADED_BY_ANSIBLE
    assert entries == {name: Path("../../../..") / name for name in present}


def test_there_is_no_other_link_in_the_repository() -> None:
    """A link to a directory below plugins or roles is refused by `ansible-test`; one to the root would be walked for ever."""
    links = [ROOT / path for path in repository_files() if (ROOT / path).is_symlink()]
    assert {link.parent for link in links} == {COLLECTION}
