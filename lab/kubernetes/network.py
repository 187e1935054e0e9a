# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node's network: a bridge of our own for its address and its pods, and the rules that let them speak."""

from __future__ import annotations

import json
import os
import shlex
import socket
from collections.abc import Iterator
from contextlib import suppress

from ansible_collections.runbook.ops.plugins.module_utils._errors import CommandFailed, InputError

from ..command import run

BRIDGE = "runbook-lab0"
ADDRESS = "10.224.0.1"
"""The node's: one on loopback is refused. Pods have it as their gateway."""
PODS = "10.224.0.0/16"
SERVICES = "10.225.0.0/16"
DNS = "10.225.0.10"
API_PORT = 6443

_COMMENT = ("-m", "comment", "--comment", "runbook.ops.lab")
_RULES = (
    # A Docker Engine drops what is forwarded, except its own.
    ("filter", "FORWARD", "-s", PODS, "-j", "ACCEPT"),
    ("filter", "FORWARD", "-d", PODS, "-j", "ACCEPT"),
    # The API server listens everywhere, for pods need it as well: only they and this machine get there.
    ("filter", "INPUT", "-p", "tcp", "--dport", str(API_PORT), "!", "-i", "lo", "!", "-s", PODS, "-j", "DROP"),
    ("nat", "POSTROUTING", "-s", PODS, "!", "-d", PODS, "-j", "MASQUERADE"),
)
_SETTINGS = {
    "net/ipv4/ip_forward": "1",
    "net/bridge/bridge-nf-call-iptables": "1",  # a pod that reaches a Service on its own bridge is answered from there
    f"net/ipv4/conf/{BRIDGE}/route_localnet": "1",  # what listens on loopback may be published to pods
}


def up(directory: str) -> None:
    """Bridge and rules, where they are missing, and the configuration of Debian's CNI plugins."""
    found = owner()
    if found not in (None, "", directory):
        raise InputError(f"The cluster of another laboratory, {found}, is on this machine: take it down first.")
    if found is None:
        run(["ip", "link", "add", BRIDGE, "type", "bridge"], timeout=20)
    run(["ip", "link", "set", BRIDGE, "alias", directory], timeout=20)
    run(["ip", "address", "replace", f"{ADDRESS}/{PODS.partition('/')[2]}", "dev", BRIDGE], timeout=20)
    run(["ip", "link", "set", BRIDGE, "up"], timeout=20)
    with suppress(CommandFailed):  # built in, or loaded already, or there is nothing to load it with
        run(["modprobe", "br_netfilter"], timeout=20)
    for name, value in _SETTINGS.items():
        _set(name, value)
    for rule in _RULES:
        _ensure(*rule)
    told = {
        "cniVersion": "0.4.0", "name": "runbook-lab", "plugins": [{
            "type": "bridge", "bridge": BRIDGE, "isGateway": True, "hairpinMode": True,
            "ipam": {"type": "host-local", "dataDir": os.path.join(directory, "leases"), "ranges": [[{"subnet": PODS}]],
                     "routes": [{"dst": "0.0.0.0/0"}]},
        }],
    }  # fmt: skip
    plugins = os.path.join(directory, "cni")
    os.makedirs(plugins, exist_ok=True)
    with open(os.path.join(plugins, "10-runbook-lab.conflist.partial"), "w", encoding="utf-8") as file:
        json.dump(told, file, indent=2)
    os.rename(file.name, file.name.removesuffix(".partial"))


def owner() -> str | None:
    """The directory of the laboratory whose the bridge is, where there is one."""
    if not any(name == BRIDGE for _number, name in socket.if_nameindex()):
        return None
    (told,) = json.loads(run(["ip", "-json", "link", "show", "dev", BRIDGE], timeout=20))
    return str(told.get("ifalias", ""))


def publish(port: int) -> None:
    """Let pods reach this machine's ``port`` on loopback at the node's address; and this machine, so that one URL does."""
    for rule in _published(port):
        _ensure(*rule)


def down() -> None:
    """Take away all of ours, and what the node's programs leave."""
    for table in ("filter", "nat"):
        for rule in run(["iptables-save", "-t", table], timeout=30).splitlines():
            words = shlex.split(rule)
            if words[:1] == ["-A"] and _COMMENT[-1] in words:
                _iptables(table, "-D", *words[1:])
    for chain in ("INPUT", "OUTPUT"):
        with suppress(CommandFailed):
            _iptables("filter", "-D", chain, "-j", "KUBE-FIREWALL")
    for table, chains in {"filter": ("KUBE-FIREWALL",), "mangle": (), "nat": ()}.items():
        for chain in (*chains, "KUBE-KUBELET-CANARY", "KUBE-IPTABLES-HINT"):
            for verb in ("-F", "-X"):
                with suppress(CommandFailed):
                    _iptables(table, verb, chain)
    if owner() is not None:
        run(["ip", "link", "delete", BRIDGE], timeout=20)


def _published(port: int) -> Iterator[tuple[str, ...]]:
    for way in (("PREROUTING", "-i", BRIDGE), ("OUTPUT", "-o", "lo")):
        yield ("nat", *way, "-d", ADDRESS, "-p", "tcp", "--dport", str(port),
               "-j", "DNAT", "--to-destination", f"127.0.0.1:{port}")  # fmt: skip


def _ensure(table: str, chain: str, *rule: str) -> None:
    try:
        _iptables(table, "-C", chain, *_COMMENT, *rule)
    except CommandFailed:
        _iptables(table, "-I", chain, *_COMMENT, *rule)


def _iptables(table: str, *arguments: str) -> None:
    run(["iptables", "-w", "10", "-t", table, *arguments], timeout=30)


def _set(name: str, value: str) -> None:
    path = f"/proc/sys/{name}"
    with open(path, encoding="ascii") as file:
        if file.read().strip() == value:
            return
    with open(path, "w", encoding="ascii") as file:
        file.write(value)
