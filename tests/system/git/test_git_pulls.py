"""Pull requests in real git: their heads, and the commits that are run of them."""

from __future__ import annotations

import pytest

from mlops.adapters.git import Repository, discover
from mlops.adapters.git.pulls import PullRefs
from mlops.domain.source import Commit
from mlops.engine.pullruns import of_pull
from mlops.errors import GitError, GitUsageError


def commit(sandbox, clone, files: dict[str, str], message: str = "change") -> Commit:
    for path, text in files.items():
        target = clone / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    sandbox.git(clone, "add", "-A", "-f")
    sandbox.git(clone, "commit", "-q", "-m", message)
    return Commit(sandbox.git(clone, "rev-parse", "HEAD"))


@pytest.fixture
def world(sandbox):
    """A clone with a definition on main, and a pull request that changes it."""
    clone = sandbox.clone("one")
    files = {"mlops.yaml": "ours\n", ".dvc/config": "ours\n", "train.py": "1\n"}
    tip = commit(sandbox, clone, files)
    sandbox.git(clone, "push", "-q", "origin", "HEAD:main")
    sandbox.git(clone, "checkout", "-q", "--detach")
    return sandbox, clone, tip


def propose(sandbox, clone, files: dict[str, str]) -> Commit:
    head = commit(sandbox, clone, files)
    sandbox.git(clone, "push", "-q", "--force", "origin", "HEAD:refs/pull/3/head")
    return head


THEIRS = {
    "mlops.yaml": "theirs\n",
    "mlops.lock": "theirs\n",
    ".dvc/config": "theirs\n",
    ".dvc/config.local": "theirs\n",
    "train.py": "2\n",
}


def test_what_is_run_has_their_files_and_our_definition(world):
    sandbox, clone, tip = world
    head = propose(sandbox, clone, THEIRS)
    with Repository(discover(clone)) as repository:
        refs = PullRefs(repository)
        assert refs.fetch(3) == head
        ran = refs.settle(head, tip)
        read = {path: repository.read(ran, path) for path in THEIRS}
        assert read == {
            "mlops.yaml": b"ours\n",
            "mlops.lock": None,
            ".dvc/config": b"ours\n",
            ".dvc/config.local": None,
            "train.py": b"2\n",
        }
        assert repository.commit(ran).parents == (head.sha,)
        assert of_pull(repository, ran)
        assert not of_pull(repository, head)
        assert repository.source_of(ran, "environments") == ran


def test_everybody_runs_the_same_commit_also_once_main_went_on(world):
    sandbox, clone, tip = world
    head = propose(sandbox, clone, THEIRS)
    with Repository(discover(clone)) as repository:
        first = PullRefs(repository).settle(head, tip)
    other = sandbox.clone("two")
    later = commit(sandbox, other, {"mlops.yaml": "changed\n"})
    sandbox.git(other, "push", "-q", "origin", "HEAD:main")
    with Repository(discover(other)) as repository:
        refs = PullRefs(repository)
        refs.fetch(3)
        assert refs.settle(head, later) == first
        assert repository.has(first)


@pytest.mark.parametrize(
    "files", [{".dvc/config/x": "dir\n"}, {".mlops-pull-request": "mine\n"}, {"mlops.lock/a": "\n"}]
)
def test_odd_things_in_the_definitions_place_are_not_run(world, files):
    sandbox, clone, tip = world
    for path in (".dvc/config", "mlops.lock"):
        (clone / path).unlink(missing_ok=True)
    head = propose(sandbox, clone, files)
    with Repository(discover(clone)) as repository, pytest.raises(GitError, match="not run"):
        PullRefs(repository).settle(head, tip)
    assert "approved" not in sandbox.git(clone, "ls-remote", "origin")


def test_a_link_in_the_definitions_place_is_not_run(world):
    sandbox, clone, tip = world
    (clone / "mlops.yaml").unlink()
    (clone / "mlops.yaml").symlink_to("/etc/passwd")
    head = propose(sandbox, clone, {"train.py": "2\n"})
    with Repository(discover(clone)) as repository, pytest.raises(GitError, match="symbolic link"):
        PullRefs(repository).settle(head, tip)


def test_a_mark_that_a_stranger_copied_makes_no_run_of_a_pull_request(world):
    sandbox, clone, _ = world
    forged = commit(sandbox, clone, {".mlops-pull-request": f"pull request at {'1' * 40}\n"})
    with Repository(discover(clone)) as repository:
        assert not of_pull(repository, forged)


def test_what_is_not_there_is_said(world):
    sandbox, clone, _ = world
    with Repository(discover(clone)) as repository:
        refs = PullRefs(repository)
        with pytest.raises(GitUsageError, match="no pull request 9"):
            refs.fetch(9)
        with pytest.raises(GitUsageError, match="no branch nowhere"):
            refs.target("nowhere")
        unrelated = Commit(sandbox.git(clone, "commit-tree", "-m", "x", "HEAD^{tree}"))
        with pytest.raises(GitError, match="no commit in common"):
            refs.merge_base(unrelated, Commit(sandbox.git(clone, "rev-parse", "HEAD")))


def test_closed_ones_are_forgotten(world):
    sandbox, clone, _ = world
    propose(sandbox, clone, {"train.py": "2\n"})
    with Repository(discover(clone)) as repository:
        refs = PullRefs(repository)
        refs.fetch(3)
        refs.forget({3})
        assert sandbox.git(clone, "for-each-ref", "refs/mlops/pulls")
        refs.forget(set())
        assert not sandbox.git(clone, "for-each-ref", "refs/mlops/pulls")
