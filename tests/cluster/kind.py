"""A kind cluster in place of our own node, for machines that have docker and a way to its images.

python -m tests.cluster.kind up|down|run COMMAND…

Kubernetes is kind's; Tekton and the images of tests are those of tests.cluster, compiled from the same pins, in a
registry on this machine. It needs docker, kind, kubectl, Go, and root for two routes: tests talk to pods and Services.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import yaml

from tests.cluster import addresses, build, pins, registry, tekton
from tests.cluster.build import say
from tests.cluster.configuration import LOG
from tests.cluster.layout import Layout
from tests.cluster.requirements import program

NAME = "mlops-tests"
NODE = f"{NAME}-control-plane"
LAYOUT = Layout(pins.CACHE / "kind")
_CONFIG = {
    "kind": "Cluster",
    "apiVersion": "kind.x-k8s.io/v1alpha4",
    "networking": {"podSubnet": addresses.PODS, "serviceSubnet": addresses.SERVICES},
    "kubeadmConfigPatches": [
        yaml.safe_dump(
            {
                "apiVersion": "kubelet.config.k8s.io/v1beta1",
                "kind": "KubeletConfiguration",
                "containerLogMaxSize": LOG,
            }
        )
    ],
    "containerdConfigPatches": [
        '[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/etc/containerd/certs.d"\n'
    ],
}


def up() -> None:
    """Create the cluster, with registry and Tekton. Raises CalledProcessError at the first thing that fails."""
    for place in (LAYOUT.configuration, LAYOUT.data):
        place.mkdir(parents=True, exist_ok=True)
    _run(
        "kind", "create", "cluster", "--name", NAME, "--config", "-", given=yaml.safe_dump(_CONFIG)
    )
    LAYOUT.kubeconfig.write_text(_run("kind", "get", "kubeconfig", "--name", NAME))
    _routes()
    (LAYOUT.root / "host").write_text(_gateway())
    again = [
        sys.executable,
        "-m",
        "tests.cluster.kind",
        "fill",
    ]  # with the addresses of this network
    subprocess.run(again, env=_environment(), check=True)


def fill() -> None:
    """Start the registry, and put into it and the cluster what tests use."""
    compiled = build.build("tekton", "triggers")
    _run("docker", "exec", NODE, "mkdir", "-p", f"/etc/containerd/certs.d/{addresses.REGISTRY}")
    hosts = f'[host."http://{addresses.REGISTRY}"]\n'
    path = f"/etc/containerd/certs.d/{addresses.REGISTRY}/hosts.toml"
    _run("docker", "exec", "-i", NODE, "tee", path, given=hosts)
    server = [program("docker-registry") or "docker-registry", "serve"]
    with (LAYOUT.root / "registry.log").open("wb") as log:
        started = subprocess.Popen(
            [*server, str(registry.configuration(LAYOUT))],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    (LAYOUT.root / "registry.pid").write_text(str(started.pid))
    until = time.monotonic() + 60
    while not registry.answers():
        if time.monotonic() > until:
            raise TimeoutError(f"the registry does not answer: {LAYOUT.root / 'registry.log'}")
        time.sleep(0.1)
    pushed = registry.push_all(compiled)
    LAYOUT.images.write_text(json.dumps(pushed, indent=1) + "\n")
    tekton.install(_kubectl, compiled.config("tekton"), pushed)
    LAYOUT.ready.write_text("")


def down() -> None:
    """Remove the cluster, and end the registry that was started for it."""
    number = LAYOUT.root / "registry.pid"
    if number.is_file():
        os.kill(int(number.read_text()), signal.SIGTERM)
        number.unlink()
    _run("kind", "delete", "cluster", "--name", NAME)


def _gateway() -> str:
    """The address of this machine in kind's network, which pods reach as well."""
    (found,) = json.loads(_run("docker", "network", "inspect", "kind"))
    return next(
        str(each["Gateway"]) for each in found["IPAM"]["Config"] if "." in each.get("Gateway", "")
    )


def _routes() -> None:
    """The way from this machine to pods and Services: through the node."""
    form = "{{.NetworkSettings.Networks.kind.IPAddress}}"
    node = _run("docker", "inspect", "--format", form, NODE).strip()
    for network in (addresses.PODS, addresses.SERVICES):
        _run("ip", "route", "replace", network, "via", node)


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "KUBECONFIG": str(LAYOUT.kubeconfig),
        "MLOPS_TEST_CLUSTER": str(LAYOUT.root),
        "MLOPS_TEST_HOST": (LAYOUT.root / "host").read_text(),
        "MLOPS_TEST_KIND": NODE,
        "PATH": f"{pins.built().path}:{os.environ['PATH']}",
    }


def _kubectl(*arguments: str, documents: Sequence[dict[str, object]] = ()) -> str:
    given = "\n".join(json.dumps(each) + "\n---" for each in documents)
    return _run("kubectl", *arguments, given=given)


def _run(*argv: str, given: str = "") -> str:
    return subprocess.run(argv, input=given, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.kind", description=__doc__)
    parser.add_argument("action", choices=("up", "fill", "down", "run"))
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    if given.action == "run":
        return subprocess.run(given.command, env=_environment(), check=False).returncode
    try:
        {"up": up, "fill": fill, "down": down}[given.action]()
    except (subprocess.CalledProcessError, OSError) as exc:
        say(f"error: {exc}")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
