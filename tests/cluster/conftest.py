"""The cluster that runs, and a namespace of its own for each test."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlops.adapters import cluster as api
from mlops.adapters.executors.tekton import TektonExecutor
from mlops.domain.cluster import Access
from tests.cluster import images
from tests.cluster.layout import Layout


@dataclass(frozen=True, slots=True)
class Cluster:
    """kubectl in one namespace of the cluster."""

    layout: Layout
    namespace: str

    def image(self, name: str) -> str:
        """An image of the node's registry, by digest."""
        reference: str = json.loads(self.layout.images.read_text())[name]
        return reference

    def kubectl(self, *arguments: str, document: Any = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl, with a document on its standard input; the caller judges how it ended."""
        return subprocess.run(
            ["kubectl", "-n", self.namespace, *arguments],
            input=document if isinstance(document, str) else json.dumps(document),
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )

    def done(self, *arguments: str, document: Any = None) -> str:
        """What kubectl prints; the test fails where kubectl does."""
        ended = self.kubectl(*arguments, document=document)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def get(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.done("get", kind, name, "-o", "json"))
        return found

    def pod(self, name: str, script: str, **more: Any) -> dict[str, Any]:
        """A pod under restricted Pod Security that runs a shell script once."""
        container = {
            "name": "main",
            "image": self.image("busybox"),
            "args": ["-c", script],
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            },
            "volumeMounts": more.pop("mounts", []),
            **more.pop("container", {}),
        }
        security = {
            "runAsNonRoot": True,
            "runAsUser": 12345,
            "fsGroup": 12345,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        spec = {"restartPolicy": "Never", "securityContext": security, "containers": [container]}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {**spec, **more},
        }

    def ran(self, name: str, script: str, **more: Any) -> tuple[str, str]:
        """Run such a pod to its end: its phase, and what it printed."""
        self.done("create", "-f", "-", document=self.pod(name, script, **more))
        end = time.monotonic() + 120
        while (status := self.get("pod", name)["status"])["phase"] not in {"Succeeded", "Failed"}:
            assert time.monotonic() < end, status
            time.sleep(0.1)
        return status["phase"], self.done("logs", name)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A kind cluster is no node of ours: what is about the node itself is left to our own, and counted.

    Where a test ends the API server, urllib3 leaves a socket behind whose handshake was cut short.
    """
    cut = "ignore:Exception ignored in. <ssl:pytest.PytestUnraisableExceptionWarning"
    for item in items:
        if item.get_closest_marker("alone"):
            item.add_marker(pytest.mark.filterwarnings(cut))
    if "MLOPS_TEST_KIND" in os.environ:
        left = [item for item in items if item.get_closest_marker("our_node")]
        items[:] = [item for item in items if item not in left]
        config.hook.pytest_deselected(items=left)


@pytest.fixture(scope="session")
def layout() -> Layout:
    """The files of the cluster, whose network the tests run in."""
    root = os.environ.get("MLOPS_TEST_CLUSTER")
    if root is None:
        pytest.fail("these tests run in a cluster's network: make test-cluster")
    return Layout(Path(root))


@pytest.fixture
def cluster(layout: Layout) -> Iterator[Cluster]:
    """The cluster, with a namespace that enforces restricted Pod Security."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    made = Cluster(layout, name)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    document = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": labels},
    }
    made.done("create", "-f", "-", document=document)
    # a pod is refused until its service account is there
    made.done("wait", "--for=create", "--timeout=60s", "serviceaccount/default")
    yield made
    made.done("delete", "namespace", name, "--wait=false")


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace as a user of mlops has it."""

    layout: Layout
    name: str

    def kubectl(self, *arguments: str, text: str = "") -> str:
        """What kubectl prints there. Fails the test where kubectl does."""
        return Cluster(self.layout, self.name).done(*arguments, document=text)

    @property
    def access(self) -> Access:
        return Access(namespace=self.name, kubeconfig=str(self.layout.kubeconfig))

    def api(self) -> api.Cluster:
        return api.connect(self.access)

    def executor(self) -> TektonExecutor:
        return TektonExecutor(self.api())

    def as_bearer(self, token: str, directory: Path) -> TektonExecutor:
        """The executor of somebody who has a token and nothing else."""
        found = yaml.safe_load(self.layout.kubeconfig.read_text())
        found["users"][0]["user"] = {"token": token}
        path = directory / "kubeconfig"
        path.write_text(yaml.safe_dump(found))
        return TektonExecutor(api.connect(Access(namespace=self.name, kubeconfig=str(path))))


@pytest.fixture(scope="session")
def plain(layout: Layout) -> str:
    """An image with a shell, the usual commands and Python, in the cluster's registry."""
    return images.plain()


@pytest.fixture
def namespace(layout: Layout) -> Iterator[Namespace]:
    """A namespace that any pod may be in, as Tekton's own documents want it."""
    made = Namespace(layout, f"test-{uuid.uuid4().hex[:8]}")
    made.kubectl("create", "namespace", made.name)
    made.kubectl("wait", "--for=create", "--timeout=60s", "serviceaccount/default")
    yield made
    made.kubectl("delete", "namespace", made.name, "--wait=false")


@pytest.fixture
def user(namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> Namespace:
    """The same, as a user has it whose kubeconfig leads there."""
    monkeypatch.setenv("KUBECONFIG", str(namespace.layout.kubeconfig))
    return namespace


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory without a project."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path
