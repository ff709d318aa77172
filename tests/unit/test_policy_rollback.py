"""Rollbacks: where an environment goes back to, held by invariants over any history."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.environment import Hold, QuarantineEntry
from mlops.domain.history import EDIT, PROMOTE, ROLLBACK, PinRow
from mlops.domain.release import ReleaseRecord
from mlops.domain.source import Commit
from mlops.policy.refusal import Ground, Refusal
from mlops.policy.rollback import Order, Rollback, Situation, decide, predecessors

START = datetime(2019, 7, 16, tzinfo=UTC)
A, B, C, D = (Digest(letter * 64) for letter in "abcd")
Move = tuple[str, Digest]


def record(digest: Digest, artifact: str = "") -> ReleaseRecord:
    release = ReleaseId("spam", digest)
    document = {
        "release": str(release),
        "source": {"commit": "1" * 40},
        "artifact": {"md5": artifact or digest.hex[:32]},
    }
    return ReleaseRecord.of(document)


def rows(*moves: Move, incident: str = "") -> tuple[PinRow, ...]:
    """The pins that these moves, oldest first, make: newest first, a minute apart."""
    found: list[PinRow] = []
    for number, (action, digest) in enumerate(moves):
        since = START + timedelta(minutes=number)
        previous = found[-1].digest if found else None
        if found:
            found[-1] = replace(found[-1], until=since)
        found.append(
            PinRow(
                environment="prod",
                release=ReleaseId("spam", digest),
                previous=previous,
                since=since,
                until=None,
                commit=Commit(f"{number:040x}"),
                author="ada",
                action=action,
                incident=incident if action == ROLLBACK else "",
            )
        )
    return tuple(reversed(found))


def situation(*moves: Move, **more: object) -> Situation:
    listed = rows(*moves)
    current = listed[0].digest if listed else None
    return replace(Situation("prod", "spam", current, listed, record), **more)  # type: ignore[arg-type]


def order(**more: object) -> Order:
    return replace(Order("ada", "it predicts nonsense", START + timedelta(days=1)), **more)  # type: ignore[arg-type]


def before(*moves: Move) -> tuple[Digest, ...]:
    listed = rows(*moves)
    return predecessors(listed, listed[0].digest, lambda _: True)


P, R, E = PROMOTE, ROLLBACK, EDIT


@pytest.mark.parametrize(
    ("moves", "expected"),
    [
        ([(P, A)], ()),
        ([(P, A), (P, B)], (A,)),
        ([(P, A), (P, B), (P, C)], (B, A)),
        ([(P, A), (P, B), (R, A)], ()),
        ([(P, D), (P, A), (P, B), (R, A)], (D,)),
        ([(P, A), (P, B), (P, C), (R, B), (R, A)], ()),
        ([(P, A), (P, B), (R, A), (P, C)], (A,)),
        ([(P, A), (P, B), (P, C), (R, A), (P, D)], (A,)),
        ([(P, A), (P, B), (R, A), (P, B), (P, C)], (A,)),
        # a person's `git revert` of B's promotion goes back too, and back again forward
        ([(P, D), (P, A), (P, B), (E, A)], (D,)),
        ([(P, A), (P, B), (E, A), (E, B)], (A,)),
        # other tools' commits count as moves
        ([(E, A), (E, B), (E, C)], (B, A)),
        # a promotion back and forth names each once, and never the current one
        ([(P, A), (P, B), (P, A), (P, B)], (A,)),
    ],
)
def test_what_stood_before(moves: list[Move], expected: tuple[Digest, ...]) -> None:
    assert before(*moves) == expected


def test_a_pin_that_was_taken_out_for_a_while() -> None:
    listed = rows((P, A), (P, B))
    gap = (replace(listed[0], previous=None), listed[1])
    assert predecessors(gap, B, lambda _: True) == (A,)


def test_nothing_is_known_beyond_the_end_of_a_shallow_clone() -> None:
    listed = rows((P, A), (P, B), (P, C))
    cut = (listed[0], replace(listed[1], cut=True, previous=None), listed[2])
    assert predecessors(cut, C, lambda _: True) == (B,)


@dataclass(frozen=True)
class Story:
    moves: tuple[Move, ...]


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Promotions of a few digests, and rollbacks as the policy itself decides them."""
    moves: list[Move] = [(P, A)]
    digests = [Digest(f"{number:064x}") for number in range(6)]
    for _ in range(draw(st.integers(0, 14))):
        current = moves[-1][1]
        if draw(st.booleans()):
            found = decide(situation(*moves), order(steps=draw(st.integers(1, 2))))
            if isinstance(found, Rollback):
                moves.append((R, found.release.digest))
        else:
            other = draw(st.sampled_from([d for d in digests if d != current]))
            moves.append((P, other))
    return Story(tuple(moves))


@given(stories(), st.sets(st.sampled_from([Digest(f"{n:064x}") for n in range(6)]), max_size=3))
def test_never_back_to_what_a_rollback_left(story: Story, barred: set[Digest]) -> None:
    listed = rows(*story.moves)
    found = predecessors(listed, listed[0].digest, lambda d: d not in barred)
    left = {row.previous for row in listed if row.action == ROLLBACK}
    assert not left & set(found)
    assert not barred & set(found)
    assert listed[0].digest not in found
    assert len(set(found)) == len(found)
    assert set(found) <= {row.digest for row in listed}


@given(stories())
def test_rolling_back_again_and_again_only_goes_further_back(story: Story) -> None:
    moves = list(story.moves)
    seen = {moves[-1][1]}
    while isinstance(found := decide(situation(*moves), order()), Rollback):
        assert found.release.digest not in seen
        seen.add(found.release.digest)
        moves.append((R, found.release.digest))
    assert isinstance(found, Refusal)
    assert found.ground is Ground.HISTORY


@given(stories(), st.sampled_from([Digest(f"{n:064x}") for n in range(6, 9)]))
def test_a_rollback_of_a_fresh_promotion_undoes_it(story: Story, fresh: Digest) -> None:
    """Whatever came before: promote something new, roll back, and the old one stands, unless a
    rollback had left that one too."""
    current = story.moves[-1][1]
    moves = (*story.moves, (P, fresh))
    left = {row.previous for row in rows(*moves) if row.action == ROLLBACK}
    found = decide(situation(*moves), order())
    if current not in left:
        assert isinstance(found, Rollback)
        assert found.release.digest == current


def test_a_rollback_holds_what_it_went_back_to_and_keeps_the_bad_out() -> None:
    found = decide(situation((P, A), (P, B)), order(incident="INC-1"))
    assert isinstance(found, Rollback)
    assert (found.release, found.previous, found.unchanged) == (ReleaseId("spam", A), B, False)
    assert found.hold == Hold(
        "spam",
        order().now,
        "ada",
        "it predicts nonsense",
        digest=A,
        incident="INC-1",
        avoid=(B,),
    )


def test_what_is_kept_out_adds_up() -> None:
    hold = Hold("spam", START, "ada", "first", digest=B, avoid=(C,))
    found = decide(situation((P, A), (P, B), (P, C), (R, B), hold=hold), order())
    assert isinstance(found, Rollback)
    assert found.hold is not None
    assert (found.hold.digest, found.hold.avoid) == (A, (C, B))


def test_no_hold_where_none_is_wanted() -> None:
    found = decide(situation((P, A), (P, B)), order(hold=False))
    assert isinstance(found, Rollback)
    assert found.hold is None


def test_the_same_incident_again_changes_nothing() -> None:
    listed = rows((P, A), (P, B), (P, C), (R, B), incident="INC-1")
    again = replace(situation((P, A), (P, B), (P, C), (R, B)), rows=listed)
    found = decide(again, order(incident="INC-1"))
    assert isinstance(found, Rollback)
    assert found.unchanged
    assert found.release.digest == B
    other = decide(again, order(incident="INC-2"))
    assert isinstance(other, Rollback)
    assert (other.unchanged, other.release.digest) == (False, A)


def test_the_same_incident_with_another_target_is_another_rollback() -> None:
    listed = rows((P, A), (P, B), (P, C), (R, B), incident="INC-1")
    found = decide(
        replace(situation((P, A), (P, B), (P, C), (R, B)), rows=listed),
        order(incident="INC-1", to=A),
    )
    assert isinstance(found, Rollback)
    assert (found.unchanged, found.release.digest) == (False, A)


def test_the_hold_alone_tells_that_an_incident_was_dealt_with() -> None:
    """The history is cut off, or the rollback was done by hand with the hold."""
    hold = Hold("spam", START, "ada", "x", digest=A, incident="INC-1", avoid=(B,))
    found = decide(situation((P, A), (P, B), (E, A), hold=hold), order(incident="INC-1"))
    assert isinstance(found, Rollback)
    assert found.unchanged
    back = decide(situation((P, A), (P, B), hold=hold), order(incident="INC-1"))
    assert isinstance(back, Rollback)
    assert not back.unchanged, "what it keeps out is pinned again"


def refusal(found: Rollback | Refusal) -> Refusal:
    assert isinstance(found, Refusal)
    return found


def test_refusals_explain() -> None:
    assert refusal(decide(situation(), order())).reason == "prod has never pinned spam"
    gone = replace(situation((P, A)), current=None)
    assert refusal(decide(gone, order())).reason == "prod pins no spam now"
    alone = refusal(decide(situation((P, A)), order()))
    assert alone.reason == f"prod has pinned nothing before spam@sha256:{'a' * 12}"
    far = refusal(decide(situation((P, A), (P, B)), order(steps=2)))
    assert far.reason == f"prod pinned 1 good release of spam before spam@sha256:{'b' * 12}, not 2"
    back = refusal(decide(situation((P, A), (P, B), (R, A)), order()))
    assert back.reason.endswith(f"spam@sha256:{'b' * 12} was rolled back from")


def test_what_is_quarantined_or_unrecorded_is_passed_over() -> None:
    bad = QuarantineEntry("spam", B, START, "ada", "broken")
    found = decide(situation((P, A), (P, B), (P, C), quarantine=(bad,)), order())
    assert isinstance(found, Rollback)
    assert found.release.digest == A
    found = decide(
        situation((P, A), (P, B), (P, C), record=lambda d: None if d == B else record(d)), order()
    )
    assert isinstance(found, Rollback)
    assert found.release.digest == A


def test_the_same_artifact_under_another_digest_is_quarantined_too() -> None:
    bad = QuarantineEntry("other", D, START, "ada", "broken", artifact=B.hex[:32])
    found = decide(situation((P, A), (P, B), (P, C), quarantine=(bad,)), order())
    assert isinstance(found, Rollback)
    assert found.release.digest == A
    only = refusal(decide(situation((P, B), (P, C), quarantine=(bad,)), order()))
    assert "nothing good before" in only.reason
    assert "the same model artifact" in only.reason


@pytest.mark.parametrize(
    ("to", "said"),
    [
        (A, "prod pins spam@sha256:aaaaaaaaaaaa already"),
        (B, "prod was rolled back from spam@sha256:bbbbbbbbbbbb"),
        (D, "prod has never pinned spam@sha256:dddddddddddd"),
    ],
)
def test_an_explicit_target_must_be_one_to_go_back_to(to: Digest, said: str) -> None:
    found = refusal(decide(situation((P, C), (P, A), (P, B), (R, A)), order(to=to)))
    assert found.reason == said


def test_an_explicit_target_may_lie_further_back() -> None:
    found = decide(situation((P, C), (P, A), (P, B)), order(to=C))
    assert isinstance(found, Rollback)
    assert found.release.digest == C
    bad = QuarantineEntry("spam", C, START, "ada", "broken")
    assert (
        "quarantined"
        in refusal(decide(situation((P, C), (P, A), quarantine=(bad,)), order(to=C))).reason
    )


def test_what_stood_at_an_instant() -> None:
    listed = situation((P, A), (P, B), (P, C))
    at = START + timedelta(minutes=1, seconds=30)
    found = decide(listed, order(at=at))
    assert isinstance(found, Rollback)
    assert found.release.digest == B
    early = refusal(decide(listed, order(at=START - timedelta(seconds=1))))
    assert early.reason == "prod pinned no spam at 2019-07-15T23:59:59Z"
