"""What a push brings: the commits from the tip that was to the tip that shall be, one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from mlops.adapters.git.changes import PathChange, pathspec, raw_changes
from mlops.adapters.git.line import Line
from mlops.adapters.git.repository import Repository
from mlops.domain.source import Commit
from mlops.errors import GitError
from mlops.ports import FileEntry, PushedCommit

_Parents = Mapping[str, tuple[str, ...]]


class Ranges:
    """Meets `ports.Ranges`: three git processes for a range, however long."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def steps(self, base: Commit, head: Commit, prefix: str) -> Iterator[PushedCommit]:
        """The commits of base..head, oldest first, each with what it changed below `prefix` against
        the one before it on the way from `base`. Those that changed nothing there are left out.

        At a merge the way leads through the parent that comes from `base`: what else it brings is the
        merge's own change, so that no branch that was cut before a hold smuggles the old pin in. Where
        several come from `base`, it leads through the one that holds the others (a branch that was up
        to date is looked at commit by commit), else along the line of pushed tips. Raises GitError
        where `base` is not an ancestor of `head`, or not here.
        """
        way = self._way(base, head, prefix)
        changes = self._changes(way, prefix)
        for parent, commit in pairwise(way):
            found = changes.get(commit)
            if found:
                files = tuple(_file(change) for change in found)
                yield PushedCommit(Commit(commit), Commit(parent), files)

    def passes_by(self, base: Commit, head: Commit, prefix: str) -> bool:
        """Whether the line of pushed tips from `head` leaves out `base` and changes below `prefix`
        that only `base` has, so that history would no longer tell them."""
        parents = self._parents(base, head)
        line = Line(self._repository, prefix)
        at: str | None = head.sha
        while at is not None and at != base.sha:
            if at not in parents:
                return bool(self._only(base.sha, at, prefix))
            at = line.followed(parents[at])
        return at is None

    def _only(self, base: str, other: str, prefix: str) -> str:
        return self._repository.git.text(
            "rev-list",
            "--max-count=1",
            base,
            f"^{other}",
            "--",
            *pathspec(prefix),
            doing="comparing with the line of pushed tips",
        )

    def _parents(self, base: Commit, head: Commit) -> dict[str, tuple[str, ...]]:
        """Each commit between the two → its parents."""
        text = self._repository.git.text(
            "rev-list",
            "--parents",
            "--topo-order",
            "--ancestry-path",
            head.sha,
            f"^{base.sha}",
            "--",
            doing=f"reading {base.short}..{head.short}",
        )
        rows = (line.split(" ") for line in text.splitlines())
        return {row[0]: tuple(row[1:]) for row in rows}

    def _way(self, base: Commit, head: Commit, prefix: str) -> list[str]:
        """From `base` to `head`, both included."""
        parents = self._parents(base, head)
        ages = {sha: age for age, sha in enumerate((*parents, base.sha))}  # children before parents
        line = Line(self._repository, prefix)
        way = [head.sha]
        while way[-1] != base.sha:
            at = way[-1]
            candidates = [p for p in parents.get(at, ()) if p in ages]
            if not candidates:
                raise GitError(
                    f"{base.short} is not an ancestor of {head.short}",
                    hint="Bring your branch up to date: git pull --rebase",
                )
            if len(candidates) > 1:
                candidates = _latest(candidates, parents, ages)
            if len(candidates) > 1:
                followed = line.followed(parents[at])
                candidates = [p for p in candidates if p == followed] or candidates
            way.append(candidates[0])
        return way[::-1]

    def _changes(self, way: list[str], prefix: str) -> dict[str, tuple[PathChange, ...]]:
        """Commit → what it changed against the commit before it on the way."""
        pairs = "".join(f"{commit} {parent}\n" for parent, commit in pairwise(way))
        done = self._repository.git.run(
            "diff-tree",
            "--stdin",
            "-r",
            "--raw",
            "-z",
            "--no-renames",
            "--no-abbrev",
            "--",
            *pathspec(prefix),
            doing="reading what the commits change",
            stdin=pairs.encode("ascii"),
            timeout=300.0,
        )
        found: dict[str, list[str]] = {}
        own: list[str] = []
        for record in done.stdout.decode("utf-8", "surrogateescape").split("\0"):
            if len(own) % 2 == 0 and record and not record.startswith(":"):
                own = found.setdefault(record.strip(), [])
            elif record:
                own.append(record)
        return {sha: tuple(raw_changes(iter(raw))) for sha, raw in found.items()}


def _latest(candidates: list[str], parents: _Parents, ages: Mapping[str, int]) -> list[str]:
    """Those that are no ancestor of another one."""
    return [
        each
        for each in candidates
        if not any(each != other and _reaches(other, each, parents, ages) for other in candidates)
    ]


def _reaches(start: str, goal: str, parents: _Parents, ages: Mapping[str, int]) -> bool:
    """Whether `goal` is an ancestor of `start`; looks at nothing older than it."""
    seen = {start}
    waiting = [start]
    while waiting:
        for parent in parents.get(waiting.pop(), ()):
            if parent == goal:
                return True
            if parent not in seen and ages.get(parent, len(ages)) < ages[goal]:
                seen.add(parent)
                waiting.append(parent)
    return False


def _file(change: PathChange) -> FileEntry:
    """The file as it is after the commit; mode and blob are empty where it is gone."""
    return FileEntry(change.path, change.mode, change.new or "")
