"""Pull requests for promotions, on every forge: opened once, updated, closed when overtaken, left when closed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from mlops.adapters.forge.connecting import connect
from mlops.adapters.forge.tokens import Token
from mlops.domain.forge import ForgeConfig, Kind, Place, place
from mlops.domain.message import compose
from mlops.domain.project import GitOpsConfig
from mlops.engine.preflight import Preflight
from mlops.engine.promote import PromoteOrder, Promoter
from mlops.engine.proposing import Brought, Proposer, offers
from mlops.engine.rollback import RollbackOrder, Roller
from mlops.errors import ForgeError
from tests.fakes.estate import Estate, release
from tests.fakes.forges import BY_KIND, FakeForge, Fault
from tests.fakes.forges.server import TOKEN
from tests.fakes.sources import MemorySources

SPAM = "mlops/promote/staging/spam"


@dataclass
class World:
    """An estate in pull-request mode with releases A (everywhere), B and C (in dev), and its forge."""

    forge: FakeForge
    kind: Kind
    estate: Estate = field(default_factory=Estate)
    brought: Brought = field(default_factory=Brought)
    said: list[str] = field(default_factory=list)
    auto_merge: bool = False

    def __post_init__(self) -> None:
        self.estate.released("A")
        for name in "BC":
            self.estate.record(name)
            self.estate.ours("run", "dev", spam=name)
        self.forge.heads = self._head

    def _head(self, branch: str) -> str:
        found = self.estate.gitops.proposals.get(branch)
        return found[2].sha if found else "0" * 40

    def publisher(self, rollback: str = "pull-request"):
        config = GitOpsConfig(mode="pull-request", rollback=rollback)
        project = replace(self.estate.publisher.project, gitops=config)
        return replace(self.estate.publisher, project=project)

    def promote(self, name: str, *, despite_hold: bool = False) -> None:
        order = PromoteOrder((str(release(name)),), "staging", despite_hold=despite_hold)
        Promoter(self.publisher(), MemorySources("ABCDE")).promote(order)

    def roll_back(self, rollback: str = "pull-request") -> None:
        order = RollbackOrder("staging", ("spam",), reason="predicts nonsense")
        Roller(self.publisher(rollback), Preflight(deadline=5)).roll_back(order)

    def keep(self, topic: str, subject: str, body: str, actor: str = "Ada") -> None:
        """Propose as upkeep does."""
        message = compose(subject, [("Mlops-Reason", "a trigger"), ("Mlops-Actor", actor)], body)
        gitops = self.estate.gitops
        gitops.propose(gitops.tip(), {"data/raw.dvc": body.encode()}, message, topic)

    def bring(self, *, upkeep: bool = False) -> None:
        at = place("/srv/ml", ForgeConfig(self.kind, self.forge.api, "ada/ml"))
        assert isinstance(at, Place)
        forge = connect(at, Token(TOKEN, "a test"))
        forge._wire._sleep = lambda _: None
        proposer = Proposer(forge, "main", self.brought, self.said.append, self.auto_merge)
        proposer.bring(offers(self.estate.gitops, upkeep=upkeep))

    def shown(self) -> list[tuple[str, str]]:
        return [(each.branch, each.state) for each in self.forge.pulls]


@pytest.fixture(params=list(Kind), ids=str)
def world(request) -> Iterator[World]:
    with BY_KIND[request.param]() as forge:
        yield World(forge, request.param)


def test_a_promotion_has_one_pull_request_that_says_what_it_does(world: World):
    world.promote("B")
    world.bring()
    (pull,) = world.forge.pulls
    assert (pull.branch, pull.into, pull.state) == (SPAM, "main", "open")
    assert pull.title == f"Promote {release('B').short} to staging"
    assert f"Mlops-Model: {release('B')}" in pull.body
    assert pull.body.startswith("```text\n")
    written = len(world.forge.writes())
    world.bring()
    world.brought = Brought()  # another process
    world.bring()
    assert len(world.forge.writes()) == written


def test_another_promotion_takes_its_place_in_the_same_pull_request(world: World):
    world.promote("B")
    world.bring()
    world.promote("C")
    world.bring()
    (pull,) = world.forge.pulls
    assert pull.title == f"Promote {release('C').short} to staging"
    assert world.brought.pulls[SPAM].number == 1


def test_what_a_person_closed_is_left_closed_and_another_promotion_is_not(world: World):
    world.promote("B")
    world.bring()
    world.forge.pulls[0].state = "closed"
    world.estate.gitops.edit({"README.md": b"new"})
    world.promote("B")  # on a new tip: another commit that says the same
    for _ in range(2):
        world.bring()
    assert world.shown() == [(SPAM, "closed")]
    assert [text for text in world.said if "was closed, and is left so" in text] == world.said[1:]
    assert SPAM not in world.brought.pulls
    world.promote("C")
    world.bring()
    assert world.shown() == [(SPAM, "closed"), (SPAM, "open")]


def test_one_that_was_opened_again_by_hand_is_kept(world: World):
    world.promote("B")
    world.bring()
    world.forge.pulls[0].state = "closed"
    world.bring()
    world.forge.pulls[0].state = "open"
    world.bring()
    assert world.brought.pulls[SPAM].number == 1


def test_what_was_merged_by_squash_is_opened_no_more(world: World):
    world.promote("B")
    world.bring()
    world.forge.pulls[0].state = "merged"
    world.bring()
    world.bring()
    assert world.shown() == [(SPAM, "merged")]


def test_a_rollback_closes_the_promotion_that_waits(world: World):
    world.promote("B")
    world.bring()
    world.estate.ours("promote", "staging", spam="B")
    world.roll_back("push")
    world.bring()
    assert world.shown() == [(SPAM, "closed")]
    assert "Closed by mlops: spam is held in staging since" in world.forge.pulls[0].body
    world.bring()
    assert world.shown() == [(SPAM, "closed")]
    world.promote("C", despite_hold=True)
    world.bring()
    assert world.shown() == [(SPAM, "closed"), (SPAM, "open")]


def test_one_that_mlops_closed_may_be_proposed_again(world: World):
    world.promote("B")
    world.bring()
    world.estate.pin("staging", spam="C")
    world.bring()
    assert world.shown() == [(SPAM, "closed")]
    world.promote("B")
    world.bring()
    assert world.shown() == [(SPAM, "closed"), (SPAM, "open")]


def test_a_proposed_rollback_overtakes_a_promotion_and_none_overtakes_it(world: World):
    world.estate.pin("staging", spam="B")
    world.promote("C")
    world.bring()
    world.roll_back()
    world.bring()
    rollback = "mlops/rollback/staging/spam"
    assert world.shown() == [(SPAM, "closed"), (rollback, "open")]
    assert f"{rollback} is newer, and about the same" in world.forge.pulls[0].body


def test_pull_requests_of_people_are_left_alone(world: World):
    world.forge.add_pull("feature/x", "main", "Mine", "")
    world.forge.add_pull("mlops/promote/staging/ham", "release", "Into another branch", "")
    world.forge.add_pull(SPAM, "main", "From a fork", "").fork = True
    world.promote("B")
    world.bring()
    assert [each.title for each in world.forge.pulls[:3]] == [
        "Mine",
        "Into another branch",
        "From a fork",
    ]
    assert world.forge.pulls[3].branch == SPAM


def test_the_forge_merges_once_it_may_and_is_asked_once(world: World):
    world.auto_merge = True
    world.promote("B")
    world.bring()
    assert world.forge.pulls[0].waits
    written = len(world.forge.writes())
    world.bring()
    assert len(world.forge.writes()) == written


def test_a_forge_that_does_not_merge_by_itself_is_said_once_and_asked_some_times(world: World):
    world.auto_merge = True
    world.forge.refuses_auto_merge = "Pull request is in clean status"
    world.promote("B")
    for _ in range(8):
        world.bring()
    assert len([text for text in world.said if "clean status" in text]) == 1
    assert len(world.forge.writes()) == 1 + 5
    assert world.shown() == [(SPAM, "open")]


def test_a_forge_that_is_away_has_them_at_the_next_look(world: World):
    world.promote("B")
    world.forge.faults += [Fault(503)] * 4
    with pytest.raises(ForgeError) as raised:
        world.bring()
    assert raised.value.retryable
    world.bring()
    assert world.shown() == [(SPAM, "open")]


def test_words_of_a_commit_are_no_markup(world: World):
    order = RollbackOrder("dev", ("spam",), reason="````` [x](http://evil) @everyone <script>\x1b")
    Roller(world.publisher(), Preflight(deadline=5)).roll_back(order)
    world.bring()
    (pull,) = world.forge.pulls
    fence = pull.body.partition("text\n")[0]
    assert len(fence) > 5
    assert pull.body.count(fence) == 2


def test_data_and_locks_have_pull_requests_that_say_what_changed(world: World):
    world.keep("data/spam", "Bring in data/raw.dvc", "a → b")
    world.keep("lock", "Upgrade the locks", "uv: 0.1 → 0.2")
    world.bring(upkeep=True)
    world.bring(upkeep=True)
    assert world.shown() == [("mlops/data/spam", "open"), ("mlops/lock", "open")]
    data, lock = world.forge.pulls
    assert (data.title, lock.title) == ("Bring in data/raw.dvc", "Upgrade the locks")
    assert "a → b" in data.body
    assert "uv: 0.1 → 0.2" in lock.body
    world.keep("lock", "Upgrade the locks", "uv: 0.1 → 0.3")
    world.bring(upkeep=True)
    assert "uv: 0.1 → 0.3" in world.forge.pulls[1].body
    assert len(world.forge.pulls) == 2


def test_promotions_and_upkeep_leave_each_other_alone(world: World):
    world.keep("lock", "Upgrade the locks", "uv: 0.1 → 0.2")
    world.promote("B")
    world.bring()
    assert world.shown() == [(SPAM, "open")]
    world.bring(upkeep=True)
    world.bring()
    assert world.shown() == [(SPAM, "open"), ("mlops/lock", "open")]


def test_upkeep_that_a_person_closed_is_left_closed_until_something_else_is_new(world: World):
    world.keep("lock", "Upgrade the locks", "uv: 0.1 → 0.2")
    world.bring(upkeep=True)
    world.forge.pulls[0].state = "closed"
    world.estate.gitops.edit({"README.md": b"new"})
    world.keep("lock", "Upgrade the locks", "uv: 0.1 → 0.2", actor="Bob")  # on a new tip
    world.bring(upkeep=True)
    assert world.shown() == [("mlops/lock", "closed")]
    world.keep("lock", "Upgrade the locks", "uv: 0.1 → 0.3")
    world.bring(upkeep=True)
    assert world.shown() == [("mlops/lock", "closed"), ("mlops/lock", "open")]
