"""How every change reaches the GitOps branch: decided on a fresh tip, pushed, decided again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar, assert_never

from mlops.domain.message import ACTION, ACTOR, ENVIRONMENT, compose
from mlops.domain.project import Project
from mlops.domain.source import Commit
from mlops.engine.state import Environments
from mlops.errors import GitError
from mlops.ports import Clock, GitOps, LostRace, Published

Note = Callable[[str], None]
T = TypeVar("T")

TRIES = 8
_FIRST_PAUSE = 0.05  # seconds
_LONGEST_PAUSE = 2.0


def silent(_text: str) -> None:
    """Hear nothing."""


@dataclass(frozen=True, slots=True)
class Change:
    """The files of one commit (None: removed), and its message."""

    files: Mapping[str, bytes | None]
    message: str


@dataclass(frozen=True, slots=True)
class Settled(Generic[T]):
    """A decision that stands. `commit` is None where nothing was to be changed, or with a dry
    run; `diff` is what a dry run would have changed."""

    decision: T
    commit: Commit | None = None
    diff: str = ""


@dataclass(frozen=True, slots=True)
class Publisher:
    """The GitOps branch as use cases see it; `actor` is who acts, `note` hears the story."""

    gitops: GitOps
    project: Project
    actor: str
    now: Clock
    note: Note = silent
    pause: Callable[[float], None] = field(default=time.sleep)

    def environments(self, *, fetch: bool = True) -> Environments:
        """The environments at the branch's tip. Where the fetch fails, as they were fetched last,
        with a note that says so."""
        tip = self.gitops.tip()
        if fetch:
            try:
                tip = self.gitops.refresh()
            except GitError as exc:
                if tip is None:
                    raise
                self.note(f"could not fetch, this is what was fetched last: {exc}")
        return Environments.load(self.gitops, tip, self.project, self.now(), self.note)

    def settle(
        self, decide: Callable[[Environments], tuple[T, Change | None]], *, dry_run: bool = False
    ) -> Settled[T]:
        """Decide on a freshly fetched tip and push; where somebody was faster, decide again.

        Whatever `decide` raises ends it. Raises GitError after eight lost races.
        """
        tip = self.gitops.refresh()
        for attempt in range(TRIES):
            environments = Environments.load(self.gitops, tip, self.project, self.now(), self.note)
            decision, change = decide(environments)
            if change is None:
                return Settled(decision)
            if dry_run:
                return Settled(decision, diff=self.gitops.diff(tip, change.files))
            match self.gitops.publish(tip, change.files, change.message):
                case Published(commit):
                    return Settled(decision, commit)
                case LostRace():
                    self.pause(_backoff(attempt))
                    tip = self.gitops.refresh()
                case other:
                    assert_never(other)
        raise GitError(
            f"somebody else was faster {TRIES} times in a row: nothing was changed",
            hint="Run the command again",
            retryable=True,
        )

    def message(
        self,
        subject: str,
        action: str,
        trailers: Iterable[tuple[str, str]],
        *environments: str,
        body: str = "",
    ) -> str:
        """A commit message of ours with the trailers that every one carries."""
        named = [(ENVIRONMENT, name) for name in environments]
        always = [(ACTION, action), *named, (ACTOR, self.actor)]
        return compose(subject, [*always, *trailers], body)


def _backoff(attempt: int) -> float:
    longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0**attempt)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads rivals, guards nothing
