"""Which cluster is asked, and as whom."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from kubernetes.config import incluster_config

from mlops.adapters.cluster import access, connect
from mlops.domain.cluster import Access
from mlops.errors import ConfigError


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a pod has: the address of the API, a token, an authority; and a home of its own."""
    place = tmp_path / "serviceaccount"
    place.mkdir()
    (place / "token").write_text("of-the-pod")
    (place / "namespace").write_text("shop\n")
    (place / "ca.crt").write_text("an authority")
    monkeypatch.setattr(access, "_POD", place)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(place / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(place / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def kubeconfig(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    context = {"name": "team", "context": {"cluster": "c", "user": "u", "namespace": "ml"}}
    document = {
        "current-context": "team",
        "contexts": [context],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "u", "user": {}}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


def test_a_pod_uses_its_own_account_in_its_own_namespace(pod: Path) -> None:
    found = connect(Access())
    assert (found.server, found.namespace) == ("https://10.0.0.1:443", "shop")


def test_a_context_is_not_looked_for_where_there_is_no_kubeconfig(pod: Path) -> None:
    found = connect(Access(context="team", namespace="ml"))
    assert (found.server, found.namespace) == ("https://10.0.0.1:443", "ml")


@pytest.mark.parametrize("where", [".kube/config", "elsewhere"])
def test_a_kubeconfig_in_a_pod_wins(pod: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kubeconfig(pod / where)
    if where == "elsewhere":
        monkeypatch.setenv("KUBECONFIG", str(path))
    # the library looked for the usual one when it was loaded
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    assert connect(Access()).server == "http://127.0.0.1:9"


def test_outside_of_a_pod_a_context_that_is_not_there_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    path = kubeconfig(tmp_path / "config")
    with pytest.raises(ConfigError, match="no context 'other'"):
        connect(Access(context="other", kubeconfig=str(path)))
