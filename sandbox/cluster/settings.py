# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the programs of a cluster's node are started with. They run in namespaces of their own, so nothing is chosen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NODE = "tradingflow"
BRIDGE, NETWORK, ADDRESS = "cni0", "10.244.0.0/24", "10.244.0.1"
SERVICES, API_SERVICE = "10.96.0.0/16", "10.96.0.1"
#: In the node's own /run, which is in memory.
KEYS, SETTINGS, CONTAINERD = "/run/keys", "/run/settings", "unix:///run/containerd/containerd.sock"
PLUGINS = "/usr/lib/cni"
#: What a kubelet sets for the whole machine, unless it finds it so. It does find it so.
KERNEL = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}
UNUSED = ("internal.v1.opt", *(f"snapshotter.v1.{name}" for name in ("aufs", "btrfs", "devmapper", "zfs")))


def kubelet() -> dict[str, Any]:
    """The kubelet's configuration."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "0.0.0.0",  # noqa: S104 - of its own network
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{KEYS}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{KEYS}/kubelet-server.crt",
        "tlsPrivateKeyFile": f"{KEYS}/kubelet-server.key",
        "containerRuntimeEndpoint": CONTAINERD,
        "cgroupDriver": "cgroupfs",
        "enforceNodeAllocatable": [],
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "failCgroupV1": False,
        "failSwapOn": False,
        # What the machine does not allow, such as its own settings, is left as it is.
        "featureGates": {"KubeletInUserNamespace": True},
        "imageGCHighThresholdPercent": 100,
        "localStorageCapacityIsolation": False,
        "makeIPTablesUtilChains": False,
        "maxPods": 100,
        "registerNode": True,
        "resolvConf": f"{SETTINGS}/resolv.conf",
        "serializeImagePulls": False,
        "volumePluginDir": "/run/kubelet-plugins",
    }


def proxy() -> dict[str, Any]:
    """kube-proxy's configuration."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "bindAddress": ADDRESS,
        "clientConnection": {"kubeconfig": f"{KEYS}/proxy.kubeconfig"},
        "clusterCIDR": NETWORK,
        # The kernel's table of connections is the machine's.
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "hostnameOverride": NODE,
        # Pods share a bridge: an answer that did not come back through the node would come from a stranger.
        "iptables": {"masqueradeAll": True, "minSyncPeriod": "0s"},
        "mode": "iptables",
    }


def network() -> dict[str, Any]:
    """Of the pods: one bridge."""
    return {
        "cniVersion": "0.4.0",
        "name": "tradingflow",
        "plugins": [
            {
                "type": "bridge",
                "bridge": BRIDGE,
                "isDefaultGateway": True,
                "hairpinMode": True,
                "ipam": {"type": "host-local", "dataDir": "/run/cni", "ranges": [[{"subnet": NETWORK}]]},
            }
        ],
    }


def containerd(registry: int) -> str:
    """containerd's configuration."""
    return f"""version = 2
root = "/run/containerd/root"
state = "/run/containerd/state"
oom_score = 0
disabled_plugins = [{", ".join(f'"io.containerd.{name}"' for name in UNUSED)}]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "127.0.0.1:{registry}/tradingflow/pause:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{PLUGINS}"
    conf_dir = "{SETTINGS}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""


def registry(port: int) -> dict[str, Any]:
    """The registry's configuration."""
    return {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": "/run/registry"}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }


def write(folder: Path, ports: dict[str, int]) -> None:
    """Writes the files of configuration."""
    (folder / "cni").mkdir(parents=True)
    (folder / "resolv.conf").write_text("", encoding="utf-8")
    (folder / "containerd.toml").write_text(containerd(ports["registry"]), encoding="utf-8")
    # JSON is YAML, too.
    for name, content in {
        "kubelet.yaml": kubelet(),
        "proxy.yaml": proxy(),
        "registry.yaml": registry(ports["registry"]),
        "cni/10-tradingflow.conflist": network(),
    }.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")


def commands(programs: Path, ports: dict[str, int]) -> dict[str, list[str]]:
    """The programs, in the order of their start."""

    def made(name: str, *options: str) -> list[str]:
        return [str(programs / name), *(f"--{option}" for option in options)]

    def known(name: str) -> list[str]:
        file = f"{KEYS}/{name}.kubeconfig"
        return [f"kubeconfig={file}", f"authentication-kubeconfig={file}", f"authorization-kubeconfig={file}"]

    return {
        "containerd": ["containerd", "--config", f"{SETTINGS}/containerd.toml"],
        "registry": ["docker-registry", "serve", f"{SETTINGS}/registry.yaml"],
        "etcd": made(
            "etcd",
            "data-dir=/run/etcd",
            "listen-client-urls=https://127.0.0.1:2379",
            "advertise-client-urls=https://127.0.0.1:2379",
            f"cert-file={KEYS}/etcd.crt",
            f"key-file={KEYS}/etcd.key",
            f"trusted-ca-file={KEYS}/etcd-ca.crt",
            "client-cert-auth",
            # It is in memory anyway.
            "unsafe-no-fsync",
        ),
        "kube-apiserver": made(
            "kube-apiserver",
            "etcd-servers=https://127.0.0.1:2379",
            f"etcd-cafile={KEYS}/etcd-ca.crt",
            f"etcd-certfile={KEYS}/etcd-client.crt",
            f"etcd-keyfile={KEYS}/etcd-client.key",
            "bind-address=0.0.0.0",
            f"secure-port={ports['api']}",
            f"advertise-address={ADDRESS}",
            f"tls-cert-file={KEYS}/apiserver.crt",
            f"tls-private-key-file={KEYS}/apiserver.key",
            f"client-ca-file={KEYS}/ca.crt",
            # Of proxies in front of it. There are none, and programs ask for it all the time.
            f"requestheader-client-ca-file={KEYS}/front-ca.crt",
            "requestheader-allowed-names=nobody",
            f"service-account-key-file={KEYS}/tokens.pub",
            f"service-account-signing-key-file={KEYS}/tokens.key",
            "service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"service-cluster-ip-range={SERVICES}",
            "authorization-mode=Node,RBAC",
            "enable-admission-plugins=NodeRestriction",
            f"kubelet-certificate-authority={KEYS}/ca.crt",
            f"kubelet-client-certificate={KEYS}/apiserver-kubelet.crt",
            f"kubelet-client-key={KEYS}/apiserver-kubelet.key",
            "kubelet-preferred-address-types=InternalIP",
            "profiling=false",
        ),
        "kube-controller-manager": made(
            "kube-controller-manager",
            *known("controller-manager"),
            "bind-address=127.0.0.1",
            "leader-elect=false",
            "use-service-account-credentials",
            f"service-account-private-key-file={KEYS}/tokens.key",
            f"root-ca-file={KEYS}/ca.crt",
            "profiling=false",
        ),
        "kube-scheduler": made(
            "kube-scheduler",
            *known("scheduler"),
            "bind-address=127.0.0.1",
            "leader-elect=false",
            "profiling=false",
        ),
        "kubelet": made(
            "kubelet",
            f"config={SETTINGS}/kubelet.yaml",
            f"kubeconfig={KEYS}/kubelet.kubeconfig",
            f"hostname-override={NODE}",
            f"node-ip={ADDRESS}",
            "root-dir=/run/kubelet",
        ),
        "kube-proxy": made("kube-proxy", f"config={SETTINGS}/proxy.yaml"),
    }
