from dataclasses import replace
from datetime import timedelta

import pytest

from mlops.domain.environment import Hold
from mlops.domain.reference import Instant, parse_when
from mlops.engine.preflight import Preflight
from mlops.engine.rollback import RollbackOrder, Roller
from mlops.errors import RefusedError, UsageError
from mlops.manifests.overlay import dump_holds
from mlops.policy.quarantine import quarantined
from tests.fakes.estate import Estate, digest, record, release
from tests.fakes.gitops import START

NOTHING_CHECKED = Preflight(deadline=5)


def roll_back(estate: Estate, *models: str, approve=lambda _: True, dry_run=False, **more):
    estate.gitops.clock.pass_time(minutes=1)
    order = RollbackOrder("prod", models, **{"reason": "bad", **more})
    roller = Roller(estate.publisher, NOTHING_CHECKED, approve)
    return roller.roll_back(order, dry_run=dry_run)


def released(*names: str, to=("prod",)) -> Estate:
    estate = Estate()
    estate.released(*names, to=to)
    return estate


def prod(estate: Estate) -> str:
    by_digest = {digest(name): name for name in "ZABCDEFG"}
    return by_digest[estate.pins("prod")["spam"]]


def test_pins_the_previous_good_release_and_holds_what_it_left_in_one_commit():
    estate = released("A", "B")
    pushes = estate.gitops.pushes
    settled = roll_back(estate, reason="predicts nonsense", incident="INC-7")
    assert estate.gitops.pushes == pushes + 1
    assert prod(estate) == "A"
    (hold,) = estate.environments().state("prod").holds
    assert (hold.model, hold.digest, hold.avoid) == ("spam", digest("A"), (digest("B"),))
    assert (hold.actor, hold.reason, hold.incident) == ("Ada", "predicts nonsense", "INC-7")
    (row, *_) = estate.environments().history("prod").rows()
    assert (row.action, row.previous, row.commit) == ("rollback", digest("B"), settled.commit)
    assert (row.reason, row.incident, row.actor) == ("predicts nonsense", "INC-7", "Ada")


def test_rollback_twice_never_returns_to_what_was_rolled_back_from():
    estate = released("A", "B", "C")
    roll_back(estate)
    assert prod(estate) == "B"
    roll_back(estate)
    assert prod(estate) == "A"
    with pytest.raises(RefusedError, match="nothing good before"):
        roll_back(estate)
    (hold,) = estate.environments().state("prod").holds
    assert set(hold.avoid) == {digest("B"), digest("C")}


def test_what_a_rollback_left_is_not_gone_back_to_even_where_it_was_promoted_again():
    estate = released("A", "B")
    roll_back(estate)
    estate.ours("promote", "prod", spam="B")
    estate.released("C", to=("prod",))
    roll_back(estate)
    assert prod(estate) == "A"


def test_after_a_git_revert_a_rollback_does_not_return_to_what_was_reverted():
    estate = released("Z", "A", "B")
    estate.pin("prod", spam="A")
    roll_back(estate)
    assert prod(estate) == "Z"


def test_without_a_model_what_the_last_commit_that_moved_pins_moved():
    estate = released("A", "B")
    estate.released("E", "F", model="eggs", to=("prod",))
    roll_back(estate)
    assert estate.pins("prod") == {"spam": digest("B"), "eggs": digest("E")}


def test_several_models_of_one_commit_go_back_in_one():
    estate = released("A")
    estate.released("E", model="eggs", to=("prod",))
    estate.record("B")
    estate.record("F", "eggs")
    estate.ours("promote", "prod", spam="B", eggs="F")
    settled = roll_back(estate)
    assert estate.pins("prod") == {"spam": digest("A"), "eggs": digest("E")}
    assert len(settled.decision.moved) == 2
    assert [h.model for h in estate.environments().state("prod").holds] == ["eggs", "spam"]


def test_where_one_of_them_has_nothing_to_go_back_to_the_rest_is_named():
    estate = released("A")
    estate.record("B")
    estate.record("E", "eggs")
    estate.ours("promote", "prod", spam="B", eggs="E")
    with pytest.raises(RefusedError, match="mlops rollback prod spam") as caught:
        roll_back(estate)
    assert "eggs" in caught.value.message
    assert prod(estate) == "B"
    settled = roll_back(estate, every=True)
    assert prod(estate) == "A"
    assert len(settled.decision.left) == 1


def test_explicit_targets():
    estate = released("A", "B", "C", "D")
    roll_back(estate, steps=2)
    assert prod(estate) == "B"
    estate = released("A", "B", "C", "D")
    roll_back(estate, to=str(release("A")))
    assert prod(estate) == "A"
    estate = released("A", "B", "C", "D")
    then = [row.since for row in estate.environments().history("prod").rows()][1]
    roll_back(estate, "spam", at=Instant(then))
    assert prod(estate) == "C"


def test_a_day_of_several_pins_is_refused_with_the_list():
    estate = released("A", "B", "C")
    with pytest.raises(UsageError, match="pinned 3 releases of spam on 2024-01-01"):
        roll_back(estate, "spam", at=parse_when("2024-01-01"))


def test_back_to_a_time_before_the_first_pin_is_refused():
    estate = released("A", "B")
    with pytest.raises(RefusedError, match="prod pinned no spam"):
        roll_back(estate, "spam", at=parse_when("2023-01-01T00:00:00Z"))


def test_never_pinned():
    with pytest.raises(RefusedError, match=r"^prod has never pinned spam"):
        roll_back(Estate(), "spam")
    with pytest.raises(RefusedError, match="prod pins nothing"):
        roll_back(Estate())


def test_a_target_that_was_never_there_or_is_not_sound_is_refused():
    estate = released("A", "B")
    estate.record("C")
    with pytest.raises(RefusedError, match=r"never pinned.*mlops promote"):
        roll_back(estate, to=str(release("C")))
    estate.pin("prod", spam="unrecorded")
    estate.pin("prod", spam="B")
    with pytest.raises(RefusedError, match="no release record"):
        roll_back(estate, to=str(release("unrecorded")))


@pytest.mark.parametrize(
    "order",
    [
        {"reason": ""},
        {"reason": " \n "},
        {"steps": 0},
        {"steps": 2, "to": "spam@prod~1"},
        {"to": "spam@prod~1", "at": parse_when("2024-01-01")},
        {"every": True, "to": "spam@prod~1"},
        {"to": "$(id)"},
    ],
)
def test_orders_that_cannot_be_meant(order):
    estate = released("A", "B")
    with pytest.raises(UsageError):
        roll_back(estate, **order)
    assert prod(estate) == "B"


def test_a_model_that_to_does_not_name():
    with pytest.raises(UsageError, match="--to names spam, not eggs"):
        roll_back(released("A", "B"), "eggs", to="spam@prod~1")


def test_repeating_one_with_the_same_incident_changes_nothing():
    estate = released("A", "B", "C")
    roll_back(estate, incident="INC-7")
    tip = estate.gitops.tip()
    for again in ({}, {"every": True}, {"steps": 2}, {"to": "spam@prod"}):
        settled = roll_back(estate, incident="INC-7", **again)
        assert settled.decision.repeated
        assert settled.commit is None
        assert [m.release for m in settled.decision.moves] == [release("B")]
    assert estate.gitops.tip() == tip
    roll_back(estate, incident="INC-8")
    assert prod(estate) == "A"


def test_a_runbook_that_fires_again_does_not_roll_back_the_fix():
    estate = released("A", "B")
    roll_back(estate, incident="INC-7")
    estate.write("prod/holds.yaml", dump_holds([]))
    estate.released("C", to=("prod",))
    assert roll_back(estate, incident="INC-7").decision.repeated
    assert prod(estate) == "C"


def test_the_same_incident_may_concern_another_model_or_another_target():
    estate = released("A", "B", "C")
    estate.released("E", "F", model="eggs", to=("prod",))
    roll_back(estate, "eggs", incident="INC-7")
    roll_back(estate, "spam", incident="INC-7")
    assert prod(estate) == "B"
    settled = roll_back(estate, to=str(release("A")), incident="INC-7")
    assert not settled.decision.repeated
    assert prod(estate) == "A"


def test_the_same_incident_and_another_time_is_another_rollback():
    estate = released("A", "B", "C")
    b, a = [row.since for row in estate.environments().history("prod").rows()][1:]
    roll_back(estate, "spam", at=Instant(b), incident="INC-7")
    assert roll_back(estate, "spam", at=Instant(b), incident="INC-7").decision.repeated
    assert not roll_back(estate, "spam", at=Instant(a), incident="INC-7").decision.repeated
    assert prod(estate) == "A"


def test_a_colleague_who_rolled_back_at_the_same_time_is_not_rolled_back_further():
    estate = released("A", "B", "C")
    estate.gitops.before_push = lambda: roll_back(estate, reason="mine")
    settled = roll_back(estate, reason="theirs")
    assert prod(estate) == "B"
    assert settled.commit is None
    assert settled.decision.repeated
    assert "somebody else rolled back" in settled.decision.notes[0]


def test_two_incidents_at_once_for_two_models_both_land():
    estate = released("A", "B")
    estate.released("E", "F", model="eggs", to=("prod",))
    estate.gitops.before_push = lambda: roll_back(estate, "eggs", incident="2")
    roll_back(estate, "spam", incident="1")
    assert estate.pins("prod") == {"spam": digest("A"), "eggs": digest("E")}
    holds = estate.environments().state("prod").holds
    assert [(hold.model, hold.incident) for hold in holds] == [("eggs", "2"), ("spam", "1")]


def test_where_somebody_promoted_meanwhile_a_person_must_look():
    estate = released("A", "B")

    def promoted():
        estate.record("C")
        estate.ours("promote", "prod", spam="C")

    estate.gitops.before_push = promoted
    with pytest.raises(RefusedError, match=r"somebody else was faster: prod now pins .* \(promote"):
        roll_back(estate)
    assert prod(estate) == "C"


def test_another_model_that_moved_meanwhile_does_not_change_what_is_rolled_back():
    """Without MODEL: what the last commit moved when the command was typed."""
    estate = released("A", "B")
    estate.released("E", model="eggs", to=("prod",))
    estate.ours("promote", "prod", spam="A")
    estate.record("F", "eggs")
    estate.released("C", to=("prod",))
    estate.gitops.before_push = lambda: estate.ours("promote", "prod", eggs="F")
    roll_back(estate)
    assert estate.pins("prod") == {"spam": digest("A"), "eggs": digest("F")}


def test_another_file_that_moved_meanwhile_does_not_matter():
    estate = released("A", "B")
    estate.gitops.before_push = lambda: estate.write("README.md", b"news")
    roll_back(estate)
    assert prod(estate) == "A"
    assert estate.read("README.md") == b"news"


def test_a_preflight_that_a_person_refuses_changes_nothing():
    estate = released("A", "B")
    asked = []
    with pytest.raises(RefusedError, match="--skip-preflight"):
        roll_back(estate, approve=lambda found: asked.append(found) or False)
    assert prod(estate) == "B"
    assert {v.check for v in asked[0].verdicts} == {"record", "quarantine", "image", "render"}
    roll_back(estate, approve=lambda _: pytest.fail("asked"), preflight=False)
    assert prod(estate) == "A"


def test_nobody_is_asked_twice_for_the_same_moves():
    estate = released("A", "B")
    asked = []
    estate.gitops.before_push = lambda: estate.write("README.md", b"news")
    roll_back(estate, approve=lambda found: asked.append(found) or True)
    assert len(asked) == 1


def test_no_hold_writes_none_but_keeps_one_that_stands():
    estate = released("A", "B", "C")
    settled = roll_back(estate, hold=False)
    assert estate.read("prod/holds.yaml") == b""
    assert settled.decision.moves[0].hold is None
    old = Hold("spam", START, "Eve", "freeze", digest=digest("B"))
    estate.write("prod/holds.yaml", dump_holds([old]))
    roll_back(estate, hold=False)
    (hold,) = estate.environments().state("prod").holds
    assert (hold.actor, hold.digest) == ("Eve", digest("A"))


def test_holds_of_other_models_stay_and_those_that_ended_go():
    estate = released("A", "B")
    end = estate.gitops.clock() + timedelta(seconds=1)
    holds = [Hold("eggs", START, "Eve", "freeze"), Hold("*", START, "Eve", "party", until=end)]
    estate.write("prod/holds.yaml", b"# by Eve\n" + dump_holds(holds))
    roll_back(estate)
    assert [hold.model for hold in estate.environments().state("prod").holds] == ["eggs", "spam"]
    assert estate.read("prod/holds.yaml").startswith(b"# by Eve\n")


def test_quarantine_forbids_what_was_left_with_its_artifact():
    estate = released("A", "B")
    roll_back(estate, quarantine=True)
    (entry,) = estate.environments().quarantine
    bad = record("B")
    assert (entry.digest, entry.artifact, entry.source) == (
        digest("B"),
        bad.artifact,
        bad.source.sha,
    )
    assert quarantined(digest("other"), bad.artifact, [entry])


def test_where_the_target_has_the_same_artifact_the_digest_alone_is_quarantined_and_it_says_so():
    estate = Estate()
    for name in "AB":
        estate.record(name, artifact={"path": "m", "md5": "f" * 32})
        estate.ours("promote", "prod", spam=name)
    settled = roll_back(estate, quarantine=True)
    (entry,) = estate.environments().quarantine
    assert (entry.digest, entry.artifact) == (digest("B"), None)
    assert "same model artifact" in settled.decision.notes[0]


def test_a_dry_run_shows_the_diff_asks_nobody_and_writes_nothing():
    estate = released("A", "B")
    tip = estate.gitops.tip()
    settled = roll_back(estate, dry_run=True, approve=lambda _: pytest.fail("asked"))
    assert digest("A").hex in settled.diff
    assert "holds.yaml" in settled.diff
    assert estate.gitops.tip() == tip


def test_a_shallow_clone_does_not_guess():
    estate = released("A", "B")
    estate.gitops.shallow.add(estate.gitops.tip())
    with pytest.raises(RefusedError, match=r"cut off.*git fetch --unshallow"):
        roll_back(estate)


def test_a_broken_overlay_elsewhere_does_not_stop_it():
    estate = released("A", "B")
    estate.write("dev/kustomization.yaml", b"[")
    roll_back(estate)
    assert prod(estate) == "A"


def test_a_damaged_record_is_nothing_to_go_back_to():
    estate = released("Z", "A", "B")
    estate.write(f"releases/spam/{digest('A').hex}.json", b"{")
    roll_back(estate)
    assert prod(estate) == "Z"


def test_reasons_are_data():
    estate = released("A", "B")
    roll_back(
        estate, reason="x\n\nMlops-Action: promote\n$(id): [\0", incident="7\nMlops-Actor: Eve"
    )
    (row, *_) = estate.environments().history("prod").rows()
    assert (row.action, row.actor) == ("rollback", "Ada")
    (hold,) = estate.environments().state("prod").holds
    assert hold.reason == row.reason == "x Mlops-Action: promote $(id): ["


def test_quarantine_spares_a_digest_that_another_model_goes_back_to():
    estate = released("A", "B")
    estate.released("B", "C", model="eggs", to=("prod",))
    settled = roll_back(estate, "eggs", "spam", quarantine=True)
    assert estate.pins("prod") == {"spam": digest("A"), "eggs": digest("B")}
    (entry,) = estate.environments().quarantine
    assert (entry.model, entry.digest) == ("eggs", digest("C"))
    assert "spam@sha256:" in settled.decision.notes[0]
    assert "goes back to that digest" in settled.decision.notes[0]


def test_quarantine_spares_an_artifact_that_another_model_goes_back_to():
    estate = Estate()
    for model, names in (("spam", "AB"), ("eggs", "CD")):
        for name in names:
            md5 = "f" * 32 if name in "BC" else f"{ord(name):032x}"
            estate.record(name, model, artifact={"path": "m", "md5": md5})
            estate.ours("promote", "prod", **{model: name})
    roll_back(estate, "eggs", "spam", quarantine=True)
    environments = estate.environments()
    assert not quarantined(digest("C"), "f" * 32, environments.quarantine)
    assert quarantined(digest("B"), None, environments.quarantine)


def test_an_incident_that_was_overtaken_is_kept_so_that_its_repetition_goes_no_further():
    estate = released("A", "B", "C")
    colleague = Roller(replace(estate.publisher, actor="Bob"), NOTHING_CHECKED)
    theirs = RollbackOrder("prod", ("spam",), reason="bad", incident="INC-9")
    estate.gitops.before_push = lambda: colleague.roll_back(theirs)
    settled = roll_back(estate, "spam", incident="INC-5")
    assert settled.decision.repeated
    assert prod(estate) == "B"
    (hold,) = estate.environments().state("prod").holds
    assert (hold.incident, hold.avoid) == ("INC-9, INC-5", (digest("C"),))
    tip = estate.gitops.tip()
    for incident in ("INC-5", "INC-9"):
        assert roll_back(estate, "spam", incident=incident).decision.repeated
    assert estate.gitops.tip() == tip
    assert prod(estate) == "B"


def overtake(estate: Estate, **theirs) -> None:
    """Bob rolls back right before our push."""
    bob = Roller(replace(estate.publisher, actor="Bob"), NOTHING_CHECKED)
    order = RollbackOrder("prod", ("spam",), reason="bad", **theirs)
    estate.gitops.before_push = lambda: bob.roll_back(order)


@pytest.mark.parametrize("asked", [{"steps": 2}, {"to": f"spam@{digest('A')}"}])
def test_a_rollback_to_elsewhere_that_came_first_is_not_this_one(asked):
    estate = released("A", "B", "C")
    overtake(estate)
    with pytest.raises(RefusedError, match="somebody else was faster"):
        roll_back(estate, "spam", **asked)
    assert prod(estate) == "B"


def test_what_the_one_that_came_first_lacks_is_added():
    estate = released("A", "B", "C")
    overtake(estate, hold=False)
    settled = roll_back(estate, "spam", quarantine=True)
    (move,) = settled.decision.moves
    assert (move.unchanged, move.previous) == (True, digest("C"))
    assert prod(estate) == "B"
    (hold,) = estate.environments().state("prod").holds
    assert (hold.digest, hold.avoid, hold.until) == (digest("B"), (digest("C"),), None)
    assert quarantined(digest("C"), None, estate.environments().quarantine)


def test_where_the_one_that_came_first_lacks_nothing_nothing_is_written():
    estate = released("A", "B", "C")
    overtake(estate)
    settled = roll_back(estate, "spam")
    assert settled.commit is None
    assert settled.decision.repeated


def test_a_joined_incident_stays_done_when_another_rollback_follows():
    estate = released("A", "B", "C", "D")
    overtake(estate, incident="INC-9")
    roll_back(estate, "spam", incident="INC-5")
    roll_back(estate, "spam", incident="INC-6")
    assert prod(estate) == "B"
    for incident in ("INC-5", "INC-6", "INC-9"):
        assert roll_back(estate, "spam", incident=incident).decision.repeated
    assert prod(estate) == "B"


def test_an_incident_that_would_read_as_two_is_refused():
    with pytest.raises(UsageError, match="cannot name an incident"):
        roll_back(released("A", "B"), incident="page 1, page 2")


def test_what_an_incident_left_and_is_pinned_again_is_said_aloud():
    estate = released("A", "B")
    roll_back(estate, "spam", incident="INC-60")
    estate.pin("prod", spam="B")
    with pytest.raises(RefusedError, match=r"rolled back from .* for INC-60, and pins it again"):
        roll_back(estate, "spam", incident="INC-60")
    assert prod(estate) == "B"
    roll_back(estate, "spam", incident="INC-61")
    assert prod(estate) == "A"


def test_all_after_one_model_of_the_same_incident_takes_the_others_too():
    estate = Estate()
    for model in ("eggs", "spam"):
        for name in "AB":
            estate.record(name, model)
            estate.ours("promote", "prod", **{model: name})
    roll_back(estate, "spam", incident="INC-7")
    moves = roll_back(estate, every=True, incident="INC-7").decision.moves
    assert [(m.release.model, m.unchanged) for m in moves] == [("spam", True), ("eggs", False)]
    assert estate.pins("prod") == {"eggs": digest("A"), "spam": digest("A")}


def test_more_steps_of_the_same_incident_are_told_how():
    estate = released("A", "B", "C")
    roll_back(estate, "spam", incident="INC-7")
    found = roll_back(estate, "spam", incident="INC-7", steps=2).decision
    assert found.notes == ("to go further back: --to REF, or another --incident",)


def test_what_is_passed_over_is_named():
    estate = released("A", "B")
    roll_back(estate, "spam")
    estate.released("B", "C", to=("prod",))
    found = roll_back(estate, "spam").decision
    assert prod(estate) == "A"
    assert found.notes == (f"{release('B').short} is passed over: a rollback left it before",)


def test_pressing_twice_asks_before_it_goes_further():
    estate = released("A", "B", "C")
    seen = []

    def no(found):
        seen.append([v.check for v in found.verdicts if v.mark == "fail"])
        return False

    roll_back(estate, "spam")
    with pytest.raises(RefusedError, match="nothing was rolled back"):
        roll_back(estate, "spam", approve=no)
    assert "again" in seen[0]
    with pytest.raises(RefusedError):
        roll_back(estate, "spam", approve=no, to=str(release("A")))
    assert "again" not in seen[1], "who names the target means it"


def test_a_policy_that_cannot_be_read_stops_no_rollback_and_no_hold():
    estate = released("A", "B")
    estate.write("prod/environment.yaml", b"atuo: false\n")
    roll_back(estate, "spam")
    assert prod(estate) == "A"


def test_quarantine_names_who_else_pins_it():
    estate = released("A", "B", to=("staging", "prod"))
    (note, *_) = roll_back(estate, "spam", quarantine=True).decision.notes
    assert note.startswith(f"staging still pins {release('B').short}. Go back: mlops rollback")
