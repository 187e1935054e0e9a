# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where on a host the things of a schedule lie: the system's places for root, a home's for anybody else. Pure."""

from __future__ import annotations

import os
from dataclasses import dataclass

NAME = "runbook.ops"


@dataclass(frozen=True)
class Layout:
    """``library`` holds what all systems share, ``configuration`` and ``state`` what is one system's."""

    library: str
    configuration: str
    state: str

    @classmethod
    def of(cls, system: str, root: str = "/") -> Layout:
        """This account's; ``root`` stands in for ``/``, and then it is the system's places whoever asks."""
        if os.geteuid() == 0 or root != "/":
            return cls._below(system, *(os.path.join(root, place) for place in ("opt", "etc", "var/lib")))
        return cls._below(
            system, *(os.path.expanduser(f"~/{place}") for place in (".local/share", ".config", ".local/state"))
        )

    @classmethod
    def inside(cls, system: str, root: str = "/") -> Layout:
        """The same as it is once ``root`` has become ``/``."""
        return cls.of(system) if root == "/" else cls._below(system, "/opt", "/etc", "/var/lib")

    @classmethod
    def _below(cls, system: str, library: str, configuration: str, state: str) -> Layout:
        library, configuration, state = (os.path.join(place, NAME) for place in (library, configuration, state))
        return cls(library, os.path.join(configuration, system), os.path.join(state, system))

    @property
    def python(self) -> str:
        """Of the environment that the role ``host`` installs."""
        return os.path.join(self.library, "venv", "bin", "python")

    @property
    def runs(self) -> str:
        return os.path.join(self.state, "runs")

    @property
    def inventory(self) -> str:
        return os.path.join(self.configuration, "inventory.yml")

    @property
    def settings(self) -> str:
        """Ansible's."""
        return os.path.join(self.configuration, "ansible.cfg")

    @property
    def schedule(self) -> str:
        """What is scheduled, for the program that runs it."""
        return os.path.join(self.configuration, "schedule.json")

    def collection(self, digest: str) -> str:
        return os.path.join(self.library, "collections", digest)
