# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``kubectl`` complains of, in words that say what to do. Pure."""

from __future__ import annotations

import re

from .._errors import PlatformError

_COMPLAINT = re.compile(
    r"^(?:error: |Error from server|Unable to connect|The connection to the server|\w+Error:)", re.M
)
_STATUS = re.compile(r"Error from server \((\w+)\): (.*)", re.S)
_MAY_NOT = re.compile(
    r'User "([^"]+)" cannot (\S+) resource "([^"]+)" in API group "([^"]*)"(?: in the namespace "([^"]+)")?'
)
_AWAY = re.compile(
    r"The connection to the server .* was refused|Unable to connect to the server|connection refused|i/o timeout|"
    r"no route to host|TLS handshake|connection reset by peer|Client\.Timeout|context deadline exceeded|\bEOF\b"
)

_NODE = re.compile(r"error dialing backend: (.*)")
_NO_NAMESPACE = re.compile(r'namespaces "([^"]+)" not found')
_NO_SHELL = re.compile(r'exec: "sh": executable file not found|exec: "sh": stat sh: no such file')


class Refusal(PlatformError):
    """The API server answered that it will not: ``reason`` is its own word, such as ``NotFound``; empty for what ``kubectl``,
    or nobody, answered."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


def complaint(said: str) -> str | None:
    """What ``kubectl`` itself said at the end of stderr, on one line; ``None`` if it said nothing that is known to be its own."""
    found = list(_COMPLAINT.finditer(said))
    return " ".join(said[found[-1].start() :].split()) if found else None


def refusal(said: str, cluster: str) -> Refusal:
    """The sentence for ``kubectl``'s stderr; ``cluster`` says which one was asked."""
    told = complaint(said) or " ".join(said.split()) or "kubectl said nothing"
    status = _STATUS.search(told)
    reason, message = (status[1], status[2]) if status else ("", told)
    if found := _MAY_NOT.search(told):
        return Refusal(_may_not(*found.groups(default="")), "Forbidden")
    if (
        reason == "Unauthorized"
        or "(Unauthorized)" in told
        or "getting credentials" in told
        or "expired certificate" in told
    ):
        return Refusal(
            f"{cluster} does not accept who we are ({message}): the token or certificate has expired or was revoked; "
            "log in again, or name another kubeconfig.",
            "Unauthorized",
        )
    if found := _NODE.search(told):
        return Refusal(
            f"{cluster} does not reach the pod's node ({found[1]}): see whether the node is Ready (kubectl get nodes)."
        )
    if _NO_SHELL.search(told):
        return Refusal(
            "The image has no shell (sh), with which programs are run in it and watched: use an image that has one."
        )
    if not reason and _AWAY.search(told):
        return Refusal(f"{cluster} does not answer ({message}): see whether it runs and is reached from this host.")
    if found := _NO_NAMESPACE.search(message):
        message = f"{found[0]}: create it (kubectl create namespace {found[1]}), or name another"
    return Refusal(f"{cluster} refused: {message.removeprefix('error: ').rstrip('.')}.", reason)


def _may_not(user: str, verb: str, resource: str, group: str, namespace: str) -> str:
    where = f"in the namespace {namespace}" if namespace else "in the cluster"
    of_group = f" of {group}" if group else ""
    return (
        f"The account {user} may not {verb} {resource}{of_group} {where}: bind it to a role whose rules have "
        f"the verb {verb} on {resource}."
    )
