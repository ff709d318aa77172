"""Contexts of a kubeconfig, offered while somebody types."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlops.cli.completion import contexts

ONE = "contexts: [{name: team}, {name: team-eu}, {name: '$(touch pwned)'}]\n"


def test_the_contexts_of_every_kubeconfig_are_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one").write_text(ONE)
    (tmp_path / "two").write_text("contexts: [{name: admin@home}, {name: team}]\n")
    (tmp_path / "broken").write_text("contexts: {")
    files = [str(tmp_path / name) for name in ("one", "broken", "nowhere", "two")]
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(files))

    assert contexts("") == ["team", "team-eu", "admin@home"]
    assert contexts("team-") == ["team-eu"]
