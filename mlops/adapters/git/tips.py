"""The tags of releases on a project's remote."""

from __future__ import annotations

from mlops.adapters.git.repository import Repository

_RELEASES = "+refs/tags/mlops/*:refs/tags/mlops/*"


def fetch_release_tags(repository: Repository) -> None:
    """Bring the tags `mlops/…` here: they hold the dvc.lock that the next run starts from."""
    name = repository.remote_name()
    if name is not None:
        repository.remote(name).fetch(
            [_RELEASES], doing=f"fetching the tags of releases from {name}"
        )
