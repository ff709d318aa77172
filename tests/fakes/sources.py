"""A project's commits in memory: one line, oldest first. Meets what use cases on pins ask of
`ports.SourceReader`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mlops.domain.source import Commit
from mlops.ports import CommitInfo, FileEntry
from tests.fakes.estate import source
from tests.fakes.gitops import START


@dataclass
class MemorySources:
    """`names` are the commits, oldest first, as `estate.source` names them."""

    names: Sequence[str] = ()
    contents: Mapping[tuple[str, str], bytes] = field(default_factory=dict)

    @property
    def _line(self) -> list[Commit]:
        return [source(name) for name in self.names]

    def has(self, commit: Commit) -> bool:
        return commit in self._line

    def is_ancestor(self, ancestor: Commit, descendant: Commit) -> bool:
        line = self._line
        return line.index(ancestor) <= line.index(descendant)

    def ancestors(self, commit: Commit) -> Iterator[Commit]:
        line = self._line
        yield from reversed(line[: line.index(commit) + 1])

    def between(
        self, old: Commit, new: Commit
    ) -> tuple[tuple[CommitInfo, ...], tuple[CommitInfo, ...]]:
        def only(one: Commit, other: Commit) -> tuple[CommitInfo, ...]:
            theirs = set(self.ancestors(other))
            return tuple(self.info(each) for each in self.ancestors(one) if each not in theirs)

        return only(old, new), only(new, old)

    def info(self, commit: Commit) -> CommitInfo:
        name = self.names[self._line.index(commit)]
        return CommitInfo(commit, "Ada <ada@example.com>", START, f"change {name}", ())

    def read(self, commit: Commit, path: str) -> bytes | None:
        return self.contents.get((self.names[self._line.index(commit)], path))

    def resolve(self, rev: str) -> Commit:
        return Commit.parse(rev)

    def blob(self, blob: str) -> bytes:
        raise KeyError(blob)

    def files(self, commit: Commit, prefix: str = "") -> tuple[FileEntry, ...]:
        return ()

    def source_of(self, commit: Commit, transparent: str) -> Commit:
        return commit

    def uncommitted(self) -> int:
        return 0
