"""What `mlops init` writes below environments/, on a real cluster: admitted under restricted Pod Security, ready, drained."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from mlops.domain.digest import Digest
from mlops.manifests import kustomization
from tests.cluster import addresses
from tests.cluster import shop as shops
from tests.cluster.conftest import Cluster
from tests.cluster.layout import Layout
from tests.cluster.typed import mlops

# stands for the model's server: health on the port, all that it writes below /tmp
SERVER = """\
import http.server, os, pathlib
pathlib.Path(os.environ["HOME"], "cache").write_text("x")
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
http.server.HTTPServer(("", 8080), Health).serve_forever()
"""


class Written:
    """A project as init leaves it, with the model `plain` pinned in every environment."""

    def __init__(self, root: Path, layout: Layout, digest: str) -> None:
        self.root, self.layout = root, layout
        self.name = f"shop-{uuid.uuid4().hex[:6]}"
        project = {
            "apiVersion": "mlops/v1",
            "kind": "Project",
            "name": self.name,
            "registry": addresses.REGISTRY,
            "models": {"plain": {}},
        }
        (root / "mlops.yaml").write_text(yaml.safe_dump(project))
        self.git("init", "-q", "-b", "main")
        done = mlops("init", "--yes")
        assert done.code == 0, done.err
        for environment in ("dev", "staging", "prod"):
            path = root / "environments" / environment / "kustomization.yaml"
            pinned = kustomization.with_pin(
                path.read_bytes(), "plain", Digest.parse(digest), path.name
            )
            found = yaml.safe_load(pinned)
            found["images"][0]["newName"] = f"{addresses.REGISTRY}/plain"
            path.write_text(yaml.safe_dump(found, sort_keys=False))
        base = root / "environments/base/plain.yaml"
        serve = json.dumps(["python3", "-c", SERVER])
        text = base.read_text().replace(
            "image: plain\n", f"image: plain\n          command: {serve}\n"
        )
        base.write_text(text)
        self.commit()

    def git(self, *arguments: str) -> None:
        name = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        subprocess.run(["git", *name, *arguments], cwd=self.root, check=True, capture_output=True)

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "change")

    def namespace(self, environment: str) -> Cluster:
        return Cluster(self.layout, f"{self.name}-{environment}")


@pytest.fixture
def written(
    layout: Layout, here: Path, plain: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Written]:
    monkeypatch.setenv("KUBECONFIG", str(layout.kubeconfig))
    made = Written(here, layout, shops.digest(plain))
    yield made
    names = [made.namespace(each).namespace for each in ("dev", "staging", "prod")]
    made.namespace("dev").done("delete", "namespace", *names, "--ignore-not-found", "--wait=false")


def evicted(space: Cluster, pod: str) -> str:
    """Ask for a pod's eviction, as a drain of its node does; what was said against it."""
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": space.namespace},
    }
    path = f"/api/v1/namespaces/{space.namespace}/pods/{pod}/eviction"
    return space.kubectl("create", "--raw", path, "-f", "-", document=body).stderr


def pods(space: Cluster) -> list[str]:
    found = json.loads(space.done("get", "pods", "-o", "json"))["items"]
    return [
        each["metadata"]["name"] for each in found if "deletionTimestamp" not in each["metadata"]
    ]


def budgeted(space: Cluster, allowed: int) -> None:
    """Wait until the budget's controller has counted."""
    path = f"--for=jsonpath={{.status.disruptionsAllowed}}={allowed}"
    space.done("wait", path, "--timeout=60s", "pdb/plain")


def test_an_environment_makes_its_namespace_and_runs_restricted_in_it(written: Written) -> None:
    dev = written.namespace("dev")
    dry = mlops("deploy", "dev", "--dry-run")
    assert dry.code == 0, dry.err
    assert "+kind: Namespace" in dry.out
    assert "+kind: NetworkPolicy" in dry.out
    assert dev.kubectl("get", "namespace", dev.namespace).returncode != 0

    done = mlops("deploy", "dev", "--timeout", "3m")

    assert done.code == 0, done.err
    assert "warning" not in done.err
    labels = dev.get("namespace", dev.namespace)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    (pod,) = pods(dev)
    assert dev.done("exec", pod, "--", "cat", "/tmp/cache") == "x"
    assert "Read-only" in dev.kubectl("exec", pod, "--", "touch", "/x").stderr
    for kind in ("pdb", "networkpolicy", "service"):
        assert dev.get(kind, "plain")["metadata"]["labels"]["dev.mlops/environment"] == "dev"
    assert mlops("status", "dev", "--live").code == 0

    again = json.loads(mlops("deploy", "dev", "-o", "json").out)
    assert {each["change"] for each in again[0]["objects"]} == {"unchanged"}


def test_one_replica_is_drained_and_of_two_only_one_at_a_time(written: Written) -> None:
    for environment in ("dev", "prod"):
        done = mlops("deploy", environment, "--timeout", "3m")
        assert done.code == 0, done.err
    dev, prod = written.namespace("dev"), written.namespace("prod")
    budgeted(dev, 1)
    (only,) = pods(dev)
    assert evicted(dev, only) == ""

    budgeted(prod, 1)
    one, two = pods(prod)
    assert evicted(prod, one) == ""
    assert "would violate the pod's disruption budget" in evicted(prod, two)

    assert mlops("deploy", "prod", "--timeout", "3m").code == 0  # and waits for what replaces it
    assert len(pods(prod)) == 2


def test_a_new_release_rolls_out_past_its_budget(written: Written) -> None:
    assert mlops("deploy", "dev", "--timeout", "3m").code == 0
    base = written.root / "environments/base/plain.yaml"
    base.write_text(base.read_text().replace("value: /tmp\n", "value: /tmp/\n"))
    written.commit()

    done = mlops("deploy", "dev", "--timeout", "3m")

    assert done.code == 0, done.err
    assert "configured: Deployment plain" in done.out


def test_a_namespace_that_the_overlay_no_longer_has_stays(written: Written) -> None:
    assert mlops("deploy", "dev", "--timeout", "0s").code == 0
    path = written.root / "environments/dev/kustomization.yaml"
    path.write_text(path.read_text().replace("- namespace.yaml\n", ""))
    written.commit()

    done = mlops("deploy", "dev", "--timeout", "0s")

    dev = written.namespace("dev")
    assert done.code == 0, done.err
    assert f"kept: Namespace {dev.namespace}" in done.out
    assert dev.get("namespace", dev.namespace)["status"]["phase"] == "Active"
    assert "kept" not in mlops("deploy", "dev", "--timeout", "0s").out


def test_misspelt_fields_of_what_is_written_are_refused(written: Written) -> None:
    """The API of the cluster judges each document strictly: what it admitted above, it read."""
    base = written.root / "environments/base/plain.yaml"
    base.write_text(base.read_text().replace("policyTypes:", "policyKinds:"))
    written.commit()

    done = mlops("deploy", "dev", "--timeout", "0s")

    assert done.code == 2
    assert "policyKinds" in done.err
