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
