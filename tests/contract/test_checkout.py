"""A repository as it stands on disk, and the overlays that init writes into it."""

from __future__ import annotations

import subprocess

import pytest
import yaml

from mlops import resources
from mlops.adapters.checkout import Checkout
from mlops.adapters.kustomize import Kustomize
from mlops.domain.digest import Digest
from mlops.errors import OutsideError, UsageError
from mlops.manifests import kustomization, scaffold


def git(directory, *argv):
    subprocess.run(["git", *argv], cwd=directory, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path):
    path = tmp_path / "work"
    path.mkdir()
    git(path, "init", "-q", "-b", "trunk")
    return path


def test_files_are_tracked_ones_and_new_ones_that_are_not_ignored(repository):
    for name in ("tracked.py", "new.py", "ignored.pkl", "näme.txt"):
        (repository / name).write_text("x")
    (repository / ".gitignore").write_text("*.pkl\n")
    git(repository, "add", "tracked.py")
    assert Checkout(repository).files() == (".gitignore", "new.py", "näme.txt", "tracked.py")


def test_it_starts_from_a_directory_below(repository):
    (repository / "a" / "b").mkdir(parents=True)
    assert Checkout(repository / "a" / "b").root == repository.resolve()


def test_text_is_read_with_care(repository, tmp_path):
    (tmp_path / "secret").write_text("s")
    (repository / "link").symlink_to(tmp_path / "secret")
    (repository / "out").symlink_to(tmp_path)
    (repository / "binary").write_bytes(b"\xff\xfe")
    (repository / "huge").write_bytes(b"x" * (1 << 20) + b"x")
    tree = Checkout(repository)
    assert tree.text("absent") is None
    assert tree.text("link") is None
    assert tree.text("out/secret") is None
    assert tree.text("binary") == ""
    assert tree.text("huge") == ""


def test_nothing_is_written_over_or_outside(repository, tmp_path):
    tree = Checkout(repository)
    assert tree.create("environments/dev/x.yaml", "new\n")
    assert not tree.create("environments/dev/x.yaml", "other\n")
    assert tree.text("environments/dev/x.yaml") == "new\n"
    (tmp_path / "elsewhere").mkdir()
    (repository / "out").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutsideError, match="leads out"):
        tree.create("out/x.yaml", "x")
    (repository / ".gitignore").symlink_to(tmp_path / "elsewhere" / "ignore")
    with pytest.raises(OutsideError, match="symlink"):
        tree.append(".gitignore", ".mlops/\n")
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(("before", "after"), [("", "x\n"), ("a", "a\nx\n"), ("a\n", "a\nx\n")])
def test_lines_are_added_at_the_end(repository, before, after):
    (repository / ".gitignore").write_text(before)
    Checkout(repository).append(".gitignore", "x\n")
    assert (repository / ".gitignore").read_text() == after


def test_branch_remote_and_refspecs(repository):
    tree = Checkout(repository)
    assert tree.branch() == "trunk"
    assert tree.remote() == ("", "")
    git(repository, "remote", "add", "origin", "/nowhere.git")
    assert tree.remote() == ("origin", "/nowhere.git")
    tree.add_fetch("origin", "+refs/tags/mlops/*:refs/tags/mlops/*")
    assert tree.fetches("origin")[-1] == "+refs/tags/mlops/*:refs/tags/mlops/*"
    git(
        repository,
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b",
        "commit",
        "-q",
        "--allow-empty",
        "-mx",
    )
    git(repository, "checkout", "-q", "--detach")
    assert tree.branch() == ""


def test_a_bare_repository_has_no_files(tmp_path):
    git(tmp_path, "init", "-q", "--bare", "x.git")
    with pytest.raises(UsageError, match="no work tree"):
        Checkout(tmp_path / "x.git")


@pytest.mark.parametrize("models", [("spam",), ("uk", "fr", "de")])
@pytest.mark.parametrize("pinned", [False, True])
def test_what_init_writes_renders(models, pinned):
    root = resources.path("environments")
    templates = {str(p.relative_to(root)): p.read_text() for p in root.rglob("*.yaml")}
    files = scaffold.environments(templates, "shop", models, "environments")
    content = {path: text.encode() for path, text in files.items()}
    where = "environments/prod/kustomization.yaml"
    expected = dict.fromkeys(models, "")
    if pinned:
        for model in models:
            digest = Digest.of(model.encode())
            content[where] = kustomization.with_pin(content[where], model, digest, where)
            expected[model] = f"@{digest}"
    rendered = Kustomize().render(content, "environments/prod", 60.0)
    deployments = [d for d in yaml.safe_load_all(rendered) if d["kind"] == "Deployment"]
    assert {d["metadata"]["namespace"] for d in deployments} == {"shop-prod"}
    for deployment in deployments:
        name = deployment["metadata"]["name"]
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["image"] == name + expected[name]
        told = {e["name"]: e["value"] for e in container["env"]}
        assert told["MLOPS_RELEASE"] == name + expected[name]
    assert {d["metadata"]["name"] for d in deployments} == set(models)
