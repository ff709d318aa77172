"""The GitOps branch, and what becomes of a change to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from mlops.domain.source import Commit
from mlops.ports.source import CommitInfo, FileEntry, LineChange


@dataclass(frozen=True, slots=True)
class Published:
    """The change is on the GitOps branch (or was there before, `commit` then names the tip)."""

    commit: Commit


@dataclass(frozen=True, slots=True)
class Proposed:
    """The change waits on `branch` for a pull request; `url` is where a person opens one, empty
    where that is not known; where one is open, its number and its page."""

    branch: str
    commit: Commit
    url: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Proposal:
    """A branch of ours on the remote that waits to be merged: `base` is what its commit was made on, `message`
    the whole one."""

    branch: str
    commit: Commit
    base: Commit
    made: datetime
    message: str


@dataclass(frozen=True, slots=True)
class LostRace:
    """Somebody moved the branch first: decide again on the new tip."""

    tip: Commit | None


class GitOps(Protocol):
    """The GitOps branch: where pins, holds, quarantine and records live, below `path`."""

    path: str

    def refresh(self) -> Commit | None:
        """Fetch, and give the branch's tip; None where the branch does not exist yet."""
        ...

    def tip(self) -> Commit | None:
        """The tip as last fetched."""
        ...

    def publish(
        self,
        base: Commit | None,
        changes: Mapping[str, bytes | None],
        message: str,
        refs: Mapping[str, Commit] = ...,
    ) -> Published | LostRace:
        """One commit on `base` with these files written (None: removed), pushed, with `refs` created
        in the same atomic push. Files that stand already make no commit. Raises GitError where the
        remote refuses for another reason than a lost race."""
        ...

    def propose(
        self,
        base: Commit,
        changes: Mapping[str, bytes | None],
        message: str,
        topic: str,
        refs: Mapping[str, Commit] = ...,
    ) -> Proposed | LostRace:
        """The commit that `publish` would make, on the branch `mlops/<topic>` for a pull request. The
        same proposal again changes nothing; an older one of the topic is replaced."""
        ...

    def proposed(self) -> tuple[Proposal, ...]:
        """What waits on the remote for a pull request, by branch: made by us alone, and not in the branch yet."""
        ...

    def turn(self) -> AbstractContextManager[None]:
        """Wait, not for long, until other processes that share this clone have had their turn."""
        ...

    def diff(self, base: Commit | None, changes: Mapping[str, bytes | None]) -> str:
        """The unified diff that `publish` would commit."""
        ...

    def line(self, tip: Commit, *prefixes: str) -> Iterator[LineChange]:
        """Commits on the line of pushed tips that changed files below any of `prefixes` (none: any
        files), newest first."""
        ...

    def overwritten(self, tip: Commit) -> CommitInfo | None:
        """The newest former tip, as far as this clone has seen any, whose changes below `path` a
        force push took out of the history of `tip`; None where none is known."""
        ...

    def read(self, commit: Commit, path: str) -> bytes | None: ...
    def blob(self, blob: str) -> bytes: ...
    def blobs(self, blobs: Sequence[str]) -> tuple[bytes, ...]:
        """As `blob`, for several at once."""
        ...

    def files(self, commit: Commit, prefix: str = "") -> tuple[FileEntry, ...]: ...
    def directories(self, commit: Commit, path: str) -> tuple[str, ...]:
        """The names of the directories right below `path`, in git's order; none where it is none."""
        ...
