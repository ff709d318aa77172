"""kustomize as a preflight uses it: the real one, which `make test` brings along."""

import os
from pathlib import Path

import pytest

from mlops.adapters.kustomize import Kustomize
from mlops.errors import OutsideError
from tests.fakes.estate import digest

BASE = {
    "environments/base/kustomization.yaml": b"resources: [deployment.yaml]\n",
    "environments/base/deployment.yaml": b"""apiVersion: apps/v1
kind: Deployment
metadata: {name: spam}
spec:
  selector: {matchLabels: {app: spam}}
  template:
    metadata: {labels: {app: spam}}
    spec: {containers: [{name: server, image: spam}]}
""",
}


def overlay(name: str = "spam") -> dict[str, bytes]:
    pinned = f"resources: [../base]\nimages:\n  - name: {name}\n    digest: {digest('A')}\n"
    return {**BASE, "environments/prod/kustomization.yaml": pinned.encode()}


def test_renders_the_pin_into_the_manifests():
    kustomize = Kustomize()
    assert kustomize.name, "neither kustomize nor kubectl is here: make test brings one"
    rendered = kustomize.render(overlay(), "environments/prod", 60)
    assert f"image: spam@{digest('A')}".encode() in rendered


def test_what_does_not_render_is_said_without_our_own_paths():
    files = overlay() | {"environments/prod/kustomization.yaml": b"resources: [../nothing]\n"}
    with pytest.raises(OutsideError, match="environments/prod does not render") as caught:
        Kustomize().render(files, "environments/prod", 60)
    assert "mlops-render-" not in caught.value.message


def test_a_path_that_leads_out_is_refused():
    with pytest.raises(OutsideError, match="leads out"):
        Kustomize().render({"../../outside": b""}, "environments/prod", 60)


def program(directory: Path, name: str, says: str) -> None:
    directory.mkdir(exist_ok=True)
    script = directory / name
    script.write_text(f"#!/bin/sh\necho '{says}'\n")
    script.chmod(0o755)


@pytest.mark.parametrize(
    ("tools", "expected"),
    [
        ({}, ""),
        ({"kustomize": "v5.4.2"}, "kustomize build"),
        ({"kustomize": "{Version:kustomize/v4.5.7 GitCommit:0}"}, ""),
        ({"kubectl": "Client Version: v1.32.4\nKustomize Version: v5.5.0"}, "kubectl kustomize"),
        ({"kubectl": "Client Version: v1.20.2"}, ""),
        ({"kubectl": "Client Version: v1.25.0\nKustomize Version: v4.5.7"}, ""),
        ({"kustomize": "v4.0.0", "kubectl": "Kustomize Version: v5.0.1"}, "kubectl kustomize"),
    ],
)
def test_takes_what_is_there_and_new_enough(tmp_path, monkeypatch, tools, expected):
    for name, says in tools.items():
        program(tmp_path / "bin", name, says)
    monkeypatch.setenv("PATH", os.fspath(tmp_path / "bin"))
    assert Kustomize().name == expected


def test_without_one_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    with pytest.raises(OutsideError, match="mlops doctor"):
        Kustomize().render(overlay(), "environments/prod", 60)
