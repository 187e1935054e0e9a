# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors this collection raises.

Each carries one sentence an operator can act on: what is wrong, with which object, and what to do.
Only a module's ``main()`` turns them into ``fail_json``.
"""

from __future__ import annotations


class RunbookError(Exception):
    """Base of all errors of this collection; ``str(error)`` is the sentence shown to the operator."""


class InputError(RunbookError):
    """A variable of the caller's has a value that cannot be used."""


class MissingLibrary(RunbookError):
    """A Python library or client program that the host needs is not there."""


class Unsupported(RunbookError):
    """This implementation of a contract declares that it cannot do what was asked."""


class CommandFailed(RunbookError):
    """A program ran and failed, or was cut off; the message holds the end of its stderr, never its environment."""


class TimedOut(CommandFailed):
    """A program, server or save did not finish within its time limit."""


class PlatformError(RunbookError):
    """The platform that services run on does not answer, or does not let this account in."""


class EngineError(RunbookError):
    """A database could not be reached, read or restored."""


class Busy(RunbookError):
    """Somebody else is doing this very thing now; nothing was touched."""


class StoreError(RunbookError):
    """A store could not be read or written."""


class NotFound(StoreError):
    """The object, directory or bucket is not there."""


class Refused(StoreError):
    """The store refused by rule (permission, Object Lock, archive class), so retrying is pointless."""


class Archived(Refused):
    """The object lies in an archive class: it must be requested, and waited for, before it can be read."""


class Changed(StoreError):
    """The object is another one than was looked at: somebody wrote it meanwhile."""


class NoSpace(RunbookError):
    """There is not enough free space for what would be written."""


class Unreadable(RunbookError):
    """A record in a store does not parse, contradicts its path, or has another ``format``."""


class Damaged(RunbookError):
    """The bytes of an artefact are not what its manifest says."""
