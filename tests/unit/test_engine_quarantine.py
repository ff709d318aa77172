from dataclasses import replace

import pytest

from mlops.config.environment import parse_quarantine
from mlops.engine.preflight import Preflight
from mlops.engine.promote import PromoteOrder, Promoter
from mlops.engine.quarantine import NotIn, lift, quarantine, quarantine_file
from mlops.engine.rollback import RollbackOrder, Roller
from mlops.engine.status import status
from mlops.errors import RefusedError, UsageError
from tests.fakes.estate import Estate, digest, record, release
from tests.fakes.sources import MemorySources

SAME = {"path": "m", "md5": "f" * 32}


def forbidden(estate: Estate) -> list[tuple[str, str | None]]:
    return [(e.digest.hex, e.artifact) for e in estate.environments().quarantine]


def test_forbids_the_digest_and_the_artifact_and_says_who_pins_it():
    estate = Estate()
    estate.released("A", "B", to=("dev", "prod"))
    settled = quarantine(estate.publisher, "spam@prod", "leaks")
    assert forbidden(estate) == [(digest("B").hex, record("B").artifact)]
    assert settled.decision.pinned == ("dev", "prod")
    assert settled.decision.note == ""


def test_digest_only():
    estate = Estate()
    estate.released("A")
    quarantine(estate.publisher, "spam@prod", "leaks", digest_only=True)
    assert forbidden(estate) == [(digest("A").hex, None)]


@pytest.mark.parametrize("rolled_back", [False, True])
def test_where_the_rollback_target_has_that_artifact_the_digest_alone_and_it_says_so(rolled_back):
    estate = Estate()
    for name in "AB":
        estate.record(name, artifact=SAME)
        estate.ours("promote", "prod", spam=name)
    if rolled_back:
        estate.ours("rollback", "prod", spam="A")
    settled = quarantine(estate.publisher, str(release("B")), "bad code")
    assert forbidden(estate) == [(digest("B").hex, None)]
    assert f"{release('A').short} has the same model artifact" in settled.decision.note


def test_the_same_again_changes_nothing_a_wider_one_widens():
    estate = Estate()
    estate.released("A")
    quarantine(estate.publisher, "spam@prod", "leaks", digest_only=True)
    assert quarantine(estate.publisher, "spam@prod", "x", digest_only=True).commit is None
    assert quarantine(estate.publisher, "spam@prod", "leaks").commit is not None
    assert forbidden(estate) == [(digest("A").hex, record("A").artifact)]
    assert quarantine(estate.publisher, "spam@prod", "x", digest_only=True).commit is None


def test_a_release_without_record_by_its_digest():
    estate = Estate()
    quarantine(estate.publisher, f"spam@{digest('X')}", "never seen")
    assert forbidden(estate) == [(digest("X").hex, None)]


def test_lift():
    estate = Estate()
    estate.released("A", "B")
    for name in "AB":
        quarantine(estate.publisher, str(release(name)), "leaks")
    assert lift(estate.publisher, str(release("A"))).decision is not None
    assert [hex_ for hex_, _ in forbidden(estate)] == [digest("B").hex]
    again = lift(estate.publisher, str(release("A")))
    assert (again.decision, again.commit) == (NotIn(release("A")), None)


def test_a_reason_is_needed():
    with pytest.raises(UsageError, match="--reason"):
        quarantine(Estate().publisher, "spam@prod", "")


def test_an_environment_that_cannot_be_read_does_not_stop_it():
    estate = Estate()
    estate.released("A", to=("prod",))
    estate.write("dev/kustomization.yaml", b"[")
    assert quarantine(estate.publisher, str(release("A")), "x").decision.pinned == ("prod",)


def test_what_it_means_is_not_resolved_anew_after_a_lost_race():
    estate = Estate()
    estate.released("A", to=("prod",))

    def moved_on():
        estate.record("B")
        estate.ours("promote", "prod", spam="B")

    estate.gitops.before_push = moved_on
    quarantine(estate.publisher, "spam@prod", "leaks")
    assert [hex_ for hex_, _ in forbidden(estate)] == [digest("A").hex]


def test_the_next_commit_with_the_same_artifact_is_forbidden_and_named_where_it_is_pinned():
    estate = Estate()
    for name, model in (("A", "spam"), ("B", "spam"), ("C", "eggs")):
        estate.record(name, model, artifact=SAME)
    estate.ours("run", "dev", spam="B", eggs="C")
    estate.ours("promote", "staging", spam="A")
    estate.ours("promote", "staging", spam="B")
    settled = quarantine(estate.publisher, str(release("A")), "leaks")
    assert settled.decision.pinned == ()
    assert settled.decision.entry.artifact == SAME["md5"], "what moved on from it is no target"
    assert settled.decision.alike == (
        ("dev", release("C", "eggs")),
        ("dev", release("B")),
        ("staging", release("B")),
    )
    by = lift(estate.publisher, str(release("B"))).decision
    assert isinstance(by, NotIn)
    assert by.by is not None
    assert by.by.digest == digest("A"), "what is to be lifted in its place"


def test_the_next_commit_with_the_same_artifact_is_caught_by_every_command():
    """B is the next commit after A: other code, the same bad model."""
    estate = Estate()
    estate.record("Z")
    for name in "AB":
        estate.record(name, artifact=SAME)
    for name in "BZA":
        estate.ours("promote", "staging", spam=name)
    estate.ours("run", "dev", spam="B")
    quarantine(estate.publisher, str(release("A")), "leaks")
    promoter = Promoter(estate.publisher, MemorySources("ZAB"))
    for order in (PromoteOrder(("spam@dev",)), PromoteOrder(("spam@dev",), despite_hold=True)):
        with pytest.raises(RefusedError, match="the same model artifact"):
            promoter.promote(order)
    policy = b"apiVersion: mlops/v1\nkind: Environment\nfrom: dev\nauto: true\n"
    estate.write("staging/environment.yaml", policy)
    moved, left = promoter.automatic()
    assert (moved, [each.refusal.ground.value for each in left]) == ((), ["quarantine"])
    roller = Roller(estate.publisher, Preflight(deadline=5))
    with pytest.raises(RefusedError, match="the same model artifact"):
        roller.roll_back(RollbackOrder("staging", reason="x", to=str(release("B"))))
    roller.roll_back(RollbackOrder("staging", reason="x"))
    assert estate.pins("staging") == {"spam": digest("Z")}
    found = {(row.environment, row.model): row.quarantined for row in status(estate.environments())}
    assert found["dev", "spam"]
    assert not found["staging", "spam"]


def test_a_digest_that_two_models_share_is_forbidden_under_both_names():
    estate = Estate()
    for model in ("spam", "eggs"):
        estate.released("A", model=model, to=("dev",))
    settled = quarantine(estate.publisher, str(release("A", "spam")), "leaks", digest_only=True)
    assert settled.decision.alike == (("dev", release("A", "eggs")),)
    quarantine(estate.publisher, str(release("A", "eggs")), "leaks", digest_only=True)
    lifted = lift(estate.publisher, str(release("A", "spam"))).decision
    assert lifted.left is not None
    assert lifted.left.model == "eggs", "it stays forbidden by the other name's entry"


def test_an_entry_never_becomes_narrower_unasked():
    estate = Estate()
    estate.released("A")
    quarantine(estate.publisher, "spam@prod", "leaks")
    environments = estate.environments()
    (entry,) = environments.quarantine
    written = quarantine_file(environments, [replace(entry, artifact=None, reason="again")])
    (again,) = parse_quarantine(written["environments/quarantine.yaml"])
    assert (again.artifact, again.reason) == (entry.artifact, "again")


def test_dry_runs_write_nothing():
    estate = Estate()
    estate.released("A")
    assert digest("A").hex in quarantine(estate.publisher, "spam@prod", "x", dry_run=True).diff
    assert forbidden(estate) == []
    quarantine(estate.publisher, "spam@prod", "x")
    assert digest("A").hex in lift(estate.publisher, "spam@prod", dry_run=True).diff
    assert len(forbidden(estate)) == 1
