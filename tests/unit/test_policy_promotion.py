"""Promotions: what a release must have behind it to enter an environment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.environment import EnvironmentPolicy, GateRule, Hold, QuarantineEntry
from mlops.domain.history import PROMOTE, PinRow
from mlops.domain.release import ReleaseRecord
from mlops.domain.source import Commit
from mlops.policy.promotion import Candidate, Direction, Entry, Promotion, auto_candidates, decide
from mlops.policy.refusal import Ground, Refusal

NOW = datetime(2019, 7, 16, 12, tzinfo=UTC)
A, B = (Digest(letter * 64) for letter in "ab")
STAGING = EnvironmentPolicy("staging", ("dev",))


def record(digest: Digest, **document: Any) -> ReleaseRecord:
    return ReleaseRecord.of(
        {
            "release": f"spam@{digest}",
            "source": {"commit": "1" * 40},
            "artifact": {"md5": digest.hex[:32]},
            "metrics": {"accuracy": 0.9},
            "run": {"runtime": "sandbox"},
            "base": {"ref": "python:3.12-slim"},
            **document,
        }
    )


def row(digest: Digest, since: timedelta, until: timedelta | None = None) -> PinRow:
    return PinRow(
        "dev",
        ReleaseId("spam", digest),
        None,
        NOW - since,
        None if until is None else NOW - until,
        Commit("1" * 40),
        "ada",
        PROMOTE,
    )


ENTRY = Entry(
    release=ReleaseId("spam", A),
    record=record(A),
    policy=STAGING,
    before=(row(A, timedelta(minutes=29)),),
)


def refused(entry: Entry, **options: bool) -> Refusal:
    found = decide(entry, NOW, **options)
    assert isinstance(found, Refusal), found
    return found


def allowed(entry: Entry, **options: bool) -> Promotion:
    found = decide(entry, NOW, **options)
    assert isinstance(found, Promotion), found
    return found


def test_a_release_that_was_where_it_must_come_from() -> None:
    found = allowed(ENTRY)
    assert (found.release, found.environment, found.previous) == (ENTRY.release, "staging", None)
    assert not found.unchanged


def test_what_is_pinned_already_is_no_change_whatever_speaks_against_it() -> None:
    found = allowed(replace(ENTRY, pinned=A, record=None, holds=(hold(),)), automatic=True)
    assert found.unchanged


def test_without_a_record_nothing_moves() -> None:
    assert refused(replace(ENTRY, record=None)).ground is Ground.RECORD


@pytest.mark.parametrize("entry", [
    QuarantineEntry("spam", A, NOW, "ada", "bad"),
    QuarantineEntry("ham", B, NOW, "ada", "bad", artifact=A.hex[:32]),
])  # fmt: skip
def test_quarantine_forbids_by_digest_and_by_artifact(entry: QuarantineEntry) -> None:
    found = refused(replace(ENTRY, quarantine=(entry,)))
    assert found.ground is Ground.QUARANTINE
    assert "by ada: bad" in found.reason
    assert f"--lift {entry.model}@{entry.digest}" in found.hint


def test_quarantine_of_another_release_is_not_ours() -> None:
    other = QuarantineEntry("spam", B, NOW, "ada", "bad", artifact=B.hex[:32])
    allowed(replace(ENTRY, quarantine=(other,)))


def test_a_release_must_have_been_in_the_environment_before() -> None:
    found = refused(replace(ENTRY, before=(row(B, timedelta(days=1)),)))
    assert found.ground is Ground.SOURCE
    assert found.reason.startswith("staging takes releases from dev, which has never pinned spam@")
    assert "--to dev" in found.hint
    allowed(replace(ENTRY, before=(), policy=EnvironmentPolicy("dev")))


def test_a_release_that_dev_has_moved_on_from_may_still_go() -> None:
    allowed(
        replace(
            ENTRY,
            before=(row(B, timedelta(minutes=1)), row(A, timedelta(days=1), timedelta(minutes=1))),
        )
    )


def test_soak_is_waited_for() -> None:
    policy = replace(STAGING, soak=1800.0)
    found = refused(replace(ENTRY, policy=policy))
    assert found.ground is Ground.SOAK
    assert found.reason == "spam@sha256:aaaaaaaaaaaa was in dev for 29 min, staging asks for 30 min"
    assert found.hint == "It may at 2019-07-16T12:01:00Z"
    allowed(replace(ENTRY, policy=policy, before=(row(A, timedelta(minutes=30)),)))


def test_the_longest_stay_counts_not_the_sum() -> None:
    policy = replace(STAGING, soak=1800.0)
    stays = tuple(row(A, timedelta(hours=n), timedelta(hours=n - 0.4)) for n in (3, 2))
    assert refused(replace(ENTRY, policy=policy, before=stays)).hint == "Pin it in dev again"
    long = row(A, timedelta(hours=3), timedelta(hours=2))
    allowed(replace(ENTRY, policy=policy, before=(stays[1], long)))


def hold(model: str = "spam", **more: Any) -> Hold:
    return Hold(model, NOW, "ada", "incident", **more)


def test_a_hold_stops_automation_and_a_person_must_say_so() -> None:
    held = replace(ENTRY, holds=(hold(),))
    for options in ({"automatic": True}, {}, {"automatic": True, "despite_hold": True}):
        found = refused(held, **options)
        assert found.ground is Ground.HELD
        assert found.reason == "staging is held by ada: incident"
        assert "mlops resume staging spam" in found.hint
    assert allowed(held, despite_hold=True).notes == ("despite the hold of ada: incident",)
    assert "mlops resume staging," in refused(replace(ENTRY, holds=(hold("*"),))).hint


def test_automation_does_not_carry_on_what_was_rolled_back_upstream() -> None:
    bad = replace(ENTRY, upstream=(hold(avoid=(A,)),))
    assert refused(bad, automatic=True).ground is Ground.HELD
    assert "rolled back" in allowed(bad).notes[0]
    allowed(replace(ENTRY, upstream=(hold(avoid=(B,)),)), automatic=True)


def test_automation_never_moves_back() -> None:
    back = replace(ENTRY, pinned=B, target=record(B), direction=Direction.BACK)
    found = refused(back, automatic=True)
    assert found.ground is Ground.SUPERSEDED
    assert found.reason == (
        "spam@sha256:aaaaaaaaaaaa is made of older source than spam@sha256:bbbbbbbbbbbb, which staging pins"
    )


def test_a_person_goes_back_to_what_was_there_by_a_rollback() -> None:
    back = replace(ENTRY, pinned=B, target=record(B), direction=Direction.BACK)
    found = refused(replace(back, here=(row(A, timedelta(days=1)),)))
    assert found.hint == f"Go back to it: mlops rollback staging spam --to spam@{A}"
    assert allowed(back).notes == ("this moves staging to older source",)


@pytest.mark.parametrize("direction", [Direction.FORWARD, Direction.SAME, Direction.ASIDE])
def test_other_directions_pass(direction: Direction) -> None:
    allowed(replace(ENTRY, pinned=B, target=record(B), direction=direction), automatic=True)


@pytest.mark.parametrize(
    ("requirement", "document", "met"),
    [
        ("sandbox", {}, True),
        ("runtime: sandbox", {}, True),
        ("sandbox", {"run": {"runtime": "process"}}, False),
        ("sandbox", {"run": {}}, False),
        ("no-host-base", {}, True),
        ("no-host-base", {"base": {"ref": "host"}}, False),
        ("no-host-base", {"base": {"ref": "base-host@sha256:12"}}, False),
        ("no-host-base", {"base": {}}, False),
        ("reviewed-by-the-pope", {}, False),
    ],
)
def test_requirements(requirement: str, document: dict[str, Any], met: bool) -> None:
    entry = replace(
        ENTRY, record=record(A, **document), policy=replace(STAGING, require=(requirement,))
    )
    found = decide(entry, NOW)
    assert isinstance(found, Promotion) is met
    if isinstance(found, Refusal):
        assert found.ground is Ground.REQUIREMENT


def test_gates_are_judged_against_what_is_pinned() -> None:
    rules = (GateRule("accuracy", min=0.8), GateRule("accuracy", max_regression=0.02))
    gated = replace(ENTRY, rules=rules, pinned=B, target=record(B, metrics={"accuracy": 0.95}))
    found = refused(gated)
    assert found.ground is Ground.GATE
    assert found.reason == (
        "the gates of staging refuse spam@sha256:aaaaaaaaaaaa: "
        "accuracy falls by 0.02 at most: it went from 0.95 to 0.9"
    )
    assert len(allowed(replace(gated, target=record(B))).verdicts) == 2
    assert (
        allowed(replace(gated, pinned=None, target=None)).verdicts[1].verdict.startswith("pass: ")
    )


def test_automation_tries_what_it_may() -> None:
    policies = (
        EnvironmentPolicy("dev"),
        EnvironmentPolicy("staging", ("dev",), auto=True),
        EnvironmentPolicy("prod", ("staging",)),
    )
    pins = {"dev": {"spam": A, "ham": B}, "staging": {"ham": B}, "prod": {}}
    assert auto_candidates(policies, pins) == (Candidate(ReleaseId("spam", A), "staging"),)
