# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our own cluster as a whole: brought up from whatever a kill, a reboot or nothing at all left, and taken down."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

from ansible_collections.runbook.ops.plugins.module_utils._errors import CommandFailed, TimedOut

from .. import debian
from ..command import run
from ..place import held, home
from . import addons, build, components, images, network

PACKAGES = ("containerd", "containernetworking-plugins", "etcd-server", "iptables", "iproute2", "runc")
PROGRAMS = ("/usr/bin/containerd", "/usr/lib/cni/bridge", "/usr/bin/etcd", "/usr/sbin/iptables", "/usr/sbin/runc")
NODE_SECONDS = 120.0
END_SECONDS = 15.0
"""For what runs in pods to end by itself."""


def up(directory: str) -> bool:
    """Whether anything had to be done. Each step leaves what is right as it is, so a killed one is finished here."""
    built = build.ensure()
    if missing := [path for path in PROGRAMS if not os.path.exists(path)]:
        debian.install(PACKAGES)
        missing = [path for path in PROGRAMS if not os.path.exists(path)]
    if missing:
        raise CommandFailed(f"Debian's packages {', '.join(PACKAGES)} are installed, but {missing[0]} is not there.")
    _forget_last_boot(directory)
    for name in ("run", "etcd", "keys", "plugins", "pods"):
        os.makedirs(os.path.join(directory, name), mode=0o700, exist_ok=True)
    os.makedirs(os.path.join(directory, "volumes"), mode=0o711, exist_ok=True)
    components.certify(directory)
    network.up(directory)
    etcd, containerd, apiserver, *others = components.all_of(directory)
    started = [server.start() for server in (etcd, containerd)]
    etcd.wait()
    started.append(apiserver.start())
    containerd.wait()
    images.ensure_own(directory)
    apiserver.wait()
    started += [server.start() for server in others]
    for server in others:
        server.wait()
    if not any(started) and _whole(directory):
        return built
    _kubectl(directory, "apply", "--filename", "-", stdin=addons.manifests())
    deadline = time.monotonic() + NODE_SECONDS
    while not _whole(directory):
        if time.monotonic() > deadline:
            raise TimedOut(f"The node and its DNS were not ready within {NODE_SECONDS:.0f} s: {_said(directory)}.")
        time.sleep(0.2)
    return True


def status(directory: str) -> list[tuple[str, bool]]:
    """Each server, and whether it is well."""
    return [(server.name, server.good()) for server in components.all_of(directory)]


def restart_api_server() -> None:
    """End the API server as a crash would, and bring it back: for tests of what befalls those who were speaking to it."""
    with held("kubernetes"):
        server = components.apiserver(home("kubernetes"))
        server.stop(signal.SIGKILL)
        server.start()
        server.wait()


def down(directory: str, *, data: bool) -> bool:
    """Stop all of it, pods included; volumes and what the cluster knows stay unless ``data``. Whether there was anything."""
    found = False
    containerd = components.containerd(directory)
    for server in reversed(components.all_of(directory)):
        if server.name == containerd.name:
            _end_containers(directory)
        found = server.stop() or found
    _unmount(directory)
    if network.owner() in ("", directory):
        with suppress(CommandFailed):
            run([build.program("kube-proxy"), "--cleanup"], timeout=60)
        network.down()
        found = True
    shutil.rmtree(os.path.join(directory, "leases"), ignore_errors=True)
    if data:
        shutil.rmtree(directory)
        found = True
    return found


def _kubectl(directory: str, *arguments: str, stdin: str = "") -> str:
    argv = [build.program("kubectl"), "--kubeconfig", os.path.join(directory, "kubeconfig"), *arguments]
    return run(argv, timeout=60, stdin=stdin)


def _whole(directory: str) -> bool:
    """Whether the node takes pods, and names are found."""
    with suppress(CommandFailed):
        ready = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
        node = _kubectl(directory, "get", "node", components.NODE, "--output", ready)
        dns = _kubectl(directory, "--namespace", "kube-system", "get", "deployment", "coredns", "--output",
                       "jsonpath={.status.readyReplicas}")  # fmt: skip
        return node == "True" and dns == "1"
    return False


def _said(directory: str) -> str:
    with suppress(CommandFailed):
        events = json.loads(_kubectl(directory, "get", "events", "--all-namespaces", "--output", "json"))["items"]
        said = [event["message"] for event in events if event["type"] == "Warning"]
        return " | ".join(said[-3:]) or "no warning"
    return "the API server does not answer"


def _end_containers(directory: str) -> None:
    """All that runs in pods: politely, then by force."""
    if not components.containerd(directory).running():
        return
    deadline = time.monotonic() + END_SECONDS
    for number in ("SIGTERM", "SIGKILL"):
        for task in _tasks(directory):
            with suppress(CommandFailed):
                components.ctr(directory, "tasks", "kill", "--all", "--signal", number, task)
        while _tasks(directory) and time.monotonic() < deadline:
            time.sleep(0.2)
        deadline += END_SECONDS
    listed = components.ctr(directory, "tasks", "list").splitlines()[1:]
    for task in (line.split()[0] for line in listed):
        with suppress(CommandFailed):
            components.ctr(directory, "tasks", "delete", "--force", task)


def _tasks(directory: str) -> list[str]:
    listed = (line.split() for line in components.ctr(directory, "tasks", "list").splitlines()[1:])
    return [name for name, _pid, state in listed if state == "RUNNING"]


def _forget_last_boot(directory: str) -> None:
    """Process numbers, addresses and mounts of before a reboot mean nothing any more."""
    path = Path(directory, "run", "boot")
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    if path.exists() and path.read_text(encoding="ascii") == boot:
        return
    _unmount(directory)
    for name in ("run", "leases"):
        shutil.rmtree(os.path.join(directory, name), ignore_errors=True)
    path.parent.mkdir(mode=0o700)
    path.write_text(boot, encoding="ascii")


def _unmount(directory: str) -> None:
    """All that is mounted below ``directory``, the innermost first."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        points = [line.split()[4].encode().decode("unicode_escape") for line in file]
    for point in sorted((point for point in points if point.startswith(f"{directory}/")), reverse=True):
        run(["umount", "--lazy", point], timeout=30)
