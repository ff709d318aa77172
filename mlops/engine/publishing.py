"""How every change reaches the GitOps branch: decided on a fresh tip, pushed, decided again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Generic, TypeVar, assert_never

from mlops.domain.message import ACTION, ACTOR, ENVIRONMENT, compose
from mlops.domain.project import Project
from mlops.domain.source import Commit
from mlops.engine.state import Environments
from mlops.errors import GitError
from mlops.ports import Clock, GitOps, LostRace, Proposed, Published

Note = Callable[[str], None]
T = TypeVar("T")

TRIES = 60
PATIENCE = 60.0  # seconds after which nothing is tried again
_FIRST_PAUSE = 0.05  # seconds
_LONGEST_PAUSE = 2.0


def silent(_text: str) -> None:
    """Hear nothing."""


@dataclass(frozen=True, slots=True)
class Change:
    """The files of one commit (None: removed), and its message.

    `topic` names what the change is about, as parts of a branch (`promote`, `prod`, `spam`): in
    pull-request mode it is proposed there. `urgent` changes go the way of rollbacks."""

    files: Mapping[str, bytes | None]
    message: str
    topic: tuple[str, ...] = ()
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Settled(Generic[T]):
    """A decision that stands. `commit` is None where nothing was to be changed, with a dry run, and
    where the change is only `proposed`; `diff` is what a dry run would have changed."""

    decision: T
    commit: Commit | None = None
    diff: str = ""
    proposed: Proposed | None = None


@dataclass(frozen=True, slots=True)
class Publisher:
    """The GitOps branch as use cases see it; `actor` is who acts, `note` hears what is to be minded, and
    `say` the story."""

    gitops: GitOps
    project: Project
    actor: str
    now: Clock
    note: Note = silent
    pause: Callable[[float], None] = field(default=time.sleep)
    say: Note = silent

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

        In pull-request mode the change is pushed to a branch of its own. Whatever `decide` raises ends
        it. Raises GitError after a minute of lost races.
        """
        latest = time.monotonic() + PATIENCE
        try:
            tip = self.gitops.refresh()
        except GitError as exc:
            said = f"nothing was changed: {exc.message}"
            raise GitError(said, hint=exc.hint, retryable=exc.retryable) from exc
        for attempt in range(TRIES):
            with self.gitops.turn() if attempt else nullcontext():
                if attempt:
                    tip = self.gitops.refresh()
                environments = Environments.load(
                    self.gitops, tip, self.project, self.now(), self.note
                )
                decision, change = decide(environments)
                if change is None:
                    return Settled(decision)
                if dry_run:
                    return Settled(decision, diff=self.gitops.diff(tip, change.files))
                match self._pushed(environments.tip, change):
                    case Published(commit):
                        return Settled(decision, commit)
                    case Proposed() as proposed:
                        return Settled(decision, proposed=proposed)
                    case LostRace():
                        pass
                    case other:
                        assert_never(other)
            if time.monotonic() > latest:
                break
            self.pause(_backoff(attempt))
        raise GitError(
            "somebody else was faster again and again: nothing was changed",
            hint="Run the command again",
            retryable=True,
        )

    def _pushed(self, tip: Commit, change: Change) -> Published | Proposed | LostRace:
        config = self.project.gitops
        way = config.rollback if change.urgent else config.mode
        if way == "pull-request" and change.topic:
            topic = "/".join(change.topic)
            return self.gitops.propose(tip, change.files, change.message, topic)
        return self.gitops.publish(tip, change.files, change.message)

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


def topic(action: str, environments: Iterable[str], models: Iterable[str]) -> tuple[str, ...]:
    """What a change is about, as parts of a branch's name; several of a kind are joined by `+`."""
    parts = (action, "+".join(dict.fromkeys(environments)), "+".join(dict.fromkeys(models)))
    return tuple(part for part in parts if part)


def _backoff(attempt: int) -> float:
    """Seconds to wait: anything up to a doubling, capped bound, so that rivals spread."""
    longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(attempt, 10))
    return random.uniform(0.0, longest)  # noqa: S311 - guards nothing
