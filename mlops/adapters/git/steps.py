"""First-parent history as a watcher needs it: what each commit changed, and what no tip holds any more."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Sequence

from mlops.adapters.git.changes import raw_changes
from mlops.adapters.git.repository import Repository
from mlops.adapters.git.stream import Stream
from mlops.domain.source import Commit
from mlops.ports import Step

_BATCH = 256  # commits that are read at once, at most


class FirstParents:
    """Meets `ports.History`."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def line(self, tip: Commit) -> Iterator[Commit]:
        """See `ports.History`."""
        self._repository.commit(tip)
        doing = f"walking from {tip.short}"
        walk = Stream(
            self._repository.git, "rev-list", "--first-parent", tip.sha, "--", doing=doing
        )
        with contextlib.closing(walk):
            for record in walk.records(b"\n"):
                yield Commit(record.decode("ascii"))

    def changed(self, commits: Sequence[Commit]) -> tuple[Step, ...]:
        """See `ports.History`."""
        found: list[Step] = []
        for first in range(0, len(commits), _BATCH):
            found += self._changed([commit.sha for commit in commits[first : first + _BATCH]])
        return tuple(found)

    def _changed(self, shas: Sequence[str]) -> Iterator[Step]:
        objects = self._repository.objects.commits(shas)
        cuts = self._repository.shallow()
        pairs = [
            " ".join((sha, *found.parents[:1]))
            for sha, found in zip(shas, objects, strict=True)
            if sha not in cuts
        ]
        changes = self._changes(pairs)
        for sha, found in zip(shas, objects, strict=True):
            paths = tuple(change.path for change in raw_changes(iter(changes.get(sha, ()))))
            yield Step(Commit(sha), found.message, paths)

    def between(self, old: Commit, new: Commit) -> tuple[str, ...]:
        """See `ports.History`."""
        return tuple(change.path for change in self._repository.changed(old, new))

    def unreached(self, commits: Iterable[Commit], tips: Collection[Commit]) -> frozenset[Commit]:
        """See `ports.History`."""
        wanted = set(commits)
        here = {commit for commit in wanted if self._repository.has(commit)}
        if not here or self._repository.is_shallow():
            return frozenset(wanted - here)
        held = [f"^{tip.sha}" for tip in tips]
        left = self._listed([*(commit.sha for commit in here), *held])
        if left.isdisjoint(commit.sha for commit in here):
            return frozenset(wanted - here)
        # where clocks were wrong, git may have named too many; what tips hold, it lists whole
        reached = self._listed([tip.sha for tip in tips]) if held else set()
        return frozenset(commit for commit in wanted if commit.sha not in reached)

    def _listed(self, lines: Sequence[str]) -> set[str]:
        done = self._repository.git.run(
            "rev-list",
            "--stdin",
            doing="looking for commits that no branch holds any more",
            stdin="".join(f"{line}\n" for line in lines).encode("ascii"),
            timeout=300.0,
        )
        return set(done.text.split())

    def _changes(self, pairs: Sequence[str]) -> dict[str, list[str]]:
        """Commit → the records of what it changed, by `<commit> <first parent>`."""
        found: dict[str, list[str]] = {}
        if not pairs:
            return found
        done = self._repository.git.run(
            "diff-tree",
            "--stdin",
            "--root",
            "-r",
            "--raw",
            "-z",
            "--no-renames",
            "--no-abbrev",
            doing="reading what commits change",
            stdin="".join(f"{pair}\n" for pair in pairs).encode("ascii"),
            timeout=300.0,
        )
        own: list[str] = []
        for record in done.text.split("\0"):
            if len(own) % 2 == 0 and record and not record.startswith(":"):
                own = found.setdefault(record.strip(), [])
            elif record:
                own.append(record)
        return found
