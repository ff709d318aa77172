"""The judgement of one commit, without a repository."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mlops.domain.digest import ReleaseId
from mlops.policy.guard import Overlay, Rule, Step, Violation, judge
from mlops.policy.quarantine import dropped, quarantined
from tests.fakes.deployment import NOW, banned, held
from tests.fakes.estate import digest, record

A, B, C = (digest(name) for name in "ABC")
ON_A = Overlay({"spam": A})
HELD = replace(ON_A, holds=(held("A"),))


def records(release: ReleaseId):
    return next((record(n) for n in "AB" if record(n).release == release), None)


def step(before: Overlay | None, after: Overlay | None, **more) -> Step:
    sides = [{"prod": side} if side is not None else {} for side in (before, after)]
    return Step(*sides, **{"models": frozenset({"spam"}), "record": records, **more})


def judged(before: Overlay | None, after: Overlay | None, **more) -> list[Rule]:
    return [found.rule for found in judge(step(before, after, **more), NOW)]


@pytest.mark.parametrize(
    ("after", "rules"),
    [
        (HELD, []),
        (Overlay({"spam": A}), []),
        (Overlay({"spam": B}, holds=(held("B"),)), []),
        (Overlay({"spam": B}, holds=(held("A"),)), [Rule.HOLD]),
        (Overlay({"spam": B}), [Rule.HOLD]),
        (Overlay({}, holds=(held("A"),)), [Rule.HOLD]),
        (None, [Rule.HOLD]),
        (Overlay({"spam": A}, holds=(held("B"),)), [Rule.HOLD]),
        (Overlay({"spam": B}, holds=(held("B"), held("A", "eggs"))), []),
        (Overlay({"spam": B}, holds=(held("B", until=NOW + timedelta(days=9)),)), [Rule.HOLD]),
        (Overlay(fault="broken"), [Rule.UNREADABLE]),
        (Overlay({"spam": A}, holds_fault="broken"), [Rule.UNREADABLE]),
        (Overlay({"spam": A, "nginx": C}, holds=(held("A"),)), []),
    ],
)
def test_a_held_pin(after, rules):
    assert judged(HELD, after) == rules


def test_a_hold_says_who_why_and_what_to_do():
    (found,) = judge(step(HELD, Overlay({"spam": B})), NOW)
    assert found == Violation(
        Rule.HOLD,
        f"prod is held by Ada: INC-7; this moves spam to sha256:{B.short} and lifts the hold with it",
        "Lift it first, in a commit of its own: mlops resume prod spam",
        "prod",
        "spam",
    )
    (found,) = judge(step(HELD, Overlay({"spam": B}, holds=HELD.holds)), NOW)
    assert f"mlops promote spam@sha256:{B.short} --to prod --despite-hold" in found.hint


def test_what_is_pinned_needs_a_record_and_no_entry():
    assert judged(ON_A, Overlay({"spam": B})) == []
    assert judged(ON_A, Overlay({"spam": C})) == [Rule.RECORD]
    entries = (banned("B"),)
    assert judged(ON_A, Overlay({"spam": B}), forbidden=entries) == [Rule.QUARANTINE]
    assert judged(ON_A, Overlay({"spam": B}), quarantine=entries) == [Rule.QUARANTINE] * 2
    assert judged(ON_A, Overlay({"nginx": B}), forbidden=entries) == [Rule.QUARANTINE]
    assert judged(Overlay({"spam": B}), Overlay({"spam": B}), forbidden=entries) == []


def test_records_and_files_that_are_spoiled():
    found = judge(step(None, None, spoiled={"r.json": "is changed"}, faults=("broken",)), NOW)
    assert [each.rule for each in found] == [Rule.RECORD, Rule.UNREADABLE]


def test_entries_that_are_dropped_narrowed_and_widened():
    wide = banned("A", artifact="f" * 32)
    assert dropped([wide], [wide]) == ()
    assert dropped([wide], []) == (wide,)
    assert dropped([wide], [banned("A")]) == (wide,)
    assert dropped([banned("A")], [wide]) == ()
    assert dropped([banned("A")], [banned("A", "eggs")]) == (banned("A"),)


def test_the_entry_of_a_digest_comes_before_that_of_its_artifact():
    entries = (banned("A", artifact="f" * 32), banned("B"))
    assert quarantined(B, "f" * 32, entries) == banned("B")
    assert quarantined(C, "f" * 32, entries) == entries[0]
    assert quarantined(C, None, entries) is None
