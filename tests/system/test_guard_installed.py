"""`mlops guard` where people install it: in a bare repository's hook, and in the jobs of two services."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.fakes.deployment import PROJECT, Deployment, banned, held
from tests.fakes.estate import digest, overlays


@dataclass
class Server:
    """A bare repository with the hook in it, a clone, and the environment of whoever pushes."""

    bare: Path
    clone: Deployment

    def mlops(self, *args: str, code: int = 0, where: Path | None = None, **env: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "mlops", *args],
            cwd=where or self.clone.where,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def push(self, *args: str, code: int = 0) -> str:
        done = subprocess.run(
            ["git", "push", "-q", "origin", *(args or ("HEAD:main",))],
            cwd=self.clone.where,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stderr

    def main(self) -> str:
        return self.clone.git("ls-remote", "origin", "refs/heads/main").split("\t")[0]

    def script(self, text: str, where: Path, code: int = 0, **env: str) -> str:
        """What a CI service does with a `run:` block: a shell that stops at the first failure."""
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", text],
            cwd=where,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def checkout(self, where: Path, *args: str) -> Path:
        subprocess.run(["git", "clone", "-q", *args, str(self.bare), str(where)], check=True)
        return where


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("GIT_", "MLOPS_"))]:
        monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    (tmp_path / "home/.gitconfig").write_text(
        "[user]\n name = Ada\n email = ada@example.com\n[init]\n defaultBranch = main\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """prod pins B after A, pushed; the hook is installed as the documentation says."""
    bare = tmp_path / "deploy.git"
    subprocess.run(["git", "init", "-q", "--bare", str(bare)], check=True)
    subprocess.run(
        ["git", "clone", "-q", str(bare), str(tmp_path / "clone")],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    clone = Deployment.begin(tmp_path / "clone", "A", "B")
    clone.commit(clone.pinned("A"))
    clone.commit(clone.pinned("B"))
    found = Server(bare, clone)
    found.push()
    hook = bare / "hooks/pre-receive"
    hook.write_text(found.mlops("guard", "--print", "pre-receive"))
    hook.chmod(0o755)
    return found


def pulled(server: Server) -> None:
    server.clone.git("pull", "-q", "--rebase", "origin", "main")


def test_the_hook_lets_our_commands_through_and_refuses_the_revert(server):
    server.mlops("rollback", "prod", "--reason", "nonsense", "--yes", "--skip-preflight")
    pulled(server)
    standing = server.main()
    server.clone.git("revert", "--no-edit", "HEAD")
    said = server.push(code=1)
    assert "prod is held by Ada: nonsense" in said
    assert "mlops resume prod spam" in said
    assert server.main() == standing
    server.clone.git("reset", "-q", "--hard", standing)
    named = f"spam@{digest('B')}"
    server.mlops("promote", named, "--to", "prod", "--despite-hold", code=1)  # never in staging
    server.mlops("quarantine", named, "--reason", "leaks")
    server.mlops("resume", "prod", "spam")
    pulled(server)
    server.clone.commit(server.clone.pinned("B"))
    assert "quarantined" in server.push(code=1)
    server.clone.git("reset", "-q", "--hard", "HEAD~1")
    server.mlops("quarantine", "--lift", named)
    pulled(server)
    server.clone.commit(server.clone.pinned("B"))
    server.push()


def test_the_hook_sees_what_is_being_pushed_and_other_branches_are_none_of_its_business(server):
    server.clone.commit(server.clone.pinned("X"))
    server.push("HEAD:refs/heads/feature")
    server.push("HEAD:refs/tags/v1")
    assert "no release record" in server.push(code=1)


def test_the_hook_refuses_to_lose_the_branch(server):
    server.bare.joinpath("config").write_text(
        server.bare.joinpath("config").read_text() + "[receive]\n\tdenyDeleteCurrent = ignore\n"
    )
    assert "removes the GitOps branch" in server.push(":main", code=1)
    server.clone.git("reset", "-q", "--hard", "HEAD~1")
    assert "not on the line" in server.push("--force", "HEAD:main", code=1)


def test_a_push_cannot_switch_the_hook_off(server):
    elsewhere = b"gitops: {branch: other, path: elsewhere}\n"
    server.clone.commit({"mlops.yaml": PROJECT + elsewhere, **server.clone.pinned("X")})
    assert "no release record" in server.push(code=1)
    server.clone.git("reset", "-q", "--hard", "HEAD~1")
    server.clone.commit({"mlops.yaml": b"[", **server.clone.pinned("X")})
    assert "no release record" in server.push(code=1)


def test_a_gitops_branch_of_its_own_is_guarded_by_the_project_s_mlops_yaml(server):
    clone = server.clone
    clone.commit({"mlops.yaml": PROJECT + b"gitops: {branch: pins}\n"})
    server.push()
    clone.git("checkout", "-q", "--orphan", "pins")
    clone.git("rm", "-rqf", ".")
    base = clone.commit(overlays())
    server.push("HEAD:refs/heads/pins")
    clone.commit(clone.pinned("X", model="eggs"))
    assert "eggs@sha256" in server.push("HEAD:refs/heads/pins", code=1)
    clone.git("reset", "-q", "--hard", base)


def test_the_hook_of_a_server_without_mlops_refuses(server, tmp_path):
    few = tmp_path / "bin"
    few.mkdir()
    hook = server.bare / "hooks/pre-receive"
    done = subprocess.run(
        ["/bin/sh", str(hook)], env={"PATH": str(few)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "refusing" in done.stderr


def test_the_hook_runs_in_a_repository_with_a_work_tree_too(server):
    shutil.copy(server.bare / "hooks/pre-receive", server.clone.where / ".git/hooks/pre-receive")
    other = server.checkout(server.bare.parent / "other")
    where = Deployment(other)
    where.commit(where.pinned("X"))
    server.clone.git("checkout", "-q", "-b", "aside")
    where.git("remote", "set-url", "origin", str(server.clone.where))
    assert "no release record" in Server(server.bare, where).push(code=1)


def test_guard_writes_nothing(server):
    before = sorted(str(path) for path in server.bare.rglob("*"))
    server.mlops("guard", "HEAD~1..HEAD", where=server.bare)
    assert sorted(str(path) for path in server.bare.rglob("*")) == before


def test_answers_for_programs_and_what_is_no_range(server):
    server.clone.commit(server.clone.pinned("X"))
    out = server.mlops("guard", "HEAD~1", "HEAD", "-o", "json", code=1)
    (found,) = json.loads(out)
    assert set(found) == {"commit", "environment", "model", "rule", "reason", "hint"}
    assert (found["commit"], found["environment"], found["rule"]) == (
        server.clone.head, "prod", "record",
    )  # fmt: skip
    assert (
        json.loads(server.mlops("guard", "HEAD..HEAD", "-o", "json").partition("guard:")[0]) == []
    )
    for bad in ("HEAD", "a...b", "..HEAD", "--", "nowhere..HEAD", "--output=x..HEAD"):
        assert "error" in server.mlops("guard", bad, code=2).lower()
    zero = "0" * 40
    assert "no release record" in server.mlops("guard", f"{zero}..HEAD", code=1)
    assert "removes the GitOps branch" in server.mlops("guard", f"HEAD..{zero}", code=1)


def test_what_no_git_says_on_stdin_is_refused_and_odd_names_of_branches_are_not(server):
    zero, head = "0" * 40, server.clone.head
    for said, code in (
        (b"garbage\n", 2),
        (b"\xff\xfe\n", 2),
        (f"{zero} {head} refs/heads/caf\u00e9 $(x) -y\n".encode(), 0),
        (f"{zero} {head} refs/heads/".encode() + b"\xff\n", 0),
        (b"", 0),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "mlops", "guard", "--pre-receive"],
            cwd=server.bare,
            input=said,
            capture_output=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert b"Traceback" not in done.stderr


def test_a_directory_of_another_name_is_given_or_stands_in_mlops_yaml(server):
    clone = server.clone
    clone.git("mv", "environments", "deploy")
    clone.commit({"mlops.yaml": PROJECT + b"gitops: {path: deploy}\n"})
    base = clone.head
    path = "deploy/prod/kustomization.yaml"
    content = (
        (clone.where / path)
        .read_bytes()
        .replace(digest("B").hex.encode(), digest("X").hex.encode())
    )
    clone.commit({path: content})
    for more in ((), ("--path", "deploy/")):
        assert "no release record" in server.mlops("guard", f"{base}..HEAD", *more, code=1)
    server.mlops("guard", f"{base}..HEAD", "--path", "environments")
    assert "error" in server.mlops("guard", f"{base}..HEAD", "--path", "../x", code=2)


def test_a_shallow_clone_says_what_to_fetch(server, tmp_path):
    base = server.clone.git("rev-parse", "HEAD~2")
    shallow = server.checkout(tmp_path / "shallow", "--depth=1", "--no-local")
    said = server.mlops("guard", f"{base}..HEAD", where=shallow, code=2)
    assert "git fetch --unshallow" in said
    assert "fetch-depth: 0" in said
    subprocess.run(["git", "fetch", "-q", "--depth=1", "origin", base], cwd=shallow, check=True)
    assert "shallow" in server.mlops("guard", f"{base}..HEAD", where=shallow, code=2)


def job(server: Server, service: str) -> str:
    """The guard script of a printed job."""
    document = yaml.safe_load(server.mlops("guard", "--print", service))
    if service == "gitlab":
        return "\n".join(document["mlops-guard"]["script"])
    steps = document["jobs"]["guard"]["steps"]
    assert all(
        "@" in step["uses"] and len(step["uses"].split("@")[1]) == 40
        for step in steps
        if "uses" in step
    )
    assert steps[0]["with"]["fetch-depth"] == 0
    return next(step["run"] for step in steps if step.get("name") == "guard")


def requested(server: Server, name: str, files: dict[str, bytes | None]) -> str:
    """A branch with one commit, cut before prod was held, pushed."""
    server.clone.git("checkout", "-q", "-b", name, "main")
    head = server.clone.commit(files)
    server.push(f"HEAD:refs/heads/{name}")
    return head


def test_the_github_job_judges_the_merge_and_the_queue(server, tmp_path):
    clone = server.clone
    bad = requested(server, "bad", clone.pinned("A"))
    requested(server, "good", {"src/x.py": b"x"})
    clone.git("checkout", "-q", "main")
    clone.commit(clone.holds(held("B")))
    server.push()
    run = job(server, "github")
    for name, code in (("bad", 1), ("good", 0)):
        where = server.checkout(tmp_path / name)
        merge = Deployment(where)
        merge.git("checkout", "-q", "--detach")
        merge.git("merge", "-q", "--no-ff", "--no-edit", f"origin/{name}")
        said = server.script(run, where, code, GITHUB_SHA=merge.head, QUEUE_BASE="")
        assert ("prod is held" in said) == bool(code)
        queue = {"GITHUB_SHA": merge.head, "QUEUE_BASE": server.main()}
        server.script(run, where, code, **queue)
    assert bad


def test_the_gitlab_job_judges_the_merge_that_would_be_made(server, tmp_path):
    clone = server.clone
    heads = {"bad": requested(server, "bad", clone.pinned("A"))}
    heads["good"] = requested(server, "good", {"src/x.py": b"x"})
    clone.git("checkout", "-q", "main")
    clone.commit(clone.holds(held("B")))
    server.push()
    run = job(server, "gitlab")
    where = server.checkout(tmp_path / "job")
    for name, code in (("bad", 1), ("good", 0)):
        env = {"CI_COMMIT_SHA": heads[name], "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main"}
        said = server.script(run, where, code, **env)
        assert ("prod is held" in said) == bool(code)
    merge = Deployment(where)  # a merged result: GitLab checks out the merge itself
    merge.git("merge", "-q", "--no-ff", "--no-edit", "origin/bad")
    env = {"CI_COMMIT_SHA": merge.head, "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main"}
    assert "prod is held" in server.script(run, where, 1, **env)
    conflict = requested(server, "conflict", clone.quarantine(banned("A")))
    clone.git("checkout", "-q", "main")
    clone.commit(clone.quarantine(banned("B")))
    server.push()
    env = {"CI_COMMIT_SHA": conflict, "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main"}
    server.script(run, where, 1, **env)


def test_quarantine_tells_what_else_it_forbids_and_what_forbids_it_still(server):
    server.clone.commit(server.clone.recorded("A", "eggs"))
    server.clone.commit(server.clone.pinned("A", "dev", "eggs"))
    server.push()
    spam, eggs = (f"{model}@{digest('A')}" for model in ("spam", "eggs"))
    said = server.mlops("quarantine", spam, "--reason", "leaks")
    assert f"dev pins eggs@sha256:{digest('A').short}, which is forbidden too" in said
    said = server.mlops("quarantine", "--lift", eggs)
    assert "is not in quarantine: nothing changed" in said
    assert f"mlops quarantine --lift spam@sha256:{digest('A').short}" in said
    answer = json.loads(server.mlops("quarantine", spam, "--reason", "leaks", "-o", "json"))
    assert answer[0]["alike"] == [{"environment": "dev", "release": eggs}]
    said = server.mlops("quarantine", "--lift", spam)
    assert "is out of quarantine" in said
    assert "stays forbidden" not in said
