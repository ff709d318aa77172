"""Bare clones that are kept: of a GitOps repository that is another one, and of what a watcher watches."""

from __future__ import annotations

from pathlib import Path

from mlops.adapters.git.command import Git
from mlops.adapters.git.failures import redact
from mlops.adapters.git.repository import Repository
from mlops.errors import GitError

_REMOTE = "origin"
_SPECS = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/mlops/*:refs/tags/mlops/*")


def refresh(url: str, clone: Path) -> None:
    """Make a bare clone, or bring it up to date; tags of ours come along, no other tag does.

    Raises GitError.
    """
    git = _made(url, clone)
    shown = redact(url)
    if not Repository(git).remote(_REMOTE).fetch(_SPECS, doing=f"cloning {shown}"):
        raise GitError(f"{shown} has no branches", hint="Push the project first")


def settle(url: str, clone: Path) -> None:
    """Make a bare clone whose HEAD is the remote's own, as last fetched; one that is there stays as it is.

    Raises GitError.
    """
    git = Git(clone)
    if (
        clone.is_dir()
        and git.attempt("rev-parse", "--verify", "HEAD", doing="reading HEAD").code == 0
    ):
        return
    refresh(url, clone)
    doing = f"asking {redact(url)} for its HEAD"
    told = git.text("ls-remote", "--symref", "--", _REMOTE, "HEAD", doing=doing)
    first = told.partition("\t")[0]
    branch = first.removeprefix("ref: refs/heads/")
    if branch == first:
        raise GitError(f"{redact(url)} has no HEAD that is a branch", hint="Set its default branch")
    for name in ("refs/remotes/origin/HEAD", "HEAD"):
        target = f"refs/remotes/origin/{branch}"
        git.run("symbolic-ref", name, target, doing="making a clone")


def _made(url: str, clone: Path) -> Git:
    clone.mkdir(parents=True, exist_ok=True)
    git = Git(clone)
    git.run("init", "--quiet", "--bare", doing="making a clone")
    git.run("config", f"remote.{_REMOTE}.url", url, doing="making a clone")
    return git
