"""A real registry on loopback, and images pushed to it by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.registry.servers import HTPASSWD, Running, start


@pytest.fixture(scope="session")
def registry(tmp_path_factory) -> Iterator[Running]:
    """A registry that lets everybody in."""
    yield from start(tmp_path_factory.mktemp("registry"), "")


@pytest.fixture(scope="session")
def private(tmp_path_factory) -> Iterator[Running]:
    """A registry that asks for a name and a password."""
    yield from start(tmp_path_factory.mktemp("private"), HTPASSWD)


@pytest.fixture(autouse=True)
def nobody(monkeypatch, tmp_path) -> Path:
    """No credentials of this machine's user; gives the home where a test puts its own."""
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("MLOPS_REGISTRY_USERNAME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
    return tmp_path
