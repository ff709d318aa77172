"""What one watcher watches: several repositories, and how much it does at once."""

from __future__ import annotations

from dataclasses import dataclass

INTERVAL = 30.0  # seconds between two looks at a repository


@dataclass(frozen=True, slots=True)
class Watched:
    """One repository: by `url`, of which a clone is kept, or by `path`, read where it is.

    `interval` is in seconds; `branches` instead of those of its mlops.yaml, empty for those.
    """

    name: str
    url: str = ""
    path: str = ""
    interval: float = INTERVAL
    branches: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Watchlist:
    """All repositories of a watcher, `runs` at once over all of them, 0 for no limit but each one's own;
    `state` is the directory of clones, logs and locks."""

    repositories: tuple[Watched, ...]
    runs: int = 0
    state: str = ""
