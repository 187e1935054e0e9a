# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes, CoreDNS and Helm as programs, out of the Go modules in ``program/``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..go import Programs, demanded

_SOURCES = Path(__file__).resolve().parent / "program"


def _versions() -> Iterator[tuple[str, str]]:
    """Those that the programs say they are of."""
    kubernetes = demanded(_SOURCES, "k8s.io/kubernetes")
    major, minor, _patch = kubernetes.split(".")
    yield "k8s.io/component-base/version.gitVersion", f"v{kubernetes}"
    yield "k8s.io/component-base/version.gitMajor", major
    yield "k8s.io/component-base/version.gitMinor", minor
    yield "helm.sh/helm/v3/internal/version.version", f"v{demanded(_SOURCES, 'helm.sh/helm/v3')}"
    for package in ("lint/rules", "chartutil"):
        yield f"helm.sh/helm/v3/pkg/{package}.k8sVersionMajor", major
        yield f"helm.sh/helm/v3/pkg/{package}.k8sVersionMinor", minor


_PROGRAMS = Programs(
    title="Kubernetes",
    sources=_SOURCES,
    packages=(".", "./coredns", "./pause", "helm.sh/helm/v3/cmd/helm"),
    values=tuple(_versions()),
    also=(
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-proxy",
        "kubectl",
        "provisioner",
    ),
    otherwise=", or name a cluster's kubeconfig in RUNBOOK_LAB_KUBECONFIG",
)
directory = _PROGRAMS.directory
ensure = _PROGRAMS.ensure
possible = _PROGRAMS.possible
program = _PROGRAMS.program
ready = _PROGRAMS.ready
version = _PROGRAMS.version
