# Copyright (c) 2026, the runbook.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers of a cluster of one node: what each is told, and how one asks whether it is well."""

from __future__ import annotations

import json
import os
import ssl
import urllib.error
import urllib.request
from contextlib import suppress
from typing import Any

from ansible_collections.runbook.ops.plugins.module_utils._errors import CommandFailed
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from .. import certificates
from ..command import run
from ..embedded.configuration import write
from . import build, network
from .component import Component

NODE = "runbook-lab"
CONTEXT = "runbook-lab"
ETCD = "https://127.0.0.1:2479"
_ETCD_HEALTH = "http://127.0.0.1:2481"
_KUBE_USERS = {
    "admin": ("laboratory", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", "system:controllers"),
    "kube-scheduler": ("system:kube-scheduler", "system:schedulers"),
    "kube-proxy": ("system:kube-proxy", "system:proxies"),
    "provisioner": ("provisioner", "system:masters"),
    "kubelet": (f"system:node:{NODE}", "system:nodes"),
}


def certify(directory: str) -> None:
    """Certificates for every server and client, each account's kubeconfig, and the key of the cluster's own tokens."""
    authority, keys = os.path.join(directory, "authority"), os.path.join(directory, "keys")
    names = [NODE, "localhost", "127.0.0.1", network.ADDRESS, str(network.SERVICES.replace(".0/16", ".1")),
             "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]  # fmt: skip
    certificates.ensure(authority, os.path.join(keys, "server"), names)
    for user, (name, group) in _KUBE_USERS.items():
        certificates.ensure(authority, os.path.join(keys, user), [name], group=group)
        path = os.path.join(directory, "kubeconfig" if user == "admin" else f"keys/{user}.kubeconfig")
        write(path, _kubeconfig(directory, user))
    if not os.path.exists(os.path.join(keys, "tokens.key")):
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        write(os.path.join(keys, "tokens.key"), key.private_bytes(*form))


def _kubeconfig(directory: str, user: str) -> bytes:
    told = {
        "apiVersion": "v1", "kind": "Config", "current-context": CONTEXT,
        "clusters": [{"name": CONTEXT, "cluster": {
            "server": f"https://127.0.0.1:{network.API_PORT}",
            "certificate-authority": os.path.join(directory, "authority", "ca.crt")}}],
        "users": [{"name": user, "user": {
            "client-certificate": os.path.join(directory, "keys", f"{user}.crt"),
            "client-key": os.path.join(directory, "keys", f"{user}.key")}}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": user}}],
    }  # fmt: skip
    return json.dumps(told, indent=2).encode()


def etcd(directory: str) -> Component:
    peer = "http://127.0.0.1:2480"
    argv = [
        "/usr/bin/etcd", "--name", NODE, "--data-dir", os.path.join(directory, "etcd"), "--log-level", "warn",
        "--listen-client-urls", ETCD, "--advertise-client-urls", ETCD, "--listen-peer-urls", peer,
        "--initial-advertise-peer-urls", peer, "--initial-cluster", f"{NODE}={peer}",
        "--listen-metrics-urls", _ETCD_HEALTH, "--client-cert-auth", "--enable-grpc-gateway=false", "--auto-compaction-retention", "1",
        "--trusted-ca-file", _key(directory, "../authority/ca.crt"),
        "--cert-file", _key(directory, "server.crt"), "--key-file", _key(directory, "server.key"),
    ]  # fmt: skip
    return Component("etcd", directory, argv, lambda: _well(f"{_ETCD_HEALTH}/health"))


def containerd(directory: str) -> Component:
    """One beside Docker's: socket, images and state are its own."""
    configuration = f"""\
version = 2
root = "{directory}/containerd"
state = "{directory}/run/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "{socket(directory)}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{directory}/cni"
"""
    path = os.path.join(directory, "keys", "containerd.toml")
    write(path, configuration.encode(), replace=True)

    def ready() -> bool:
        with suppress(CommandFailed):
            return bool(ctr(directory, "version", timeout=10))
        return False

    return Component("containerd", directory, ["/usr/bin/containerd", "--config", path], ready, configuration.encode())


PROVISIONER = "runbook.ops/lab"
PAUSE = f"runbook-lab/pause:{build.version('k8s.io/kubernetes')}"
COREDNS = f"runbook-lab/coredns:{build.version('github.com/coredns/coredns')}"


def socket(directory: str) -> str:
    return os.path.join(directory, "run", "containerd.sock")


def ctr(directory: str, *arguments: str, timeout: float = 60) -> str:
    """containerd's own client, in the namespace where Kubernetes keeps its containers and images."""
    return run(["ctr", "--address", socket(directory), "--namespace", "k8s.io", *arguments], timeout=timeout)


def apiserver(directory: str) -> Component:
    argv = [
        build.program("kube-apiserver"), "--advertise-address", network.ADDRESS,
        "--bind-address", "0.0.0.0",  # noqa: S104 - the network's rules let nobody else in
        "--secure-port", str(network.API_PORT), "--service-cluster-ip-range", network.SERVICES,
        "--etcd-servers", ETCD, "--etcd-cafile", _key(directory, "../authority/ca.crt"),
        "--etcd-certfile", _key(directory, "admin.crt"), "--etcd-keyfile", _key(directory, "admin.key"),
        "--client-ca-file", _key(directory, "../authority/ca.crt"), "--anonymous-auth=false",
        "--tls-cert-file", _key(directory, "server.crt"), "--tls-private-key-file", _key(directory, "server.key"),
        "--service-account-key-file", _key(directory, "tokens.key"),
        "--service-account-signing-key-file", _key(directory, "tokens.key"),
        "--service-account-issuer", "https://kubernetes.default.svc.cluster.local",
        "--kubelet-client-certificate", _key(directory, "admin.crt"),
        "--kubelet-client-key", _key(directory, "admin.key"),
        "--kubelet-certificate-authority", _key(directory, "../authority/ca.crt"),
        "--kubelet-preferred-address-types", "InternalIP", "--authorization-mode", "Node,RBAC",
        "--enable-admission-plugins", "NodeRestriction", "--allow-privileged", "--profiling=false",
    ]  # fmt: skip
    url = f"https://127.0.0.1:{network.API_PORT}/readyz"
    # It would wait for everybody who is watching; what it was told is in etcd.
    return Component("kube-apiserver", directory, argv, lambda: _well(url, directory), patience=2)


def controller_manager(directory: str) -> Component:
    argv = [
        build.program("kube-controller-manager"), "--kubeconfig", _key(directory, "kube-controller-manager.kubeconfig"),
        "--bind-address", "127.0.0.1", "--tls-cert-file", _key(directory, "server.crt"),
        "--tls-private-key-file", _key(directory, "server.key"), "--use-service-account-credentials",
        "--service-account-private-key-file", _key(directory, "tokens.key"),
        "--root-ca-file", _key(directory, "../authority/ca.crt"), "--leader-elect=false", "--profiling=false",
        "--flex-volume-plugin-dir", os.path.join(directory, "plugins"),
    ]  # fmt: skip
    return Component("kube-controller-manager", directory, argv, lambda: _well(
        "https://127.0.0.1:10257/healthz", directory))  # fmt: skip


def scheduler(directory: str) -> Component:
    argv = [
        build.program("kube-scheduler"), "--kubeconfig", _key(directory, "kube-scheduler.kubeconfig"),
        "--bind-address", "127.0.0.1", "--tls-cert-file", _key(directory, "server.crt"),
        "--tls-private-key-file", _key(directory, "server.key"), "--leader-elect=false", "--profiling=false",
    ]  # fmt: skip
    return Component("kube-scheduler", directory, argv, lambda: _well(
        "https://127.0.0.1:10259/healthz", directory))  # fmt: skip


def kubelet(directory: str) -> Component:
    told = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "address": network.ADDRESS, "healthzBindAddress": "127.0.0.1",
        "tlsCertFile": _key(directory, "server.crt"), "tlsPrivateKeyFile": _key(directory, "server.key"),
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True},
                           "x509": {"clientCAFile": os.path.join(directory, "authority", "ca.crt")}},
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{socket(directory)}",
        "clusterDNS": [network.DNS], "clusterDomain": "cluster.local", "resolvConf": "",
        "cgroupDriver": "cgroupfs", "failCgroupV1": False, "failSwapOn": False, "oomScoreAdj": 0,
        "podLogsDir": os.path.join(directory, "pods"), "volumePluginDir": os.path.join(directory, "plugins"),
        # The machine's disk is other people's, too; and an image that was thrown away cannot be pulled again.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100, "containerLogMaxSize": "10Mi",
    }  # fmt: skip
    path, content = _configured(directory, "kubelet", told)
    argv = [
        build.program("kubelet"), "--kubeconfig", _key(directory, "kubelet.kubeconfig"), "--config", path,
        "--node-ip", network.ADDRESS, "--hostname-override", NODE, "--root-dir", os.path.join(directory, "kubelet"),
        "--cert-dir", os.path.join(directory, "kubelet", "pki"),
    ]  # fmt: skip
    return Component("kubelet", directory, argv, lambda: _well("http://127.0.0.1:10248/healthz"), content)


def proxy(directory: str) -> Component:
    told = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": _key(directory, "kube-proxy.kubeconfig")},
        "hostnameOverride": NODE, "mode": "iptables", "clusterCIDR": network.PODS,
        "nodePortAddresses": ["127.0.0.0/8"],  # what is published is published to this machine
        "healthzBindAddress": "127.0.0.1:10256", "metricsBindAddress": "127.0.0.1:10249", "oomScoreAdj": 0,
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }  # fmt: skip
    path, content = _configured(directory, "kube-proxy", told)
    argv = [build.program("kube-proxy"), "--config", path]
    return Component("kube-proxy", directory, argv, lambda: _well("http://127.0.0.1:10256/healthz"), content)


def provisioner(directory: str) -> Component:
    argv = [
        build.program("provisioner"), "--kubeconfig", _key(directory, "provisioner.kubeconfig"),
        "--directory", os.path.join(directory, "volumes"), "--name", PROVISIONER, "--address", "127.0.0.1:10270",
    ]  # fmt: skip
    return Component("provisioner", directory, argv, lambda: _well("http://127.0.0.1:10270/"))


def all_of(directory: str) -> tuple[Component, ...]:
    """In the order in which they start."""
    return (etcd(directory), containerd(directory), apiserver(directory), controller_manager(directory),
            scheduler(directory), provisioner(directory), proxy(directory), kubelet(directory))  # fmt: skip


def _configured(directory: str, name: str, told: dict[str, Any]) -> tuple[str, bytes]:
    path, content = os.path.join(directory, "keys", f"{name}.json"), json.dumps(told, indent=2).encode()
    write(path, content, replace=True)
    return path, content


def _key(directory: str, name: str) -> str:
    return os.path.normpath(os.path.join(directory, "keys", name))


def _well(url: str, directory: str | None = None) -> bool:
    """Whether it says so, over TLS as the cluster's administrator."""
    trusted = None
    if directory:
        trusted = ssl.create_default_context(cafile=_key(directory, "../authority/ca.crt"))
        trusted.load_cert_chain(_key(directory, "admin.crt"), _key(directory, "admin.key"))
    with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=5, context=trusted) as answer:  # noqa: S310
        return int(answer.status) == 200
    return False
