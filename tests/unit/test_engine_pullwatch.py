"""The watcher's look at pull requests: what it tells, when, and that no failure gets further."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from mlops.domain.plan import Impact, Plan, PlanStep
from mlops.domain.pulls import Contribution
from mlops.domain.release import ReleaseRecord
from mlops.domain.source import Commit
from mlops.engine.pullrequests import Change
from mlops.engine.pullwatch import MOST, Known, PullWatch
from mlops.errors import ForgeError, GitError
from mlops.manifests.pullcomment import Told, compose
from tests.unit.test_engine_commenting import Talk

HEAD, TIP, MERGED = (Commit(char * 40) for char in "abc")
PULL = Contribution(7, HEAD.sha, "main", fork=True, author="mallory")


@dataclass
class Refs:
    heads: dict[int, Commit] = field(default_factory=lambda: {7: HEAD})
    tip: Commit = TIP
    forgotten: list[set[int]] = field(default_factory=list)
    fetched: list[int] = field(default_factory=list)

    def fetch(self, number: int) -> Commit:
        self.fetched.append(number)
        if number not in self.heads:
            raise GitError("origin has no such pull request")
        return self.heads[number]

    def target(self, branch: str) -> Commit:
        return self.tip

    def merge_base(self, a: Commit, b: Commit) -> Commit:
        return a

    def before(self, merged: Commit) -> Commit:
        return TIP

    def forget(self, numbers) -> None:
        self.forgotten.append(set(numbers))


@dataclass
class Branch:
    state: Commit = TIP

    def tip(self) -> Commit:
        return self.state


@dataclass
class Review:
    gitops: Branch = field(default_factory=Branch)
    project: str = "spam-filter"
    released: ReleaseRecord | None = None
    asked: list[Change] = field(default_factory=list)

    def told(self, change: Change, model: str = "") -> tuple[Told, ...]:
        self.asked.append(change)
        if self.released is not None:
            return (Told("spam", released=self.released),)
        steps = (PlanStep("train", f"{change.head.short} is new"),)
        return (Told("spam", Plan("spam", change.head, change.base, Impact(), steps, "s")),)

    def text(self, change: Change, told, note: str = "") -> str:
        return compose(self.project, change.head, change.base, told, note)


class Forge(Talk):
    def __init__(self, *pulls: Contribution) -> None:
        super().__init__()
        self.pulls = pulls
        self.fails: ForgeError | None = None

    def proposed(self) -> tuple[Contribution, ...]:
        if self.fails:
            raise self.fails
        return self.pulls


@dataclass
class World:
    forge: Forge
    refs: Refs = field(default_factory=Refs)
    review: Review = field(default_factory=Review)
    known: Known = field(default_factory=Known)
    said: list[str] = field(default_factory=list)

    def look(self) -> int:
        return PullWatch(
            self.forge, self.refs, self.review, ("main", "release/*"), self.known, self.said.append
        ).look()


RECORD = ReleaseRecord.of({"release": f"spam@sha256:{'1' * 64}", "source": {"commit": HEAD.sha}})


def test_a_pull_request_is_told_once_and_again_when_it_is_pushed_to() -> None:
    world = World(Forge(PULL))
    assert world.look() == 1
    assert "is new" in world.forge.bodies()[0]
    asked = len(world.forge.calls)
    assert world.look() == 0
    assert len(world.forge.calls) == asked  # nothing changed: not a question about comments
    world.refs.heads[7] = MERGED
    world.forge.pulls = (replace(PULL, head=MERGED.sha),)
    assert world.look() == 1
    (body,) = world.forge.bodies()
    assert MERGED.short in body


def test_a_new_process_writes_nothing_that_is_there() -> None:
    world = World(Forge(PULL))
    world.look()
    again = replace(world, known=Known())
    assert again.look() == 0
    assert len(world.forge.bodies()) == 1


def test_pull_requests_for_other_branches_are_left_alone() -> None:
    world = World(Forge(replace(PULL, into="gh-pages")))
    assert world.look() == 0
    assert world.refs.fetched == []
    world = World(Forge(replace(PULL, into="release/1")))
    assert world.look() == 1


def test_one_that_was_pushed_to_meanwhile_is_for_the_next_look() -> None:
    world = World(Forge(PULL))
    world.refs.heads[7] = MERGED
    assert world.look() == 0
    assert "pushed to meanwhile" in world.said[0]
    world.refs.heads[7] = HEAD
    assert world.look() == 1


def test_after_the_merge_what_became_of_it_takes_the_plans_place() -> None:
    world = World(Forge(PULL))
    world.look()
    world.forge.pulls = (replace(PULL, merged=MERGED.sha),)
    assert world.look() == 0  # merged, and not released yet: the plan stays
    world.review.released = RECORD
    world.review.gitops.state = MERGED
    assert world.look() == 1
    (body,) = world.forge.bodies()
    assert "### mlops: released" in body
    assert world.review.asked[-1] == Change(HEAD, TIP, MERGED)


def test_old_merged_pull_requests_get_no_comment() -> None:
    world = World(Forge(replace(PULL, merged=MERGED.sha)))
    world.review.released = RECORD
    assert world.look() == 0
    assert world.forge.bodies() == []


def test_one_that_fails_keeps_no_other_waiting() -> None:
    world = World(Forge(replace(PULL, number=8), PULL))
    assert world.look() == 1
    assert "pull request 8 is told later" in world.said[0]


def test_a_forge_that_is_away_is_asked_at_the_next_look() -> None:
    world = World(Forge(PULL))
    world.forge.fails = ForgeError("503", retryable=True)
    assert world.look() == 0
    assert "looked at later: 503" in world.said[0]
    world.forge.fails = None
    assert world.look() == 1


def test_many_are_told_over_several_looks() -> None:
    pulls = [replace(PULL, number=n) for n in range(1, MOST + 6)]
    world = World(Forge(*pulls))
    world.refs.heads = dict.fromkeys(range(1, MOST + 6), HEAD)
    one_talk = world.look()
    assert one_talk <= MOST
    assert len(world.known.looked) == MOST
    world.look()
    assert len(world.known.looked) == MOST + 5


def test_what_is_closed_is_forgotten() -> None:
    world = World(Forge(PULL))
    world.look()
    world.forge.pulls = ()
    world.look()
    assert world.refs.forgotten == [{7}, set()]
    assert world.known == Known()
