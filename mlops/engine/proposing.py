"""Pull requests for what waits on branches of ours: one for each, updated in place, closed once it is overtaken.

What there should be is read from git alone, so that it does not matter who proposed it, nor when: a pull request
that could not be opened is opened at the next look.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mlops.config.environment import parse_holds
from mlops.domain.digest import Digest
from mlops.domain.environment import Hold
from mlops.domain.forge import PullRequest, shortened
from mlops.domain.message import ACTOR
from mlops.domain.source import Commit
from mlops.domain.trigger import of_upkeep
from mlops.engine.hold import EVERY
from mlops.errors import MlopsError
from mlops.manifests import kustomization
from mlops.ports import GitOps, Proposal
from mlops.ports.forge import Forge

PREFIX = "mlops/"
_CLOSED = (
    "Closed by mlops: "  # begins the line of a body; who reads it knows that no person said no
)
_MOVES = ("promote", "run")  # what a newer change of the same pins overtakes
_OVERTAKES = ("promote", "run", "rollback")
_LONGEST_TITLE, _LONGEST_BODY = 200, 20_000  # characters
_MOST_ASKED = 5  # times that a forge is asked to merge the same commit
_FENCE = re.compile(r"`{3,}")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Offer:
    """A pull request that there should be; `overtaken` is why there should be none any more. `worded`: its title
    alone does not tell it from another one of the branch."""

    branch: str
    commit: Commit
    title: str
    body: str
    overtaken: str = ""
    worded: bool = False


@dataclass(slots=True)
class Brought:
    """What is known of pull requests; it may be lost: then the forge is asked again."""

    pulls: dict[str, PullRequest] = field(default_factory=dict)  # branch → the open one
    left: dict[tuple[str, str], str] = field(
        default_factory=dict
    )  # branch, commit → why there is none
    asked: dict[tuple[int, str], int] = field(default_factory=dict)  # number, commit → times


def offers(gitops: GitOps, *, upkeep: bool = False) -> tuple[Offer, ...]:
    """What waits on the remote for the branch that `gitops` is: of pins, or of `upkeep`, which may be for another
    branch of the same repository. Raises GitError."""
    tip = gitops.refresh()
    waiting = gitops.proposed()
    found = [each for each in waiting if of_upkeep(each.branch.removeprefix(PREFIX)) is upkeep]
    return tuple(
        Offer(
            each.branch,
            each.commit,
            _title(each.message),
            _body(each.message),
            _overtaken(each, found, gitops, tip),
            worded=upkeep,
        )
        for each in found
    )


@dataclass(frozen=True, slots=True)
class Proposer:
    """Brings the pull requests of a forge in line with what waits. `into` is the branch that they are to be merged
    into; with `auto_merge` the forge is asked to do that once it may."""

    forge: Forge
    into: str
    brought: Brought
    say: Say
    auto_merge: bool = False

    def bring(self, wanted: Iterable[Offer]) -> None:
        """Open, update, close. Raises ForgeError, at the first that fails."""
        there = {pull.branch: pull for pull in self.forge.pulls() if self._ours(pull)}
        self.brought.pulls = {}
        for offer in wanted:
            pull = there.get(offer.branch)
            if offer.overtaken:
                self._close(pull, offer)
                continue
            pull = self._updated(pull, offer) if pull is not None else self._opened(offer)
            if pull is None:
                continue
            self.brought.pulls[offer.branch] = pull
            if self.auto_merge:
                self._let_merge(pull, offer)

    def _ours(self, pull: PullRequest) -> bool:
        return pull.into == self.into and pull.branch.startswith(PREFIX)

    def _updated(self, pull: PullRequest, offer: Offer) -> PullRequest:
        if (pull.title, _same(pull.body)) == (offer.title, _same(offer.body)):
            return pull
        self.say(f"pull request #{pull.number} is updated: {offer.title}")
        return self.forge.edit_pull(pull, offer.title, offer.body)

    def _opened(self, offer: Offer) -> PullRequest | None:
        """A new one; None where there was one for the same that somebody merged, or closed."""
        key = (offer.branch, offer.commit.sha)
        if key in self.brought.left:
            return None
        why = self._settled(offer)
        if why:
            self.brought.left[key] = why
            self.say(why)
            return None
        pull = self.forge.open_pull(offer.branch, self.into, offer.title, offer.body)
        self.say(f"pull request #{pull.number} is open: {pull.url}")
        return pull

    def _settled(self, offer: Offer) -> str:
        """Why no pull request is opened; empty where one is."""
        for past in self.forge.pulls(offer.branch):
            if past.into != self.into:
                continue
            if past.state == "merged" and past.head == offer.commit.sha:
                return f"pull request #{past.number} was merged: {past.url}"
            if past.state == "closed" and _CLOSED not in past.body and _proposed(past, offer):
                return f"pull request #{past.number} was closed, and is left so: {past.url}"
        return ""

    def _close(self, pull: PullRequest | None, offer: Offer) -> None:
        if pull is None:
            return
        body = f"{offer.body}\n\n{_CLOSED}{offer.overtaken}"
        self.forge.close_pull(self.forge.edit_pull(pull, pull.title, body))
        self.say(f"pull request #{pull.number} is closed: {offer.overtaken}")

    def _let_merge(self, pull: PullRequest, offer: Offer) -> None:
        """Ask the forge once where it agrees, some times where it does not: it may still be looking at the
        branch."""
        key = (pull.number, offer.commit.sha)
        times = self.brought.asked.get(key, 0)
        if pull.waits or times >= _MOST_ASKED or pull.head != offer.commit.sha:
            return
        why = self.forge.let_merge(pull)
        self.brought.asked[key] = times + 1 if why else _MOST_ASKED
        if why and not times:
            self.say(f"the forge does not merge pull request #{pull.number} by itself: {why}")


# -- what a newer change overtakes


def _overtaken(
    one: Proposal, others: Sequence[Proposal], gitops: GitOps, tip: Commit | None
) -> str:
    """Why a proposal should not be merged any more; empty where it may be."""
    about = _about(one.branch)
    if about is None or about[0] not in _MOVES:
        return ""
    covered = about[1]
    for other in others:
        rival = _about(other.branch)
        if rival is None or other.branch == one.branch or rival[0] not in _OVERTAKES:
            continue
        if covered <= rival[1] and (one.made, one.branch) < (other.made, other.branch):
            return f"{other.branch} is newer, and about the same"
    for environment, model in sorted(covered) if tip is not None else ():
        before, now = (_standing(gitops, each, environment, model) for each in (one.base, tip))
        if before.pin != now.pin:
            return f"{environment} has another {model} since"
        if now.holds - before.holds:
            return f"{model} is held in {environment} since"
    return ""


@dataclass(frozen=True, slots=True)
class _Standing:
    """The pin, and since when there are holds."""

    pin: Digest | None
    holds: frozenset[datetime]


def _about(branch: str) -> tuple[str, frozenset[tuple[str, str]]] | None:
    """`mlops/promote/eu+us/a+b` → the action, and every environment with every model."""
    parts = branch.removeprefix(PREFIX).split("/")
    if len(parts) != 3:
        return None
    action, environments, models = parts
    pairs = ((e, m) for e in environments.split("+") for m in models.split("+"))
    return action, frozenset(pairs)


def _standing(gitops: GitOps, commit: Commit | None, environment: str, model: str) -> _Standing:
    """What a commit has of a model in an environment; files that nobody can read have nothing."""
    if commit is None:
        return _Standing(None, frozenset())
    pins, holds = (
        f"{gitops.path}/{environment}/{name}.yaml" for name in ("kustomization", "holds")
    )
    pin: Digest | None = None
    found: tuple[Hold, ...] = ()
    with contextlib.suppress(MlopsError):
        content = gitops.read(commit, pins)
        named = kustomization.pins(content, pins) if content is not None else ()
        pin = next((each.digest for each in named if each.model == model), None)
    with contextlib.suppress(MlopsError):
        found = parse_holds(gitops.read(commit, holds), holds)
    return _Standing(pin, frozenset(each.since for each in found if each.model in (model, EVERY)))


# -- words


def _title(message: str) -> str:
    subject = _readable(message).lstrip("\n").partition("\n\n")[0]
    return shortened(" ".join(subject.split()), _LONGEST_TITLE)


def _body(message: str) -> str:
    """What the commit says, as text: nothing in it is markup, nor calls anybody."""
    rest = _readable(message).lstrip("\n").partition("\n\n")[2].strip()
    text = shortened(rest, _LONGEST_BODY)
    longest = max((len(each) for each in _FENCE.findall(text)), default=2)
    fence = "`" * (longest + 1)
    ending = "mlops keeps this branch: it makes it anew where something newer is proposed."
    return f"{fence}text\n{text}\n{fence}\n\n{ending}"


def _readable(message: str) -> str:
    """Without what UTF-8 cannot carry, and nothing that steers a terminal."""
    kept = (char if char.isprintable() or char == "\n" else " " for char in message)
    return "".join(kept).encode("utf-8", "replace").decode()


def _proposed(past: PullRequest, offer: Offer) -> bool:
    """Whether a pull request was for the same, whoever proposed it."""
    if past.title != offer.title:
        return False
    return not offer.worded or _unsigned(past.body) == _unsigned(offer.body)


def _unsigned(body: str) -> list[str]:
    return [line for line in _same(body).splitlines() if not line.startswith(f"{ACTOR}:")]


def _same(text: str) -> str:
    """A body as forges give it back: some change the ends of lines."""
    return "\n".join(line.rstrip() for line in text.strip().splitlines())
