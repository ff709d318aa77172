from datetime import timedelta

import pytest

from mlops.domain.environment import Hold
from mlops.engine.hold import HoldOrder, hold, resume
from mlops.errors import UsageError
from mlops.manifests.overlay import dump_holds
from tests.fakes.estate import Estate, digest
from tests.fakes.gitops import START


def held(estate: Estate, model: str = "spam", reason: str = "freeze", until=None, dry_run=False):
    estate.gitops.clock.pass_time(minutes=1)
    return hold(estate.publisher, HoldOrder("prod", model, reason, until), dry_run=dry_run)


def holds(estate: Estate) -> list[str]:
    return [each.model for each in estate.environments().state("prod").holds]


def test_holds_a_model_or_the_environment():
    estate = Estate()
    estate.released("A", to=("prod",))
    held(estate)
    held(estate, "*", "party")
    assert holds(estate) == ["*", "spam"]
    state = estate.environments().state("prod")
    now = estate.gitops.clock()
    own, whole = state.hold("spam", now), state.hold("eggs", now)
    assert own is not None
    assert whole is not None
    assert (own.digest, own.actor, own.reason) == (digest("A"), "Ada", "freeze")
    assert (whole.model, whole.digest) == ("*", None)


def test_the_same_hold_again_changes_nothing_and_other_words_keep_what_it_keeps_out():
    estate = Estate()
    old = Hold("spam", START, "Eve", "bad", avoid=(digest("B"),), incident="7")
    estate.write("prod/holds.yaml", dump_holds([old]))
    assert held(estate, reason="bad").commit is None
    settled = held(estate, reason="still bad")
    assert settled.commit is not None
    fresh = settled.decision.hold
    assert (fresh.avoid, fresh.incident) == ((digest("B"),), "7")
    assert settled.decision.replaced == old


def test_a_hold_ends_by_itself():
    estate = Estate()
    end = estate.gitops.clock() + timedelta(hours=1)
    held(estate, until=end)
    state = estate.environments().state("prod")
    assert state.hold("spam", end - timedelta(seconds=1)) is not None
    assert state.hold("spam", end) is None
    estate.gitops.clock.pass_time(hours=2)
    settled = held(estate)
    assert settled.commit is not None
    assert settled.decision.replaced is None


def test_a_hold_needs_a_reason_and_names_that_are_known():
    estate = Estate()
    with pytest.raises(UsageError, match="--reason"):
        held(estate, reason=" ")
    with pytest.raises(UsageError, match="Did you mean spam"):
        held(estate, "spma")
    assert estate.gitops.pushes == 0


def test_resume_lifts_one_model_or_all():
    estate = Estate()
    for model in ("*", "eggs", "spam"):
        held(estate, model)
    found = resume(estate.publisher, "prod", "spam").decision
    assert [each.model for each in found.lifted] == ["spam"]
    assert [each.model for each in found.left] == ["*"]
    assert holds(estate) == ["*", "eggs"]
    found = resume(estate.publisher, "prod").decision
    assert [each.model for each in found.lifted] == ["*", "eggs"]
    assert holds(estate) == []
    assert resume(estate.publisher, "prod").commit is None


def test_resume_of_what_is_not_held_says_what_still_stops_it():
    estate = Estate()
    held(estate, "*")
    settled = resume(estate.publisher, "prod", "spam")
    assert settled.commit is None
    assert [each.model for each in settled.decision.left] == ["*"]


def test_dry_runs_write_nothing():
    estate = Estate()
    assert "+- model: spam" in held(estate, dry_run=True).diff
    held(estate)
    assert "-- model: spam" in resume(estate.publisher, "prod", dry_run=True).diff
    assert holds(estate) == ["spam"]


def test_the_commit_names_the_environment_and_what_it_holds():
    estate = Estate()
    estate.released("A", to=("prod",))
    held(estate)
    info = next(iter(estate.gitops.line(estate.gitops.tip(), "environments"))).info
    assert info.trailer("Mlops-Action") == "hold"
    assert info.trailer("Mlops-Environment") == "prod"
    assert info.trailer("Mlops-Model") == f"spam@{digest('A')}"
    assert info.trailer("Mlops-Reason") == "freeze"
    assert len(list(estate.environments().history("prod").rows())) == 1
