"""What a project's remote has now: the tips of its tracked branches, and the tags of releases."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from mlops.adapters.git.repository import Repository
from mlops.domain.source import Commit

_HEADS = "refs/heads/"
_RELEASES = "+refs/tags/mlops/*:refs/tags/mlops/*"


def tips(repository: Repository, patterns: Sequence[str]) -> tuple[Commit, ...]:
    """The tips of the branches that match one of `patterns` (shell globs), each once, fetched.

    Without a remote the local branches count.
    """
    name = repository.remote_name()
    if name is None:
        listing = ("for-each-ref", "--format=%(refname) %(objectname)", _HEADS)
        text = repository.git.text(*listing, doing="listing branches")
        found = {ref: sha for ref, _, sha in (line.partition(" ") for line in text.splitlines())}
    else:
        remote = repository.remote(name)
        found = remote.refs(f"{_HEADS}*")
    tracked = {
        ref.removeprefix(_HEADS): sha
        for ref, sha in sorted(found.items())
        if any(fnmatchcase(ref.removeprefix(_HEADS), pattern) for pattern in patterns)
    }
    if name is not None and tracked:
        specs = [f"+{_HEADS}{branch}:{remote.tracking(branch)}" for branch in tracked]
        remote.fetch(specs, doing=f"fetching the tracked branches from {name}")
    return tuple(dict.fromkeys(Commit.parse(sha) for sha in tracked.values()))


def fetch_release_tags(repository: Repository) -> None:
    """Bring the tags `mlops/…` here: they hold the dvc.lock that the next run starts from."""
    name = repository.remote_name()
    if name is not None:
        repository.remote(name).fetch(
            [_RELEASES], doing=f"fetching the tags of releases from {name}"
        )
