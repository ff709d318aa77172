"""Repositories, read at commits: files, lines of commits, and what pushes bring."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from mlops.domain.source import Commit


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file in a commit: its mode (`100644`, `100755`, `120000`, `160000`) and blob id."""

    path: str
    mode: str
    blob: str


@dataclass(frozen=True, slots=True)
class CommitInfo:
    """A commit on the line: its first-parent order is the caller's; times are aware, in UTC."""

    commit: Commit
    author: str
    committed: datetime
    subject: str
    trailers: tuple[tuple[str, str], ...]

    def trailer(self, key: str) -> str:
        return next((value for name, value in self.trailers if name == key), "")

    def all(self, key: str) -> tuple[str, ...]:
        return tuple(value for name, value in self.trailers if name == key)


@dataclass(frozen=True, slots=True)
class LineChange:
    """A commit of the line that changed files under a prefix: path → (old blob, new blob).

    Blob ids are None where the file is absent on that side. At the line's root, or where a shallow
    clone ends, every old blob is None and `cut` tells the latter.
    """

    info: CommitInfo
    files: Mapping[str, tuple[str | None, str | None]]
    cut: bool = False


@dataclass(frozen=True, slots=True)
class PushedCommit:
    """A commit of a range, the one before it on the way, and the files it leaves changed: mode and
    blob are empty where a file is gone."""

    commit: Commit
    parent: Commit
    files: tuple[FileEntry, ...]


class Ranges(Protocol):
    """The commits that a push brings."""

    def steps(self, base: Commit, head: Commit, prefix: str) -> Iterator[PushedCommit]:
        """The commits of base..head that change files below `prefix`, oldest first. Raises GitError
        where `base` is not an ancestor of `head`."""
        ...

    def passes_by(self, base: Commit, head: Commit, prefix: str) -> bool:
        """Whether the line of pushed tips from `head` leaves out changes that `base` has."""
        ...


class SourceReader(Protocol):
    """Reads the project's repository at commits, from the object store, never the work tree."""

    def resolve(self, rev: str) -> Commit: ...
    def read(self, commit: Commit, path: str) -> bytes | None:
        """A regular file's bytes; None where absent, a symlink or a submodule."""
        ...

    def blob(self, blob: str) -> bytes: ...
    def files(self, commit: Commit, prefix: str = "") -> tuple[FileEntry, ...]: ...
    def source_of(self, commit: Commit, transparent: str) -> Commit:
        """The nearest first-parent ancestor (or itself) that changes anything outside the
        directory `transparent`; `commit` itself where `transparent` is empty."""
        ...

    def is_ancestor(self, ancestor: Commit, descendant: Commit) -> bool: ...
    def ancestors(self, commit: Commit) -> Iterator[Commit]:
        """`commit` and all its ancestors, children before parents."""
        ...

    def between(
        self, old: Commit, new: Commit
    ) -> tuple[tuple[CommitInfo, ...], tuple[CommitInfo, ...]]:
        """The commits that `old` alone is made of, and those that `new` alone is, children before
        parents. Raises GitError where a shallow clone cannot tell."""
        ...

    def info(self, commit: Commit) -> CommitInfo: ...
    def has(self, commit: Commit) -> bool: ...
    def uncommitted(self) -> int:
        """How many files of the work tree differ from HEAD, untracked ones included."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """A commit, its message, and the paths that it changed against its first parent: at a root all of them,
    where a shallow clone ends none."""

    commit: Commit
    message: str
    paths: tuple[str, ...]


class History(Protocol):
    """First-parent history, and what tips hold."""

    def line(self, tip: Commit) -> Iterator[Commit]:
        """`tip` and its first-parent ancestors, newest first; lazily. A shallow clone's end is the end."""
        ...

    def changed(self, commits: Sequence[Commit]) -> tuple[Step, ...]:
        """What several commits changed, each against its first parent, read at once."""
        ...

    def between(self, old: Commit, new: Commit) -> tuple[str, ...]:
        """The paths that differ between two commits."""
        ...

    def unreached(self, commits: Iterable[Commit], tips: Collection[Commit]) -> frozenset[Commit]:
        """Those that are in the history of none of `tips`, or not here. A shallow clone cannot tell, and names
        only the latter."""
        ...
