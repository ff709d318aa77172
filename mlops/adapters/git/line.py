"""The line of pushed tips: the commits that the GitOps branch has pointed at.

A colleague's `git pull` without rebase makes a merge whose first parent is their own commit, and
plain first-parent history would lose the pins beneath. At a merge the line goes on at the parent
that alone brings pin commits (those with an `Mlops-Action` trailer), else at the first.
"""

from __future__ import annotations

import contextlib
import heapq
import sys
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from mlops.adapters.git import walked
from mlops.adapters.git.changes import PathChange, pathspec, raw_changes
from mlops.adapters.git.commits import REGULAR
from mlops.adapters.git.repository import Repository
from mlops.adapters.git.stream import Stream
from mlops.adapters.git.walked import Seen, Walked
from mlops.domain.source import Commit
from mlops.ports import LineChange

ACTION = "mlops-action"
_BATCH = 128  # commits
_LONG = 2000  # commits that a walk passes, from which on it is worth keeping
_BUFFERED = {"GIT_FLUSH": "0"}  # git(1): else each commit is written on its own


@dataclass(frozen=True, slots=True)
class _Node:
    parents: tuple[str, ...]
    when: int
    pinned: bool


@dataclass(frozen=True, slots=True)
class _Stop:
    """A commit of a linear stretch, and what it changed below the prefixes against its first parent."""

    sha: str
    parents: tuple[str, ...]
    changes: tuple[PathChange, ...]


class Line:
    """Walks one line; a git process for each linear stretch, and one where a merge leaves it."""

    def __init__(self, repository: Repository, *prefixes: str) -> None:
        """`prefixes` are the directories and files that are looked at; none are the whole tree."""
        self._repository = repository
        self._prefixes = prefixes
        self._cuts = repository.shallow()
        self._nodes: dict[str, _Node] = {}
        self._file = walked.path(repository.common_dir, prefixes)
        self._passed = 0  # commits that this walk has passed
        self._next: str | None = None  # the commit after the last one given, where that is known

    def walk(self, tip: Commit) -> Generator[LineChange]:
        """The changes on the line from `tip`, newest first, as `ports.GitOps.line` describes them.

        Where a shallow clone ends, the last change has `cut` set, and every file below the prefixes,
        possibly none, stands in it as new.
        """
        # commits are read some at a time: few while few are asked for, more with each batch
        size = 1
        waiting: list[Seen] = []
        for seen in self._kept(tip):
            waiting.append(seen)
            if len(waiting) >= size:
                yield from self._told(waiting)
                waiting, size = [], min(2 * size, _BATCH)
        yield from self._told(waiting)

    def _kept(self, tip: Commit) -> Iterator[Seen]:
        """The walk, which goes on as the last one did once it comes to where that began, and is kept
        for the next where it was long, as far as it is read."""
        last = None if self._cuts else walked.load(self._file, self._prefixes)
        passed: list[Seen] = []
        ended = False
        try:
            for seen in self._walk(tip, last):
                passed.append(seen)
                yield seen
            ended = True
        finally:
            rest = None if ended else self._next
            worth = self._passed >= _LONG and not self._cuts and not sys.is_finalizing()
            if worth and (ended or rest is not None):
                walked.save(self._file, self._prefixes, Walked(tip.sha, tuple(passed), rest))

    def _told(self, seen: Sequence[Seen]) -> Iterator[LineChange]:
        commits = self._repository.objects.commits([each.sha for each in seen])
        for each, commit in zip(seen, commits, strict=True):
            yield LineChange(commit.info(each.sha), each.files, each.sha in self._cuts)

    def _walk(self, tip: Commit, last: Walked | None) -> Iterator[Seen]:
        start: str | None = tip.sha
        known = last.tip if last else ""
        while start is not None:
            stretch = self._stretch(start, known)
            start = None
            with contextlib.closing(stretch):
                for stop in stretch:
                    if last is not None and stop.sha == known:
                        self._next = None
                        yield from last.seen
                        start, known, last = last.rest, "", None
                        break
                    parent = self.followed(stop.parents)
                    changes = stop.changes
                    if parent is not None and parent != stop.parents[0]:
                        start = parent
                        changes = self._repository.changed(
                            Commit(parent), Commit(stop.sha), *self._prefixes
                        )
                    seen = self._seen(stop.sha, changes)
                    if seen is not None:
                        self._next = parent
                        yield seen
                    if start is not None:
                        break

    def _seen(self, sha: str, changes: tuple[PathChange, ...]) -> Seen | None:
        files = {}
        for change in changes:  # a link or a submodule is no file to read
            old = change.old if change.old_mode in REGULAR else None
            new = change.new if change.mode in REGULAR else None
            if old is not None or new is not None:
                files[change.path] = (old, new)
        return Seen(sha, files) if files or sha in self._cuts else None

    def _stretch(self, start: str, known: str) -> Generator[_Stop]:
        """First-parent history. `--sparse` and `--full-history`: a merge that left the prefixes as
        they were must be seen too. (`--parents` would print no more than those, but it looks into
        side branches, and where clocks differ their commits come between.) A commit that has one
        parent and changed nothing makes no stop, unless it is `known`, or history may be cut off there.
        """
        stream = Stream(
            self._repository.git,
            "log",
            "-z",
            "--first-parent",
            "--sparse",
            "--full-history",
            "--diff-merges=first-parent",
            "--raw",
            "--no-renames",
            "--no-abbrev",
            "--no-decorate",
            "--no-notes",
            "--format=commit %H %P",
            start,
            "--",
            *(part for prefix in self._prefixes for part in pathspec(prefix)),
            doing=f"reading the history of {' '.join(self._prefixes) or 'the branch'}",
            env=_BUFFERED,
        )
        plain = len("commit ") + 2 * len(start) + 1  # bytes of the head of a commit with one parent
        wanted = f"commit {known or 'none'}".encode("ascii")
        with contextlib.closing(stream):
            head = b""
            raw: list[bytes] = []
            for record in stream.records():
                if record.startswith(b"commit ") and len(raw) % 2 == 0:
                    self._passed += 1
                    if raw or len(head) > plain or (head and self._cuts) or head.startswith(wanted):
                        yield _stop(head, raw)
                    head, raw = record, []
                elif record:
                    raw.append(record)
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
            parents = () if sha in self._cuts else commit.parents
            node = self._nodes[sha] = _Node(parents, commit.when, pinned)
        return node


def _stop(head: bytes, raw: list[bytes]) -> _Stop:
    _, sha, *parents = head.decode("ascii").split()
    records = (record.decode("utf-8", "surrogateescape") for record in raw)
    return _Stop(sha, tuple(parents), tuple(raw_changes(records)))
