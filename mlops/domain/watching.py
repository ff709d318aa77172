"""What a watcher sees and decides: tips, what was decided of each, and the decisions that wait to be carried out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from mlops.domain.source import Commit

HEADS = "refs/heads/"
TAGS = "refs/tags/"
SKIP = ("[skip ci]", "[ci skip]", "[skip tkn]", "[tkn skip]")
_OURS = "mlops/"  # the tags that releases leave, and the branches of our own proposals


@dataclass(frozen=True, slots=True, order=True)
class Tip:
    """Where a ref stands: its full name (`refs/heads/main`, `refs/tags/v1`), and the commit, an annotated
    tag's too."""

    ref: str
    commit: Commit

    @property
    def name(self) -> str:
        """`main`, or `tag v1`: for people."""
        if self.ref.startswith(TAGS):
            return f"tag {self.ref.removeprefix(TAGS)}"
        return self.ref.removeprefix(HEADS)

    @property
    def branch(self) -> bool:
        return self.ref.startswith(HEADS)


@dataclass(frozen=True, slots=True)
class Tracked:
    """Which refs are watched: shell globs of branches and of tags. What `mlops` itself pushes is never
    watched: the tags `mlops/…` of releases, the branches `mlops/…` of proposals."""

    branches: tuple[str, ...]
    tags: tuple[str, ...] = ()

    def covers(self, ref: str) -> bool:
        for before, patterns in ((HEADS, self.branches), (TAGS, self.tags)):
            name = ref.removeprefix(before)
            if name != ref:
                return not name.startswith(_OURS) and _matches(name, patterns)
        return False


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class WatchConfig:
    """`watch` of mlops.yaml: `each` is `push` or `commit`, `concurrency` is `queue` or `cancel-superseded`, `runs`
    how many there are at once, `skip` the marks in a message (whatever their case) that ask for no run."""

    each: str = "push"
    concurrency: str = "queue"
    runs: int = 1
    skip: tuple[str, ...] = SKIP

    def mark(self, message: str) -> str:
        """The mark that a commit's message has; empty where it has none."""
        folded = message.casefold()
        return next((mark for mark in self.skip if mark.casefold() in folded), "")


@dataclass(frozen=True, slots=True)
class Choice:
    """What was decided of one commit for one model.

    `state` is the claim's: `queued`, `claimed`, `submitted`, or its outcome (`succeeded`, `failed`,
    `nothing`, …); `skipped` where no run is made, and `run` is then empty where git alone says so. `fresh`
    tells that this look decided it; `release` is what a run that succeeded made.
    """

    model: str
    source: Commit
    run: str
    state: str
    why: str
    fresh: bool
    release: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """One observed tip, and what was decided of it for each model, oldest commit first; `trouble` says why
    nothing could be decided, and is else empty."""

    tip: Tip
    choices: tuple[Choice, ...]
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A decision that nobody carries out: queued, or left behind by somebody who died or failed.

    `tip` is where the ref stood when it was decided (with an empty ref: `mlops run` was asked for it);
    `since` is when, and `due` when the next attempt may be made (None: now).
    """

    run: str
    model: str
    source: Commit
    tip: Tip
    since: datetime
    due: datetime | None = None
