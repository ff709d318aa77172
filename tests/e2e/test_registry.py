"""A project whose images lie in a registry: from init to a rollback, and served from there."""

from __future__ import annotations

import importlib
import json
import sys

import httpx
import pytest

from tests.system.registry.servers import MANIFEST, start

spam_project = sys.modules.get("spam") or importlib.import_module("tests.e2e.spam")


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    yield from start(tmp_path_factory.mktemp("registry"), "")


@pytest.fixture(scope="module")
def made(registry, tmp_path_factory):
    """The small project on a registry, with a release in dev."""
    base = tmp_path_factory.mktemp("made") / "project"
    files = dict(spam_project.FILES)
    line = "runtime: {runtime}"
    at = " " * 8
    files["mlops.yaml"] = files["mlops.yaml"].replace(
        line, f"{line}\n{at}registry: {registry.host}/ml"
    )
    before = dict(spam_project.FILES)
    spam_project.FILES.update(files)
    try:
        project = spam_project.make(base)
    finally:
        spam_project.FILES.update(before)
    project.mlops("run", "--quiet")
    return project


@pytest.fixture
def project(made, tmp_path):
    return spam_project.copy(made, tmp_path / "project")


def stored(registry, name: str, digest: str) -> int:
    url = f"http://{registry.host}/v2/{name}/manifests/{digest}"
    return httpx.head(url, headers={"Accept": MANIFEST}).status_code


def kustomization(project, environment: str) -> str:
    project.tip()
    return project.git("show", f"origin/main:environments/{environment}/kustomization.yaml")


def test_a_release_lands_in_the_registry(registry, project):
    digest = project.pinned("dev")
    assert stored(registry, "ml/spam", digest) == 200
    record = json.loads(project.mlops("show", "spam@dev", "--output", "json").stdout)[0]
    assert record["image"] == f"{registry.host}/ml/spam@{digest}"
    assert record["environment"].startswith(f"{registry.host}/ml/spam-env@sha256:")
    assert len(record["attestations"]) == 1
    assert stored(registry, "ml/spam", record["attestations"][0]) == 200
    assert f"{registry.host}/ml/spam" in kustomization(project, "dev")


def test_promoted_rolled_back_and_served_where_nothing_is_cached(registry, project, tmp_path):
    first = project.pinned("dev")
    project.mlops("promote", "spam@dev")
    project.write("params.yaml", "train: {accuracy: 0.95}\n")
    project.commit("Better")
    project.mlops("run", "--quiet")
    second = project.pinned("dev")
    assert second != first
    project.mlops("promote", "spam@dev")
    assert project.pinned("staging") == second
    done = project.mlops("rollback", "staging", "--reason", "bad", "--yes")
    assert f"image spam@{first[:19]}: pass" in done.stderr
    assert project.pinned("staging") == first
    cache = str(tmp_path / "empty")
    served = project.mlops("image", "run", "spam@staging", "--port", "18431", MLOPS_CACHE=cache)
    assert served.stdout == "serving\n"


def test_another_clone_with_nothing_cached_arrives_at_the_same_digest(registry, project, tmp_path):
    """The environment image is found in the registry, by its tag, and only what is needed is read."""
    before = project.pinned("dev")
    project.git("clone", "-q", str(project.remote), str(tmp_path / "clone"))
    done = project.run(
        sys.executable, "-m", "mlops", "run", "--again",
        cwd=tmp_path / "clone", MLOPS_CACHE=str(tmp_path / "cache"),
    )  # fmt: skip
    assert done.stdout.strip() == f"spam@{before}"


def test_a_base_by_its_name_in_a_registry(registry, project, tmp_path):
    """Locked by digest; and after its tag has moved on, on a machine that has nothing, still that one."""
    locked = next(
        line.split()[-1] for line in (project.path / "mlops.lock").read_text().splitlines()
        if "sha256:" in line
    ).strip("'\"")  # fmt: skip
    digest = locked[locked.index("sha256:") :]
    url = f"http://{registry.host}/v2/ml/base-host/manifests/"
    manifest = httpx.get(url + digest, headers={"Accept": MANIFEST}).content
    put = httpx.put(f"{url}slim", content=manifest, headers={"Content-Type": MANIFEST})
    assert put.status_code == 201
    text = (project.path / "mlops.yaml").read_text()
    base = f"{registry.host}/ml/base-host:slim"
    project.write("mlops.yaml", text.replace("base: host", f"base: '{base}'"))
    listed = f"http://{registry.host}/v2/ml/base/tags/list"
    before = httpx.get(listed).json()
    assert "nothing was written" in project.mlops("lock", "--dry-run").stderr
    assert httpx.get(listed).json() == before
    assert f"base {base}" in project.mlops("lock").stdout
    assert httpx.get(listed).json()["tags"]
    assert httpx.get(listed).json() != before
    assert digest in (project.path / "mlops.lock").read_text()
    project.commit("Name the base")
    project.mlops("run", "--quiet")
    made = project.pinned("dev")
    other = json.loads(manifest) | {"annotations": {"moved": "on"}}
    content = json.dumps(other).encode()
    put = httpx.put(f"{url}slim", content=content, headers={"Content-Type": MANIFEST})
    assert put.status_code == 201
    project.git("clone", "-q", str(project.remote), str(tmp_path / "clone"))
    done = project.run(
        sys.executable, "-m", "mlops", "run", "--again",
        cwd=tmp_path / "clone", MLOPS_CACHE=str(tmp_path / "cache"),
    )  # fmt: skip
    assert done.stdout.strip() == f"spam@{made}"
