"""One node of Kubernetes with Tekton on it, from inside of its namespaces: python -m tests.cluster.node DIRECTORY.

Whoever starts it gives it network, mount and process namespaces of its own (tests/cluster/control.py). What ends it is
the end of its first process: with that the kernel ends every program and container, and takes network and mounts along.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.cluster import addresses, configuration, fence, pins, registry, storage, tekton
from tests.cluster.certificates import Authority, Pair, service_account_key
from tests.cluster.layout import Layout
from tests.cluster.processes import Programs, StartError, reap, say
from tests.cluster.requirements import PATH, cni, program


@dataclass(slots=True)
class Node:
    """What the parts of the node share while they come up."""

    layout: Layout
    built: pins.Built
    authority: Authority
    programs: Programs
    admin: Pair

    def binary(self, name: str) -> Path:
        return self.built.binary(name)

    def client(self) -> httpx.Client:
        """The API server, with all rights."""
        context = ssl.create_default_context(cafile=str(self.authority.pair.certificate))
        context.load_cert_chain(self.admin.certificate, self.admin.key)
        return httpx.Client(base_url=addresses.API, verify=context, trust_env=False, timeout=10)

    def kubectl(self, *arguments: str, documents: list[dict[str, Any]] | None = None) -> str:
        """Run kubectl to its end; gives what it prints. Raises StartError where it fails."""
        done = subprocess.run(
            [self.binary("kubectl"), f"--kubeconfig={self.layout.kubeconfig}", *arguments],
            input="\n".join(json.dumps(each) + "\n---" for each in documents or []),
            capture_output=True,
            text=True,
            check=False,
            env=dict(self.programs.environment),
        )
        if done.returncode != 0:
            raise StartError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def credentials(self, name: str, common: str, group: str = "") -> Path:
        """A kubeconfig of its own for a part."""
        path = self.layout.configuration / f"{name}.kubeconfig"
        pair = self.authority.issue(name, common, group)
        return self.authority.kubeconfig(path, pair, addresses.API)


def _node(layout: Layout, built: pins.Built) -> Node:
    environment = {
        "PATH": f"{built.path}:{PATH}",
        "HOME": str(layout.data),
        "LANG": "C.UTF-8",
    }  # and nothing else: no proxy, no credentials of whoever starts the cluster
    authority = Authority(layout.configuration / "certificates")
    admin = authority.issue("admin", "admin", "system:masters")
    authority.kubeconfig(layout.kubeconfig, admin, addresses.API)
    return Node(layout, built, authority, Programs(layout, environment), admin)


def api_server(node: Node) -> Path:
    """Start etcd and the API server; gives the key that signs tokens of service accounts."""
    node.programs.start(
        *("etcd", node.binary("etcd"), f"--data-dir={node.layout.data / 'etcd'}"),
        *(f"--listen-client-urls={addresses.ETCD}", f"--advertise-client-urls={addresses.ETCD}"),
        *("--listen-peer-urls=http://127.0.0.1:2380", "--unsafe-no-fsync", "--log-level=warn"),
    )
    key = service_account_key(node.layout.configuration)
    _api_server(node, key)
    return key


def controllers(node: Node, key: Path) -> None:
    """Once the API server answers: the controllers and the scheduler."""
    with node.client() as client:
        node.programs.wait("kube-apiserver", lambda: _ready(client), 180)
    node.programs.start(
        "kube-controller-manager",
        node.binary("kube-controller-manager"),
        *_as(node, "kube-controller-manager"),
        f"--root-ca-file={node.authority.pair.certificate}",
        f"--service-account-private-key-file={key}",
        f"--cluster-signing-cert-file={node.authority.pair.certificate}",
        f"--cluster-signing-key-file={node.authority.pair.key}",
        *("--use-service-account-credentials", "--leader-elect=false", "--bind-address=127.0.0.1"),
    )
    node.programs.start(
        "kube-scheduler",
        node.binary("kube-scheduler"),
        *_as(node, "kube-scheduler"),
        *("--leader-elect=false", "--bind-address=127.0.0.1"),
    )


def _as(node: Node, name: str) -> list[str | Path]:
    path = node.credentials(name, f"system:{name}")
    return [f"--{flag}={path}" for flag in _CONFIGS]


_CONFIGS = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")


def _api_server(node: Node, key: Path) -> None:
    hosts = [addresses.HOST, addresses.API_SERVICE, "127.0.0.1", "localhost", "kubernetes"]
    hosts += ["kubernetes.default", "kubernetes.default.svc"]
    serving = node.authority.issue("kube-apiserver", "kube-apiserver", hosts=hosts)
    to_kubelet = node.authority.issue("to-kubelet", "kube-apiserver", "system:masters")
    node.programs.start(
        *("kube-apiserver", node.binary("kube-apiserver")),
        *(f"--advertise-address={addresses.HOST}", "--bind-address=0.0.0.0", "--secure-port=6443"),
        f"--etcd-servers={addresses.ETCD}",
        f"--tls-cert-file={serving.certificate}",
        f"--tls-private-key-file={serving.key}",
        f"--client-ca-file={node.authority.pair.certificate}",
        f"--kubelet-certificate-authority={node.authority.pair.certificate}",
        f"--kubelet-client-certificate={to_kubelet.certificate}",
        f"--kubelet-client-key={to_kubelet.key}",
        "--kubelet-preferred-address-types=InternalIP",  # there is no name service
        *(
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
        ),
        f"--service-account-signing-key-file={key}",
        f"--service-cluster-ip-range={addresses.SERVICES}",
        *("--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction"),
        # webhooks are asked at their pods, whether or not the node rewrites addresses yet
        *("--enable-aggregator-routing=true", "--allow-privileged=true", "--profiling=false"),
    )


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").is_success
    except httpx.HTTPError:
        return False


def images(node: Node) -> dict[str, str]:
    """The registry, with the images that the cluster runs."""
    server = program("docker-registry") or "docker-registry"
    node.programs.start("registry", server, "serve", registry.configuration(node.layout))
    node.programs.wait("registry", registry.answers)
    pushed = registry.push_all(node.built)
    node.layout.images.write_text(json.dumps(pushed, indent=1) + "\n")
    return pushed


def worker(node: Node, pause: str) -> None:
    """containerd, kubelet and kube-proxy."""
    plugins = cni()
    if plugins is None:
        raise StartError("the CNI plugins are not here")
    config = configuration.containerd(node.layout, plugins, pause)
    node.programs.start("containerd", node.binary("containerd"), "--config", config)
    node.programs.wait("containerd", Path(configuration.SOCKET).is_socket)
    serving = node.authority.issue(
        "kubelet", addresses.NODE, hosts=[addresses.HOST, addresses.NODE]
    )
    identity = node.credentials("kubelet-client", f"system:node:{addresses.NODE}", "system:nodes")
    node.programs.start(
        *("kubelet", node.binary("kubelet"), f"--kubeconfig={identity}"),
        f"--config={configuration.kubelet(node.layout, node.authority, serving)}",
        f"--root-dir={node.layout.data / 'kubelet'}",
        *(f"--hostname-override={addresses.NODE}", f"--node-ip={addresses.HOST}"),
    )
    proxy = node.credentials("kube-proxy", "system:kube-proxy")
    node.programs.start(
        *("kube-proxy", node.binary("kube-proxy")),
        f"--config={configuration.kube_proxy(node.layout, proxy)}",
    )
    with node.client() as client:
        node.programs.wait("kubelet", lambda: _node_ready(client))


def _node_ready(client: httpx.Client) -> bool:
    try:
        answer = client.get(f"/api/v1/nodes/{addresses.NODE}")
    except httpx.HTTPError:
        return False
    if not answer.is_success:  # not registered yet
        return False
    conditions = answer.json().get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def bring_up(layout: Layout, built: pins.Built) -> Node:
    """Everything, in order. Raises StartError, CalledProcessError or OSError at the first thing that fails."""
    begun = time.monotonic()

    def done(what: str) -> None:
        say(f"{time.monotonic() - begun:5.1f} s  {what}")

    fence.mounts(layout)
    fence.network()
    fence.cgroups(layout.cgroup)
    node = _node(layout, built)
    key = api_server(node)
    pushed = images(node)
    done("the registry holds the images")
    controllers(node, key)
    done("the API server answers")
    worker(node, pushed["pause"])
    node.kubectl("apply", "-f", "-", documents=[storage.CLASS])
    done("the node is ready")
    tekton.install(node.kubectl, node.built.config("tekton"), pushed)
    done("Tekton is available")
    return node


def main(layout: Layout, built: pins.Built) -> int:
    """Bring the node up, and keep it up until a signal ends it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        node = bring_up(layout, built)
    except (StartError, subprocess.CalledProcessError, OSError, httpx.HTTPError) as exc:
        say(f"error: {exc}")
        return 3
    layout.ready.write_text("")
    with node.client() as client:
        provisioner = storage.Provisioner(client, layout.data / "volumes")
        while True:
            node.programs.mend()
            provisioner.look()
            time.sleep(0.5)


if __name__ == "__main__":
    os.umask(0o022)
    # whoever starts the node says so once it has written down how to stop it
    if sys.stdin.readline() != "go\n":
        sys.exit(1)
    sys.exit(reap(lambda: main(Layout(Path(sys.argv[1])), pins.built())))
