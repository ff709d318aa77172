"""The line of pushed tips: the commits that the GitOps branch has pointed at.

A colleague's `git pull` without rebase makes a merge whose first parent is their own commit, and
plain first-parent history would lose the pins beneath. At a merge the line goes on at the parent
that alone brings pin commits (those with an `Mlops-Action` trailer), else at the first.
"""

from __future__ import annotations

import contextlib
import heapq
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from mlops.adapters.git.changes import PathChange, pathspec, raw_changes
from mlops.adapters.git.commits import REGULAR, CommitObject, parse_commit
from mlops.adapters.git.repository import Repository
from mlops.adapters.git.stream import Stream
from mlops.domain.source import Commit
from mlops.ports import LineChange

ACTION = "mlops-action"


@dataclass(frozen=True, slots=True)
class _Node:
    parents: tuple[str, ...]
    when: int
    pinned: bool


@dataclass(frozen=True, slots=True)
class _Stop:
    """A commit of a linear stretch, and what it changed below the prefixes against its first parent."""

    sha: str
    commit: CommitObject
    changes: tuple[PathChange, ...]


class Line:
    """Walks one line; a git process for each linear stretch, and one where a merge leaves it."""

    def __init__(self, repository: Repository, *prefixes: str) -> None:
        """`prefixes` are the directories and files that are looked at; none are the whole tree."""
        self._repository = repository
        self._prefixes = prefixes
        self._cuts = repository.shallow()
        self._nodes: dict[str, _Node] = {}

    def walk(self, tip: Commit) -> Iterator[LineChange]:
        """The changes on the line from `tip`, newest first, as `ports.GitOps.line` describes them.

        Where a shallow clone ends, the last change has `cut` set, and every file below the prefixes,
        possibly none, stands in it as new.
        """
        at = tip.sha
        start: str | None = at
        last = ""
        while start is not None:
            at, start = start, None
            stretch = self._stretch(at)
            with contextlib.closing(stretch):
                for stop in stretch:
                    last = stop.sha
                    parents = self._real_parents(stop.sha, stop.commit)
                    parent = self.followed(parents)
                    changes = stop.changes
                    if parent is not None and parent != parents[0]:
                        start = parent
                        changes = self._repository.changed(
                            Commit(parent), Commit(stop.sha), *self._prefixes
                        )
                    change = self._change(stop, changes)
                    if change is not None:
                        yield change
                    if start is not None:
                        break
        if self._cuts:
            yield from self._end(at, last)

    def _end(self, start: str, last: str) -> Iterator[LineChange]:
        """Where a shallow clone ends below `start`, if no commit that was told is that end."""
        roots = self._repository.git.text(
            "rev-list",
            "--first-parent",
            "--max-parents=0",
            start,
            "--",
            doing="looking where the history is cut off",
        )
        for sha in roots.split():
            if sha in self._cuts and sha != last:
                yield LineChange(self._repository.info(Commit(sha)), {}, cut=True)

    def _change(self, stop: _Stop, changes: tuple[PathChange, ...]) -> LineChange | None:
        files = {}
        for change in changes:  # a link or a submodule is no file to read
            old = change.old if change.old_mode in REGULAR else None
            new = change.new if change.mode in REGULAR else None
            if old is not None or new is not None:
                files[change.path] = (old, new)
        cut = stop.sha in self._cuts
        if not files and not cut:
            return None
        return LineChange(stop.commit.info(stop.sha), files, cut)

    def _stretch(self, start: str) -> Generator[_Stop]:
        """First-parent history: commits that changed something, and every merge: one that left the
        prefixes as they were may be where the line turns. `--parents` is what brings those, and reads
        ahead by the clock: `--topo-order` keeps the order of the line where clocks are wrong."""
        stream = Stream(
            self._repository.git,
            "log",
            "-z",
            "--first-parent",
            "--full-history",
            "--parents",
            "--topo-order",
            "--diff-merges=first-parent",
            "--raw",
            "--no-renames",
            "--no-abbrev",
            "--no-decorate",
            "--no-notes",
            "--pretty=raw",
            start,
            "--",
            *(part for prefix in self._prefixes for part in pathspec(prefix)),
            doing=f"reading the history of {' '.join(self._prefixes) or 'the branch'}",
        )
        with contextlib.closing(stream):
            head = b""
            raw: list[str] = []
            for record in stream.records():
                if record.startswith(b"commit ") and len(raw) % 2 == 0:
                    if head:
                        yield _stop(head, raw)
                    # the message is indented: a colon at a line's start begins the changes
                    head, colon, first = record.partition(b"\n:")
                    raw = [os.fsdecode(colon + first)] if colon else []
                elif record:
                    raw.append(os.fsdecode(record))
            if head:
                yield _stop(head, raw)

    def followed(self, parents: tuple[str, ...]) -> str | None:
        """Where the line goes on; None at a root."""
        if len(parents) < 2:
            return parents[0] if parents else None
        painted = self._pins_of_one(parents)
        if not any(painted[1:]):
            return parents[0]
        for parent, pins in zip(parents, painted, strict=True):
            if pins and not pins.isdisjoint(self._only_from(parent, parents)):
                return parent
        return parents[0]

    def _pins_of_one(self, parents: tuple[str, ...]) -> list[set[str]]:
        """For each parent, the pin commits that are reached from it and no other.

        Paints down from all parents at once, youngest first, until everything left is reached from
        all: only what lies between them is read, whatever the length of the history. Never misses
        one; where clocks were wrong, it may name one too many.
        """
        full = (1 << len(parents)) - 1
        marks: dict[str, int] = {}
        queue: list[tuple[int, str]] = []
        queued: set[str] = set()

        def mark(sha: str, bits: int) -> None:
            if marks.get(sha, 0) | bits != marks.get(sha, 0):
                marks[sha] = marks.get(sha, 0) | bits
                if sha not in queued:
                    queued.add(sha)
                    heapq.heappush(queue, (-self._node(sha).when, sha))
                if marks[sha] == full:
                    unsettled.discard(sha)
                else:
                    unsettled.add(sha)

        unsettled: set[str] = set()
        for index, parent in enumerate(parents):
            mark(parent, 1 << index)
        while unsettled:
            _, sha = heapq.heappop(queue)
            queued.discard(sha)
            unsettled.discard(sha)
            for parent in self._node(sha).parents:
                mark(parent, marks[sha])
        found: list[set[str]] = [set() for _ in parents]
        for sha, bits in marks.items():
            if bits.bit_count() == 1 and self._node(sha).pinned:
                found[bits.bit_length() - 1].add(sha)
        return found

    def _only_from(self, parent: str, parents: tuple[str, ...]) -> set[str]:
        """Git's own answer to what is reached from `parent` alone."""
        others = [f"^{other}" for other in parents if other != parent]
        listed = self._repository.git.text(
            "rev-list", parent, *others, "--", doing="reading what a merge brought"
        )
        return set(listed.split())

    def _node(self, sha: str) -> _Node:
        node = self._nodes.get(sha)
        if node is None:
            commit = self._repository.commit(Commit(sha))
            pinned = any(key.lower() == ACTION for key, _ in commit.trailers)
            parents = self._real_parents(sha, commit)
            node = self._nodes[sha] = _Node(parents, commit.when, pinned)
        return node

    def _real_parents(self, sha: str, commit: CommitObject) -> tuple[str, ...]:
        return () if sha in self._cuts else commit.parents


def _stop(head: bytes, raw: list[str]) -> _Stop:
    """A commit as `git log --pretty=raw` prints it (git-log(1), PRETTY FORMATS)."""
    first, _, rest = head.partition(b"\n")
    sha = first.split(b" ")[1].decode("ascii")
    headers, _, message = rest.partition(b"\n\n")
    body = b"\n".join(line[4:] for line in message.split(b"\n"))
    commit = parse_commit(sha, headers + b"\n\n" + body)
    return _Stop(sha, commit, tuple(raw_changes(iter(raw))))
