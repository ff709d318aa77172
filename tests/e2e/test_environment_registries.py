"""An environment with a registry of its own: promotion copies before it pins."""

from __future__ import annotations

import json

import httpx
import pytest

from mlops.domain.digest import Digest
from tests.system.registry.servers import INDEX, MANIFEST, start


@pytest.fixture
def target(tmp_path):
    """A registry for staging, which a test may end."""
    directory = tmp_path / "target"
    directory.mkdir()
    yield from start(directory, "")


def policy(project, environment: str, text: str) -> None:
    path = f"environments/{environment}/environment.yaml"
    project.git("pull", "-q", "--rebase", "origin", "main")
    kept = [
        line for line in (project.path / path).read_text().splitlines() if "registry:" not in line
    ]
    project.write(path, "\n".join([*kept, text, ""]))
    project.commit(f"Policy of {environment}")


def kustomization(project, environment: str) -> str:
    project.tip()
    return project.git("show", f"origin/main:environments/{environment}/kustomization.yaml")


def content(host: str, name: str, reference: str) -> bytes:
    url = f"http://{host}/v2/{name}/manifests/{reference}"
    return httpx.get(url, headers={"Accept": f"{MANIFEST}, {INDEX}"}).raise_for_status().content


def test_promotion_copies_image_and_referrers_then_pins(live, target, tmp_path):
    """From the embedded layout; the overlay follows the environment, rollback and serving too."""
    before = live.pinned("staging")
    policy(live, "staging", f"registry: {target.host}/staging")
    live.write("params.yaml", "train: {accuracy: 0.95}\n")
    live.commit("Better")
    live.mlops("run", "--quiet")
    told = live.mlops("promote", "spam@dev", "--dry-run")
    assert f"to {target.host}/staging:" in told.stderr
    assert "blobs, " in told.stderr
    assert httpx.get(f"http://{target.host}/v2/_catalog").json() == {"repositories": []}
    live.mlops("promote", "spam@dev")
    digest = live.pinned("staging")
    assert digest != before
    assert str(Digest.of(content(target.host, "staging/spam", digest))) == digest
    assert f'newName: "{target.host}/staging/spam"' in kustomization(live, "staging")
    listed = json.loads(content(target.host, "staging/spam", digest.replace(":", "-")))
    shown = json.loads(live.mlops("show", "spam@dev", "--output", "json").stdout)[0]
    assert [each["digest"] for each in listed["manifests"]] == shown["attestations"]
    content(target.host, "staging/spam", shown["attestations"][0])
    back = live.mlops("rollback", "staging", "--reason", "bad", code=None)
    assert f"{target.host}/staging has no manifest {before}" in back.stderr
    assert live.pinned("staging") == digest, "nobody said yes"


def test_a_copy_that_breaks_off_changes_no_pin(live):
    before = live.pinned("prod")
    policy(live, "prod", "registry: 127.0.0.1:9/prod")
    live.write("params.yaml", "train: {accuracy: 0.95}\n")
    live.commit("Better")
    live.mlops("run", "--quiet")
    live.mlops("promote", "spam@dev")
    done = live.mlops("promote", "spam@staging", code=3)
    assert "127.0.0.1:9 cannot be asked" in done.stderr
    assert live.pinned("prod") == before


def test_the_first_environment_has_its_own(live, target):
    policy(live, "dev", f"registry: {target.host}/dev")
    live.write("params.yaml", "train: {accuracy: 0.95}\n")
    live.commit("Better")
    live.mlops("run", "--quiet")
    digest = live.pinned("dev")
    assert str(Digest.of(content(target.host, "dev/spam", digest))) == digest
    assert f"{target.host}/dev/spam" in kustomization(live, "dev")


def test_a_layout_is_no_registry_of_an_environment(live):
    policy(live, "prod", "registry: oci:here")
    done = live.mlops("promote", "spam@staging", "--to", "prod", code=2)
    assert "environments/prod/environment.yaml" in done.stderr
    assert "HOST[:PORT][/PATH]" in done.stderr
