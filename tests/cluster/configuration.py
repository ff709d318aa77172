"""The configuration files of containerd, its network, kubelet and kube-proxy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import addresses
from tests.cluster.certificates import Authority, Pair
from tests.cluster.layout import Layout
from tests.cluster.requirements import program

SOCKET = "/run/containerd/containerd.sock"
# a listener writes each event down, and an event may have 5 MiB: what tests read stays in one file
LOG = "256Mi"


def containerd(layout: Layout, plugins: Path, pause: str) -> Path:
    """containerd with the CRI, which pulls from the node's own registry over plain HTTP."""
    hosts = layout.configuration / "registries" / addresses.REGISTRY
    hosts.mkdir(parents=True)
    (hosts / "hosts.toml").write_text(f'server = "http://{addresses.REGISTRY}"\n')
    networks = layout.configuration / "networks"
    networks.mkdir()
    (networks / "10-bridge.conflist").write_text(json.dumps(_network(), indent=1))
    path = layout.configuration / "containerd.toml"
    path.write_text(f"""\
version = 3
root = "{layout.data}/containerd"
state = "/run/containerd"
[grpc]
address = "{SOCKET}"
[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{pause}"
[plugins."io.containerd.cri.v1.images".registry]
config_path = "{hosts.parent}"
[plugins."io.containerd.cri.v1.runtime"]
# a container of lower score than ours would need CAP_SYS_RESOURCE
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{plugins}"]
conf_dir = "{networks}"
[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "runc"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "{program("runc")}"
SystemdCgroup = false
""")
    return path


def _network() -> dict[str, Any]:
    # no masquerading: what leaves the bridge has nowhere to go
    addressing = {
        "type": "host-local",
        "ranges": [[{"subnet": addresses.PODS, "rangeStart": "10.244.1.1"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {
        "type": "bridge",
        "bridge": addresses.BRIDGE,
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": addressing,
    }
    return {
        "cniVersion": "1.0.0",
        "name": "bridge",
        "plugins": [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}],
    }


def kubelet(layout: Layout, authority: Authority, serving: Pair) -> Path:
    """kubelet on cgroups of either version, without evictions for a disk that others fill."""
    return _written(
        layout.configuration / "kubelet.yaml",
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(authority.pair.certificate)},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(serving.certificate),
            "tlsPrivateKeyFile": str(serving.key),
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{layout.cgroup}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "oomScoreAdj": 0,
            "podLogsDir": str(layout.data / "pods"),
            "staticPodPath": "",
            "resolvConf": "",
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1Gi"},
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "maxPods": 250,
            "containerLogMaxSize": LOG,
            "registryPullQPS": 0,
            "serializeImagePulls": False,
            "syncFrequency": "10s",
        },
    )


def kube_proxy(layout: Layout, kubeconfig: Path) -> Path:
    """kube-proxy by iptables; the limits of connection tracking are the whole kernel's, and stay."""
    return _written(
        layout.configuration / "kube-proxy.yaml",
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            "clusterCIDR": addresses.PODS,
            "hostnameOverride": addresses.NODE,
            "mode": "iptables",
            "iptables": {"minSyncPeriod": "100ms"},
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
        },
    )


def _written(path: Path, document: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(document))
    return path
