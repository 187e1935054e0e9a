# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster's API by way of ``kubectl``, which knows every way to log in that there is.

What is asked is asked of the API's own paths (``--raw``): without ``kubectl``'s discovery, which costs requests and writes a
cache. No option is given that is not needed: many, such as ``--request-timeout``, make it overlook a pod's service account.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from .._errors import CommandFailed, InputError, MissingLibrary, TimedOut
from .._records import parse_time
from ._kubectl_errors import Refusal, refusal
from .local import LocalInstance

ANSWER_SECONDS = 60.0
"""The API server answers what is asked about pods at once; a minute of silence is a hung one, or a network that swallows."""

_ANSWER_LIMIT = 256 << 20
_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token"


@dataclass(frozen=True)
class Kubectl:
    """A cluster: that of a kubeconfig and context, else the one that ``kubectl`` finds by itself."""

    kubeconfig: str | None = None
    context: str | None = None

    def __str__(self) -> str:
        if self.inside:
            return "The API server of this pod's cluster"
        return (
            f"The API server of the context {self.context}" if self.context else "The API server of the current context"
        )

    @property
    def inside(self) -> bool:
        """Whether we are a pod of that cluster, with its service account."""
        configured = self.kubeconfig or self.context or os.environ.get("KUBECONFIG")
        return (
            not configured
            and not os.path.exists(os.path.expanduser("~/.kube/config"))
            and bool(os.environ.get("KUBERNETES_SERVICE_HOST"))
            and os.path.exists(_ACCOUNT)
        )

    def argv(self, *arguments: str) -> list[str]:
        program = shutil.which("kubectl")
        if program is None:
            raise MissingLibrary(
                "kubectl is not installed on this host, and the cluster is spoken to by it: install it."
            )
        kubeconfig = ["--kubeconfig", self.kubeconfig] if self.kubeconfig else []
        return [program, *kubeconfig, *(["--context", self.context] if self.context else []), *arguments]

    def get(self, path: str, **query: str) -> Any:
        return json.loads(self.done("get", "--raw", _target(path, query)))

    def create(self, path: str, body: Mapping[str, Any]) -> Any:
        return json.loads(self.done("create", "--raw", path, "--filename", "-", stdin=json.dumps(body).encode()))

    def delete(self, path: str, uid: str) -> None:
        """That one and no other that has its name by now."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        self.done("delete", "--raw", path, "--filename", "-", stdin=json.dumps(body).encode())

    def now(self) -> datetime:
        """By the API server's clock, which stamps what is made there: every account may ask who it is, and the answer is dated."""
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = self.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", asked)
        return parse_time(answer["metadata"]["creationTimestamp"])

    def contexts(self) -> list[str]:
        """Those that the kubeconfig has; none where it cannot be read."""
        kubeconfig = ["--kubeconfig", self.kubeconfig] if self.kubeconfig else []
        argv = [self.argv()[0], *kubeconfig, "config", "get-contexts", "--output", "name"]
        return LocalInstance().run(argv, timeout=ANSWER_SECONDS).stdout.decode().split()

    def done(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """What it wrote to stdout; anything but success is an error that says what to do."""
        try:
            ended = LocalInstance().run(self.argv(*arguments), timeout=ANSWER_SECONDS, stdin=stdin, limit=_ANSWER_LIMIT)
        except TimedOut:
            raise TimedOut(
                f"{self} did not answer within {ANSWER_SECONDS:g} s: see whether it is overloaded, and reached from this host."
            ) from None
        if ended.returncode != 0:
            raise self.refused(ended.stderr)
        return ended.stdout

    def refused(self, said: str) -> CommandFailed | InputError | Refusal:
        """The error for ``kubectl``'s stderr."""
        if self.context and "context" in said and "does not exist" in said:
            there = ", ".join(self.contexts()) or "none"
            return InputError(
                f"runtime.context is {self.context!r}, which the kubeconfig does not have: it has {there}. Correct it, or name "
                "another kubeconfig."
            )
        if self.kubeconfig and not os.access(self.kubeconfig, os.R_OK):
            return InputError(
                f"runtime.kubeconfig is {self.kubeconfig!r}, which this account cannot read on this host: correct the path, or put "
                "the file there."
            )
        if "localhost:8080" in said or "no configuration has been provided" in said:
            return InputError(
                "This host has no kubeconfig, and is no pod with a service account: set runtime.kubeconfig to the path of one."
            )
        return refusal(said, str(self))


def _target(path: str, query: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(query)}" if query else path
