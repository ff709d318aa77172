"""Pins and records on a branch of their own, and in a repository of their own."""

from __future__ import annotations

import pytest


def moved(project, branch: str, remote) -> None:
    """Let `environments/` live on `branch` of `remote` alone."""
    home = project.path.parent / "deploy"
    project.run("git", "clone", "-q", str(remote), str(home))
    project.run("git", "checkout", "-q", "--orphan", branch, cwd=home)
    project.run("git", "rm", "-rfq", "--ignore-unmatch", ".", cwd=home)
    project.run("cp", "-r", str(project.path / "environments"), str(home))
    project.run("git", "add", "-A", cwd=home)
    project.run("git", "commit", "-q", "-m", "Environments", cwd=home)
    project.run("git", "push", "-q", "origin", branch, cwd=home)
    project.git("rm", "-rq", "environments")


@pytest.mark.parametrize("apart", ["branch", "repository"])
def test_release_promote_and_roll_back(project, apart):
    remote, branch = project.remote, "mlops-environments"
    told = f"gitops: {{branch: {branch}}}\n"
    if apart == "repository":
        remote = project.path.parent / "deploy.git"
        project.run("git", "init", "-q", "--bare", str(remote))
        told = f"gitops: {{url: 'file://{remote}', branch: {branch}}}\n"
    moved(project, branch, remote)
    text = (project.path / "mlops.yaml").read_text()
    project.write("mlops.yaml", text.replace("runtime:", f"{told}runtime:"))
    project.commit("Keep pins apart")
    before = project.tip()

    def pinned(environment: str) -> str:
        path = f"{branch}:environments/{environment}/kustomization.yaml"
        return project.run("git", "--git-dir", str(remote), "show", path).stdout

    first = project.mlops("run", "--quiet").stdout.strip()
    for ref in ("spam@dev", "spam@staging"):
        project.mlops("promote", ref)
    assert first.partition("@")[2] in pinned("prod")
    project.write("params.yaml", "train: {accuracy: 0.8}\n")
    project.commit("Change")
    second = project.mlops("run", "--quiet").stdout.strip()
    for ref in ("spam@dev", "spam@staging"):
        project.mlops("promote", ref)
    assert second.partition("@")[2] in pinned("prod")
    project.mlops("rollback", "prod", "--reason", "wrong", "--yes")
    assert first.partition("@")[2] in pinned("prod")
    log = project.git("log", "--format=%s", f"{before}..origin/main").splitlines()
    assert log == ["Change"], "nothing of ours is on the source branch"
    status = project.mlops("status", "--output", "json").stdout
    assert first in status
