"""Whether a registry asks who one is, asked of real ones."""

from __future__ import annotations

import pytest

from mlops.adapters import logins
from tests.system.registry.servers import Running


def test_a_registry_that_lets_everybody_in_asks_for_nothing(registry: Running) -> None:
    assert logins.of_registry(registry.host) is False
    assert logins.of_registry(f"{registry.host}/ml") is False


def test_a_registry_that_asks_is_told_so(private: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_REGISTRY_USERNAME", "ada")  # a login at hand changes nothing
    monkeypatch.setenv("MLOPS_REGISTRY_PASSWORD", "secret")
    assert logins.of_registry(f"{private.host}/ml") is True


@pytest.mark.parametrize("name", ["127.0.0.1:9/ml", "A B", "", "oci:.mlops/registry"])
def test_one_that_cannot_be_asked_says_nothing(name: str) -> None:
    assert logins.of_registry(name) is None
