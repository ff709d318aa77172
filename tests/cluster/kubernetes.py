"""etcd, the API server and what belongs to it, containerd, kubelet and kube-proxy: one node."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.cluster import network, processes
from tests.cluster.certificates import PKI
from tests.cluster.layout import (
    API,
    ETCD,
    NODE,
    NODE_NAME,
    PODS,
    REGISTRY,
    RUN,
    SERVICES,
    MissingError,
)

API_SERVER = "kube-apiserver"
_SOCKET = RUN / "containerd.sock"
_PLUGINS = ("/usr/lib/cni", "/opt/cni/bin")


def control_plane(programs: Path) -> None:
    """etcd, API server, controllers, scheduler."""
    processes.start(
        "etcd",
        [
            str(programs / "server"),
            f"--data-dir={RUN}/etcd",
            f"--listen-client-urls={ETCD}",
            f"--advertise-client-urls={ETCD}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--unsafe-no-fsync",  # it holds nothing that anybody wants back
            "--log-level=warn",
        ],
    )
    api_server(programs)
    controllers = (
        "*,-nodeipam,-node-route-controller,-service-lb-controller,-cloud-node-lifecycle-controller"
    )
    processes.start(
        "kube-controller-manager",
        [
            str(programs / "kube-controller-manager"),
            f"--kubeconfig={PKI}/controller-manager.kubeconfig",
            f"--service-account-private-key-file={PKI}/accounts.key",
            f"--root-ca-file={PKI}/ca.crt",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--controllers={controllers}",
        ],
    )
    processes.start(
        "kube-scheduler",
        [
            str(programs / "kube-scheduler"),
            f"--kubeconfig={PKI}/scheduler.kubeconfig",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
        ],
    )


def api_server(programs: Path) -> None:
    """Start the API server, and wait until it is ready."""
    processes.start(
        API_SERVER,
        [
            str(programs / API_SERVER),
            f"--etcd-servers={ETCD}",
            f"--service-cluster-ip-range={SERVICES}",
            f"--bind-address={NODE}",
            f"--advertise-address={NODE}",
            "--secure-port=6443",
            f"--tls-cert-file={PKI}/api.crt",
            f"--tls-private-key-file={PKI}/api.key",
            f"--client-ca-file={PKI}/ca.crt",
            f"--kubelet-client-certificate={PKI}/api-to-kubelet.crt",
            f"--kubelet-client-key={PKI}/api-to-kubelet.key",
            f"--service-account-key-file={PKI}/accounts.pub",
            f"--service-account-signing-key-file={PKI}/accounts.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--enable-aggregator-routing=true",  # webhooks are found by EndpointSlice
            "--endpoint-reconciler-type=lease",
            "--kubelet-preferred-address-types=InternalIP",  # there is no DNS
        ],
    )
    wait_for("the API server", API_SERVER, f"{API}/readyz", 120)


def node(programs: Path) -> None:
    """containerd, kubelet and kube-proxy."""
    directory = next((each for each in _PLUGINS if Path(each, "bridge").exists()), None)
    if directory is None:
        raise MissingError("CNI plugins are not here: apt-get install containernetworking-plugins")
    (RUN / "cni").mkdir(exist_ok=True)
    (RUN / "cni" / "10-bridge.conflist").write_text(json.dumps(network.plugins()))
    hosts = RUN / "certs.d" / REGISTRY
    hosts.mkdir(parents=True, exist_ok=True)
    (hosts / "hosts.toml").write_text(f'server = "http://{REGISTRY}"\n')
    (RUN / "containerd.toml").write_text(_containerd(directory))
    path = f"{programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    processes.start(
        "containerd",
        [str(programs / "containerd"), "--config", f"{RUN}/containerd.toml"],
        {"PATH": path},
    )
    _wait_file(_SOCKET, "containerd")
    (RUN / "resolv.conf").write_text("")
    (RUN / "kubelet.yaml").write_text(_kubelet())
    processes.start(
        "kubelet",
        [
            str(programs / "kubelet"),
            f"--config={RUN}/kubelet.yaml",
            f"--kubeconfig={PKI}/kubelet.kubeconfig",
            f"--root-dir={RUN}/kubelet",
            f"--cert-dir={RUN}/kubelet-pki",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={NODE}",
        ],
        {"PATH": path},
    )
    processes.start(
        "kube-proxy",
        [
            str(programs / "kube-proxy"),
            f"--kubeconfig={PKI}/proxy.kubeconfig",
            "--proxy-mode=iptables",
            f"--cluster-cidr={PODS}",
            f"--hostname-override={NODE_NAME}",
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0s",
            "--conntrack-tcp-timeout-close-wait=0s",
        ],
    )


def wait_for(what: str, process: str, url: str, seconds: float) -> None:
    """Wait until a URL answers with success. Raises RuntimeError with the process's last words where it
    ends, or time is over."""
    context = ssl.create_default_context(cafile=str(PKI / "ca.crt"))
    context.load_cert_chain(PKI / "admin.crt", PKI / "admin.key")
    until = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, context=context, timeout=5):
                return
        except (OSError, urllib.error.HTTPError):
            pass
        if not processes.running(process) or time.monotonic() > until:
            raise RuntimeError(f"{what} does not come up:\n{processes.last_words(process)}")
        time.sleep(0.1)


def _wait_file(path: Path, process: str) -> None:
    until = time.monotonic() + 60
    while not path.exists():
        if not processes.running(process) or time.monotonic() > until:
            raise RuntimeError(f"{process} does not come up:\n{processes.last_words(process)}")
        time.sleep(0.05)


def _containerd(plugins: str) -> str:
    return f"""version = 3
root = "{RUN}/containerd"
state = "{RUN}/containerd-state"
[grpc]
  address = "{_SOCKET}"
[ttrpc]
  address = "{_SOCKET}.ttrpc"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{REGISTRY}/pause:1"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "{RUN}/certs.d"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{plugins}"]
    conf_dir = "{RUN}/cni"
[plugins."io.containerd.internal.v1.opt"]
  path = "{RUN}/opt"
[plugins."io.containerd.nri.v1.nri"]
  disable = true
"""


def _kubelet() -> str:
    return f"""apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {NODE}
healthzBindAddress: 127.0.0.1
authentication:
  x509: {{clientCAFile: {PKI}/ca.crt}}
  webhook: {{enabled: true}}
authorization: {{mode: Webhook}}
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
containerRuntimeEndpoint: unix://{_SOCKET}
resolvConf: {RUN}/resolv.conf
clusterDNS: []
podLogsDir: {RUN}/pod-logs
volumePluginDir: {RUN}/volume-plugins
staticPodPath: ""
maxPods: 200
serializeImagePulls: false
enforceNodeAllocatable: []
evictionHard: {{memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
syncFrequency: 10s
nodeStatusUpdateFrequency: 5s
"""
