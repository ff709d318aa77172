"""The cluster, a namespace of a test's own in it, and what a user has to reach it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlops.adapters.cluster import Cluster, connect
from mlops.adapters.executors.tekton import TektonExecutor
from mlops.domain.cluster import Access
from tests.cluster import certificates, images, kubectl
from tests.cluster.layout import KUBECONFIG, NODE_NAME


@dataclass(frozen=True)
class Namespace:
    """A namespace of the cluster."""

    name: str

    def kubectl(self, *arguments: str, text: str = "") -> str:
        return kubectl.run("-n", self.name, *arguments, text=text)

    @property
    def access(self) -> Access:
        return Access(namespace=self.name, kubeconfig=str(KUBECONFIG))

    def cluster(self) -> Cluster:
        return connect(self.access)

    def executor(self) -> TektonExecutor:
        return TektonExecutor(self.cluster())

    def as_bearer(self, token: str) -> TektonExecutor:
        """The executor of somebody who has a token."""
        kubeconfig = certificates.kubeconfig(f"bearer-{secrets.token_hex(4)}", token)
        access = Access(namespace=self.name, kubeconfig=str(kubeconfig))
        return TektonExecutor(connect(access))


@pytest.fixture(scope="session")
def node() -> str:
    """The node, which `make cluster-up` started. Fails where it is not ready."""
    assert KUBECONFIG.exists(), "there is no cluster: make cluster-up"
    kubectl.run("wait", "--for=condition=Ready", "--timeout=60s", f"node/{NODE_NAME}")
    return NODE_NAME


@pytest.fixture(scope="session")
def plain(node: str) -> str:
    """An image with a shell, the usual commands and Python, in the cluster's registry."""
    return images.plain()


@pytest.fixture
def namespace(node: str) -> Iterator[Namespace]:
    name = f"t-{secrets.token_hex(4)}"
    kubectl.run("create", "namespace", name)
    kubectl.run("label", "namespace", name, "pod-security.kubernetes.io/enforce=baseline")
    yield Namespace(name)
    kubectl.run("delete", "namespace", name, "--wait=false")


@pytest.fixture
def user(namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> Namespace:
    """The same, as a user has it whose kubeconfig leads there."""
    monkeypatch.setenv("KUBECONFIG", str(KUBECONFIG))
    return namespace


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory without a project."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path
