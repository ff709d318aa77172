"""`mlops lock --overlays` as a user types it, against a real registry."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlops.cli import opening, tags
from tests.fakes.estate import overlays

PROJECT = """apiVersion: mlops/v1
kind: Project
name: demo
registry: {host}/ml
models:
  spam: {{paths: ["**"]}}
"""
FILE = "environments/prod/kustomization.yaml"


class Clone:
    """A clone with a remote, and `mlops` in it."""

    def __init__(self, root: Path, host: str, gitops: str = ""):
        self.root, self.remote = root / "clone", root / "remote.git"
        self.run("git", "init", "-q", "--bare", "-b", "main", str(self.remote), cwd=root)
        self.run("git", "init", "-q", "-b", "main", str(self.root), cwd=root)
        self.run("git", "config", "user.name", "Ada")
        self.run("git", "config", "user.email", "ada@example.com")
        self.run("git", "remote", "add", "origin", str(self.remote))
        self.files = {path: content.decode() for path, content in overlays().items()}
        self.files[FILE] = (
            f"# by hand\r\nimages:\r\n- name: spam\r\n  newName: {host}/ml/spam\r\n"
            f"  newTag: v1 # ours\r\n- name: proxy\r\n  newName: {host}/ml/proxy\r\n  newTag: gone"
        )
        self.files[".gitignore"] = ".mlops/\n"
        self.files["mlops.yaml"] = PROJECT.format(host=host) + gitops

    def push(self, branch: str, *paths: str):
        for path in paths:
            target = self.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.files[path].encode())
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "-m", "begin")
        self.run("git", "push", "-q", "origin", f"HEAD:{branch}")

    def run(self, *argv: str, code: int = 0, cwd: Path | None = None):
        env = {**os.environ, "MLOPS_ACTOR": "Ada", "GIT_CONFIG_GLOBAL": os.devnull}
        done = subprocess.run(
            argv, cwd=cwd or self.root, env=env, capture_output=True, timeout=120, check=False
        )
        assert done.returncode == code, (argv, done.returncode, done.stdout, done.stderr)
        assert b"Traceback" not in done.stderr
        return done

    def lock(self, *more: str, code: int = 0):
        argv = (sys.executable, "-m", "mlops", "lock", "--overlays", *more)
        done = self.run(*argv, code=code)
        return done.stdout.decode(), done.stderr.decode()

    @property
    def content(self) -> str:
        return (self.root / FILE).read_bytes().decode()


@pytest.fixture
def clone(tmp_path, registry) -> Clone:
    made = Clone(tmp_path, registry.host)
    made.push("main", *made.files)
    return made


def test_a_tag_in_the_work_tree_becomes_its_digest(clone, registry):
    digest = registry.image("ml/spam", "v1", b"one")
    before = clone.files[FILE]
    after = before.replace("newTag: v1", f"digest: {digest}")

    out, err = clone.lock("--check", code=1)
    assert "can be moved: run mlops lock --overlays" in out
    assert f"{FILE}: proxy:gone stays: {registry.host}/ml/proxy has no tag gone" in err
    out, _ = clone.lock("--dry-run")
    assert "-  newTag: v1 # ours" in out
    assert f"+  digest: {digest} # ours" in out
    assert clone.content == before, "neither writes"

    out, _ = clone.lock()
    assert f"{FILE}: spam v1 → {digest}" in out
    assert clone.content == after
    assert clone.run("git", "diff", "--numstat").stdout.decode() == f"1\t1\t{FILE}\n"
    assert clone.lock("--check")[0] == "no tag can be moved\n"

    (found,) = json.loads(clone.lock("--output", "json")[0])
    assert (found["moved"], found["files"], found["commit"]) == ([], [], None)
    assert [(each["name"], each["tag"], each["asked"]) for each in found["left"]] == [
        ("proxy", "gone", True)
    ]


def test_a_registry_that_is_down_is_said_and_what_it_holds_stays(tmp_path, registry):
    digest = registry.image("ml/spam", "v1", b"one")
    clone = Clone(tmp_path, registry.host)
    down = "127.0.0.1:9"
    clone.files[FILE] = clone.files[FILE].replace(f"{registry.host}/ml/proxy", f"{down}/ml/proxy")
    clone.push("main", *clone.files)
    out, err = clone.lock(code=3)
    assert f"spam v1 → {digest}" in out
    assert f"proxy:gone stays: {down} cannot be asked" in err
    assert "newTag: gone" in clone.content
    clone.lock("--check", code=3)


@pytest.mark.parametrize("where", ["branch", "repository"])
def test_where_the_gitops_branch_is_elsewhere_it_is_one_commit_there(tmp_path, registry, where):
    digest = registry.image("ml/spam", "v1", b"one")
    url = f"url: 'file://{tmp_path / 'deploy.git'}', " if where == "repository" else ""
    clone = Clone(tmp_path, registry.host, f"gitops: {{{url}branch: deploy}}\n")
    if url:
        clone.run("git", "init", "-q", "--bare", str(tmp_path / "deploy.git"), cwd=tmp_path)
    home = tmp_path / "deploy.git" if url else clone.remote
    clone.push("main", "mlops.yaml", ".gitignore")
    clone.run("git", "switch", "-q", "--orphan", "deploy")
    there = [path for path in clone.files if path.startswith("environments/")]
    clone.push("main-of-nobody", *there)
    clone.run("git", "push", "-q", str(home), "HEAD:refs/heads/deploy")
    clone.run("git", "switch", "-q", "main")

    clone.lock("--check", code=1)
    out, _ = clone.lock("--dry-run")
    assert f"+  digest: {digest} # ours" in out
    out, _ = clone.lock()
    assert "committed on deploy: " in out
    shown = clone.run("git", "--git-dir", str(home), "show", f"deploy:{FILE}").stdout.decode()
    assert shown == clone.files[FILE].replace("newTag: v1", f"digest: {digest}")
    log = clone.run("git", "--git-dir", str(home), "log", "-1", "--format=%B", "deploy").stdout
    assert log.decode().startswith("Move tags to digests\n")
    assert f"Mlops-Model: spam@{digest}" in log.decode()
    assert clone.run("git", "status", "--porcelain").stdout == b""
    clone.run("git", "fetch", "-q", str(home), "deploy")
    guard = clone.run(sys.executable, "-m", "mlops", "guard", "FETCH_HEAD~1..FETCH_HEAD")
    assert guard.returncode == 0, "a tag that becomes its own digest passes the guard"


def test_who_only_locks_is_told_of_tags_and_nobody_is_asked(clone, capsys):
    (clone.root / "environments" / "dev" / "kustomization.yaml").write_text("- broken\n")
    tags.remind(opening.open_work_tree(clone.root))
    told = capsys.readouterr().err
    assert told == "in overlays, 2 images stand by tag; move to digests: mlops lock --overlays\n"


def test_links_are_not_followed_out_of_the_project(clone, tmp_path, registry):
    registry.image("ml/spam", "v1", b"one")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kustomization.yaml").write_bytes(clone.files[FILE].encode())
    (clone.root / "environments" / "linked").symlink_to(outside)
    file = clone.root / "environments" / "dev" / "kustomization.yaml"
    file.unlink()
    file.symlink_to(outside / "kustomization.yaml")
    out, _ = clone.lock()
    assert out.count("→") == 1
    assert (outside / "kustomization.yaml").read_bytes() == clone.files[FILE].encode()


def test_it_stands_alone(clone):
    done = clone.run(
        sys.executable, "-m", "mlops", "lock", "--overlays", "--upgrade", "numpy", code=2
    )
    assert b"--overlays takes no NAME and no --upgrade" in done.stderr


def test_the_environments_credentials_are_for_our_registry_alone(
    tmp_path, registry, private, monkeypatch
):
    digest = private.image("ml/spam", "v1", b"one")
    monkeypatch.setenv("MLOPS_REGISTRY_USERNAME", "ada")
    monkeypatch.setenv("MLOPS_REGISTRY_PASSWORD", "s3cret")
    ours = Clone(_made(tmp_path / "ours"), private.host)
    ours.push("main", *ours.files)
    assert f"spam v1 → {digest}" in ours.lock()[0]

    theirs = Clone(_made(tmp_path / "theirs"), private.host)
    theirs.files["mlops.yaml"] = PROJECT.format(host=registry.host)
    theirs.push("main", *theirs.files)
    out, err = theirs.lock(code=3)
    assert out == "no tag can be moved\n"
    assert f"{private.host} does not accept the credentials, or there are none" in err
    assert "s3cret" not in err


def _made(path: Path) -> Path:
    path.mkdir()
    return path
