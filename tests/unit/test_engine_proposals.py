"""Pull-request mode: what must not be pushed is put on a branch of its own."""

from dataclasses import replace

from mlops.domain.project import GitOpsConfig
from mlops.engine.hold import HoldOrder, hold, resume
from mlops.engine.preflight import Preflight
from mlops.engine.promote import PromoteOrder, Promoter
from mlops.engine.publishing import Publisher, topic
from mlops.engine.quarantine import lift, quarantine
from mlops.engine.rollback import RollbackOrder, Roller
from tests.fakes.estate import Estate, digest, release
from tests.fakes.sources import MemorySources


def publisher(estate: Estate, mode="pull-request", rollback="pull-request") -> Publisher:
    config = GitOpsConfig(mode=mode, rollback=rollback)
    project = replace(estate.publisher.project, gitops=config)
    return replace(estate.publisher, project=project)


def estate_of(*names: str) -> Estate:
    estate = Estate()
    estate.released(*names)
    return estate


def roll_back(estate: Estate, **modes):
    order = RollbackOrder("prod", ("spam",), reason="bad")
    return Roller(publisher(estate, **modes), Preflight(deadline=5)).roll_back(order)


def promote(estate: Estate, name: str, where: str):
    order = PromoteOrder((str(release(name)),), where)
    return Promoter(publisher(estate), MemorySources("ABCDE")).promote(order)


def test_a_promotion_is_proposed_and_nothing_moves():
    estate = estate_of("A")
    estate.record("B")
    estate.ours("run", "dev", spam="B")
    tip = estate.gitops.tip()
    settled = promote(estate, "B", "staging")
    assert settled.commit is None
    assert settled.proposed.branch == "mlops/promote/staging/spam"
    assert estate.gitops.tip() == tip
    base, files, _ = estate.gitops.proposals[settled.proposed.branch]
    assert base == tip
    assert str(digest("B")).encode() in files["environments/staging/kustomization.yaml"]


def test_the_same_proposal_again_is_the_same_and_another_takes_its_place():
    estate = estate_of("A")
    for name in "BC":
        estate.record(name)
        estate.ours("run", "dev", spam=name)
    first = promote(estate, "B", "staging").proposed
    assert promote(estate, "B", "staging").proposed == first
    second = promote(estate, "C", "staging").proposed
    assert (second.branch, second.commit) != (first.branch, first.commit)
    assert list(estate.gitops.proposals) == [first.branch]


def test_rollback_push_bypasses_pull_request_mode():
    estate = estate_of("A", "B")
    assert roll_back(estate, rollback="push").commit == estate.gitops.tip()
    assert estate.pins("prod")["spam"] == digest("A")
    assert not estate.gitops.proposals


def test_without_it_a_rollback_is_proposed_with_its_hold():
    estate = estate_of("A", "B")
    settled = roll_back(estate)
    assert settled.proposed.branch == "mlops/rollback/prod/spam"
    assert estate.pins("prod")["spam"] == digest("B")
    _, files, _ = estate.gitops.proposals[settled.proposed.branch]
    assert b"avoid" in files["environments/prod/holds.yaml"]


def test_holds_and_quarantine_go_the_rollbacks_way_and_lifting_them_does_not():
    estate = estate_of("A")
    direct = publisher(estate, rollback="push")
    assert hold(direct, HoldOrder("prod", "*", "freeze")).commit
    assert quarantine(direct, str(release("A")), "bad").commit
    assert resume(direct, "prod").proposed.branch == "mlops/resume/prod/every-model"
    lifted = lift(direct, str(release("A"))).proposed.branch
    assert lifted == f"mlops/lift/spam-{digest('A').short}"


def test_no_topic_stands_in_the_way_of_another():
    every = topic("hold", ["prod"], ["every-model"])
    assert every == ("hold", "prod", "every-model")
    assert topic("promote", ["eu", "us", "eu"], ["a", "b"]) == ("promote", "eu+us", "a+b")
