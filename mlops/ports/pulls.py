"""Pull requests: what git has of them, and what the use cases need of a forge to speak with people on them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from mlops.domain.pulls import Contribution, Remark
from mlops.domain.source import Commit


class Conversations(Protocol):
    """The pull requests of one repository, and their comments. Every method raises ForgeError, which says
    whether a retry can help."""

    def proposed(self) -> tuple[Contribution, ...]:
        """The open pull requests of anybody, and those that were merged of late."""
        ...

    def remarks(self, number: int) -> tuple[Remark, ...]:
        """The comments on one, oldest first; as many as the forge lists in a few pages."""
        ...

    def add(self, number: int, body: str) -> None: ...
    def edit(self, remark: Remark, body: str) -> None: ...
    def remove(self, remark: Remark) -> None:
        """Delete one; no error where it is gone already."""
        ...


class PullRefs(Protocol):
    """Pull requests in git. Raises GitError, and GitUsageError where there is no such thing."""

    def fetch(self, number: int) -> Commit:
        """The head of a pull request, freshly fetched."""
        ...

    def target(self, branch: str) -> Commit:
        """The tip of the branch that pull requests are for, freshly fetched."""
        ...

    def merge_base(self, a: Commit, b: Commit) -> Commit:
        """The commit that two lines of work share."""
        ...

    def before(self, merged: Commit) -> Commit:
        """What the branch was at before a commit: its first parent."""
        ...

    def settle(self, head: Commit, tip: Commit) -> Commit:
        """The commit that is run of a pull request at `head`: its files, with the definition (domain.pulls) of
        the target's `tip`. Made once on the remote, whoever asks, and always the same from then on."""
        ...

    def forget(self, numbers: Collection[int]) -> None:
        """Let go of what was fetched of other pull requests than these."""
        ...
