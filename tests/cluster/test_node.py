"""The node: pods, Services, claims, and that nothing leaves it."""

from __future__ import annotations

import json
import subprocess
import time

import pytest

from tests.cluster import addresses, control, pins, registry
from tests.cluster.conftest import Cluster
from tests.cluster.layout import Layout
from tests.cluster.registry import Image

pytestmark = pytest.mark.our_node


def test_a_pod_runs_and_its_output_can_be_read(cluster: Cluster) -> None:
    assert cluster.ran("hello", "id -u; exit 0") == ("Succeeded", "12345\n")


def test_how_a_pod_fails_is_told(cluster: Cluster) -> None:
    phase, _ = cluster.ran("fails", "exit 7")
    state = cluster.get("pod", "fails")["status"]["containerStatuses"][0]["state"]
    assert phase == "Failed"
    assert state["terminated"]["exitCode"] == 7


def test_pod_security_is_enforced(cluster: Cluster) -> None:
    pod = cluster.pod("root", "true")
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    refused = cluster.kubectl("create", "-f", "-", document=pod)
    assert refused.returncode != 0
    assert "violates PodSecurity" in refused.stderr


def test_a_pod_reaches_a_service(cluster: Cluster) -> None:
    server = cluster.pod(
        "server", "mkdir /tmp/w; echo yes >/tmp/w/answer; httpd -f -p 8080 -h /tmp/w"
    )
    server["metadata"]["labels"] = {"app": "server"}
    server["spec"]["volumes"] = [{"name": "tmp", "emptyDir": {}}]
    server["spec"]["containers"][0]["volumeMounts"] = [{"name": "tmp", "mountPath": "/tmp"}]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "server"},
        "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    cluster.done("create", "-f", "-", document=server)
    cluster.done("create", "-f", "-", document=service)
    cluster.done("wait", "--for=condition=Ready", "--timeout=120s", "pod/server")
    address = cluster.get("service", "server")["spec"]["clusterIP"]
    asks = f"until printf 'GET /answer HTTP/1.0\\r\\n\\r\\n' | nc {address} 80 | grep yes; do sleep 0.2; done"
    assert cluster.ran("client", asks) == ("Succeeded", "yes\n")


def test_a_pod_reaches_the_api_server_with_its_own_credentials(cluster: Cluster) -> None:
    program = pins.built().binary("kubectl")
    image = registry.push("kubectl", Image({"bin/kubectl": program}, ["/bin/kubectl"], {}))
    asks = {"image": image, "args": ["get", "--raw", "/readyz"]}
    assert cluster.ran("inside", "", container=asks) == ("Succeeded", "ok")


def test_a_claim_is_bound_written_to_and_removed(cluster: Cluster) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "work"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "10Mi"}},
        },
    }
    cluster.done("create", "-f", "-", document=claim)
    volume = [{"name": "work", "persistentVolumeClaim": {"claimName": "work"}}]
    mounts = [{"name": "work", "mountPath": "/work"}]
    assert (
        cluster.ran("writes", "echo kept >/work/a", volumes=volume, mounts=mounts)[0] == "Succeeded"
    )
    assert cluster.ran("reads", "cat /work/a", volumes=volume, mounts=mounts)[1] == "kept\n"
    name = cluster.get("pvc", "work")["spec"]["volumeName"]
    place = cluster.layout.data / "volumes" / name
    assert (place / "a").read_text() == "kept\n"
    cluster.done("delete", "pod", "writes", "reads")
    cluster.done("delete", "pvc", "work")
    cluster.done("wait", "--for=delete", "--timeout=60s", f"pv/{name}")
    assert not place.exists()


def test_nothing_leaves_the_node(cluster: Cluster) -> None:
    routes = json.loads(
        subprocess.run(["ip", "-j", "route"], capture_output=True, check=True).stdout
    )
    assert {route["dev"] for route in routes} == {addresses.BRIDGE}
    assert "default" not in {route["dst"] for route in routes}
    # of the addresses for documentation (RFC 5737): if the fence were down nobody would be there either
    phase, output = cluster.ran("out", "nc -w 5 203.0.113.1 80 2>&1; echo ended $?")
    assert phase == "Succeeded"
    assert "ended 1" in output
    assert "nreachable" in output or "No route" in output


@pytest.mark.alone
def test_the_api_server_comes_back_after_a_kill(cluster: Cluster, layout: Layout) -> None:
    before = (layout.pids / "kube-apiserver").read_text()
    control.kill(layout, "kube-apiserver")
    end = time.monotonic() + 120
    while (layout.pids / "kube-apiserver").read_text() == before or not _answers():
        assert time.monotonic() < end, (layout.log / "kube-apiserver").read_text()[-2000:]
        time.sleep(0.1)
    assert cluster.ran("after", "echo still here")[1] == "still here\n"


def _answers() -> bool:
    asked = subprocess.run(["kubectl", "get", "--raw", "/readyz"], capture_output=True, check=False)
    return asked.returncode == 0
