"""Several environments at once, and environments as a graph: dev → staging → prod-eu and prod-us."""

import pytest

from mlops.domain.digest import ReleaseId
from mlops.domain.environment import EnvironmentPolicy
from mlops.engine.preflight import Preflight
from mlops.engine.promote import PromoteOrder, Promoter
from mlops.engine.rollback import RollbackOrder, Roller
from mlops.errors import ConfigError, RefusedError, UsageError
from mlops.policy.promotion import Candidate, auto_candidates, following
from tests.fakes.estate import Estate, digest, release
from tests.fakes.sources import MemorySources

BOTH = "prod-eu,prod-us"


def graph(*names: str) -> Estate:
    estate = Estate()
    estate.names = ("dev", "staging")
    estate.add("prod-eu", "staging")
    estate.add("prod-us", "staging")
    estate.released(*names, to=estate.names)
    return estate


def roll_back(estate: Estate, where: str, *models: str, **more):
    estate.gitops.clock.pass_time(minutes=1)
    order = RollbackOrder(where, models, **{"reason": "bad", **more})
    return Roller(estate.publisher, Preflight(deadline=5)).roll_back(order)


def promote(estate: Estate, *references: str, **more):
    estate.gitops.clock.pass_time(minutes=1)
    promoter = Promoter(estate.publisher, MemorySources("ABCDE"))
    return promoter.promote(PromoteOrder(references, **more))


def pinned(estate: Estate) -> list[str]:
    by_digest = {digest(name): name for name in "ABCDE"}
    return [by_digest[estate.pins(name)["spam"]] for name in ("prod-eu", "prod-us")]


class TestRollback:
    def test_all_go_back_in_one_commit_each_by_its_own_past(self):
        estate = graph("A", "B")
        estate.ours("promote", "prod-us", spam="C")
        estate.record("C")
        pushes = estate.gitops.pushes
        settled = roll_back(estate, BOTH, incident="INC-7")
        assert estate.gitops.pushes == pushes + 1
        assert pinned(estate) == ["A", "B"]
        for name, left in (("prod-eu", "B"), ("prod-us", "C")):
            (hold,) = estate.environments().state(name).holds
            assert hold.avoid == (digest(left),)
            row = next(estate.environments().history(name).rows())
            assert (row.action, row.incident, row.commit) == ("rollback", "INC-7", settled.commit)

    def test_one_that_cannot_stops_all_and_names_the_rest(self):
        estate = graph("A", "B")
        estate.add("prod-ap", "staging")
        estate.ours("promote", "prod-ap", spam="A")
        with pytest.raises(RefusedError, match="nothing was rolled back: prod-ap") as refused:
            roll_back(estate, "prod-eu,prod-ap,prod-us")
        command = "mlops rollback prod-eu,prod-us spam --reason TEXT"
        assert refused.value.hint == f"Roll back the rest alone: {command}"
        assert pinned(estate) == ["B", "B"]

    def test_an_incident_done_in_one_of_them_is_done_in_the_other_alone(self):
        estate = graph("A", "B")
        roll_back(estate, "prod-eu", incident="INC-7")
        settled = roll_back(estate, BOTH, incident="INC-7")
        assert [move.unchanged for move in settled.decision.moves] == [True, False]
        assert pinned(estate) == ["A", "A"]
        again = roll_back(estate, BOTH, incident="INC-7")
        assert again.decision.repeated
        assert again.commit is None

    def test_a_lost_race_is_decided_again_for_all(self):
        estate = graph("A", "B")
        estate.gitops.before_push = lambda: estate.write("README.md", b"news")
        roll_back(estate, BOTH)
        assert pinned(estate) == ["A", "A"]

    def test_where_one_was_rolled_back_meanwhile_a_person_must_look(self):
        estate = graph("A", "B", "C")
        estate.gitops.before_push = lambda: roll_back(estate, "prod-us")
        with pytest.raises(RefusedError, match=r"somebody else was faster"):
            roll_back(estate, BOTH)
        assert pinned(estate) == ["C", "B"]

    def test_preflight_looks_at_each_overlay(self):
        estate = graph("A", "B")
        verdicts = roll_back(estate, BOTH).decision.verdicts
        assert [v.subject for v in verdicts if v.check == "render"] == ["prod-eu", "prod-us"]
        assert len([v for v in verdicts if v.check == "image"]) == 1, "one release, asked for once"

    def test_an_unknown_one_is_named(self):
        with pytest.raises(UsageError, match="prod-as"):
            roll_back(graph("A", "B"), "prod-eu,prod-as")


class TestPromotion:
    def test_without_a_target_it_follows_the_graph(self):
        estate = graph()
        estate.record("A")
        estate.ours("run", "dev", spam="A")
        assert promote(estate, "spam@dev").decision[0].environment == "staging"
        with pytest.raises(UsageError, match="may go to prod-eu or prod-us") as refused:
            promote(estate, "spam@dev")
        assert refused.value.hint == "Name one with --to, or all: --to prod-eu,prod-us"

    def test_into_several_in_one_commit(self):
        estate = graph()
        estate.record("A")
        for name in ("dev", "staging"):
            estate.ours("promote", name, spam="A")
        pushes = estate.gitops.pushes
        promote(estate, "spam@staging", target=BOTH)
        assert estate.gitops.pushes == pushes + 1
        assert pinned(estate) == ["A", "A"]
        for name in BOTH.split(","):
            assert next(estate.environments().history(name).rows()).action == "promote"

    def test_what_must_have_stood_in_several_stood_in_each(self):
        estate = graph("A")
        estate.add("world", "prod-eu", "prod-us", more="soak: 10m\n")
        estate.record("B")
        for name in ("dev", "staging", "prod-eu"):
            estate.ours("promote", name, spam="B")
        with pytest.raises(RefusedError, match=r"from prod-us, which has never pinned"):
            promote(estate, str(release("B")), target="world")
        estate.ours("promote", "prod-us", spam="B")
        with pytest.raises(RefusedError, match="was in prod-"):
            promote(estate, str(release("B")), target="world")
        estate.gitops.clock.pass_time(minutes=10)
        promote(estate, str(release("B")), target="world")
        assert estate.pins("world") == {"spam": digest("B")}

    def test_a_circle_is_refused_with_its_file_and_stops_nobody_else(self):
        estate = graph("A", "B")
        estate.add("staging", "prod-eu")
        with pytest.raises(
            ConfigError, match=r"staging/environment.yaml:3: from: expected"
        ) as raised:
            promote(estate, str(release("A")), target="staging")
        assert "circle" in raised.value.hint
        roll_back(estate, "prod-us")
        assert pinned(estate) == ["B", "A"]

    def test_an_environment_that_is_not_there_stops_nobody_else(self):
        estate = graph("A", "B")
        estate.names = (*estate.names, "prod-ap")
        with pytest.raises(ConfigError, match=r"prod-ap/kustomization.yaml is not on the GitOps"):
            promote(estate, str(release("A")), target="prod-ap")
        roll_back(estate, BOTH)
        assert pinned(estate) == ["A", "A"]


POLICIES = (
    EnvironmentPolicy("dev"),
    EnvironmentPolicy("eu", ("dev",)),
    EnvironmentPolicy("us", ("dev",)),
    EnvironmentPolicy("world", ("eu", "us"), auto=True),
    EnvironmentPolicy("museum"),
)


@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("dev", ("eu", "us")),
        ("eu", ("world",)),
        ("us", ("world",)),
        ("world", ("museum",)),
        ("museum", ()),
    ],
)
def test_what_follows(name, after):
    assert following(name, POLICIES) == after


def test_automation_moves_what_all_of_them_pin():
    pins = {"eu": {"spam": digest("A")}, "us": {"spam": digest("B")}, "world": {}}
    assert auto_candidates(POLICIES, pins) == ()
    pins["us"]["spam"] = digest("A")
    expected = Candidate(ReleaseId("spam", digest("A")), "world")
    assert auto_candidates(POLICIES, pins) == (expected,)
