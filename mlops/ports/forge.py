"""What the use cases need of a forge: commit statuses and pull requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mlops.domain.forge import Place, PullRequest, Status
from mlops.domain.source import Commit


@dataclass(frozen=True, slots=True)
class Access:
    """Who the token is, as far as the forge tells, and whether it may write to the repository (None:
    the forge does not tell)."""

    login: str
    writes: bool | None


class Forge(Protocol):
    """One repository on a forge. Every method raises ForgeError, which says whether a retry can help."""

    @property
    def place(self) -> Place: ...

    def access(self) -> Access:
        """Asked with harmless reads."""
        ...

    def statuses(self, commit: Commit) -> tuple[Status, ...]:
        """The newest status of each context, as far as the forge keeps what was said."""
        ...

    def say(self, commit: Commit, status: Status) -> None:
        """Say a status; the newest of its context counts."""
        ...

    def pulls(self, branch: str = "") -> tuple[PullRequest, ...]:
        """The open pull requests of this repository's own branches; of one `branch` alone, all of them, newest
        first, whatever their state."""
        ...

    def open_pull(self, branch: str, into: str, title: str, body: str) -> PullRequest: ...
    def edit_pull(self, pull: PullRequest, title: str, body: str) -> PullRequest: ...
    def close_pull(self, pull: PullRequest) -> None: ...
    def let_merge(self, pull: PullRequest) -> str:
        """Ask the forge to merge it once it may; why it will not, empty where it will."""
        ...
