"""Later and later, never much over an hour, and not for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from mlops.policy import backoff

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LUCK = st.floats(0, 1)
FAILURES = st.integers(-3, 10**6)


@given(FAILURES, LUCK)
def test_a_pause_is_within_its_bounds(failures, luck):
    pause = backoff.pause(failures, luck)
    assert backoff.FIRST * 0.75 <= pause <= backoff.LONGEST * 1.25


@given(st.integers(1, 100), LUCK, LUCK)
def test_the_next_but_one_pause_is_never_shorter(failures, luck, other):
    assert backoff.pause(failures + 2, luck) >= min(
        backoff.pause(failures, other), backoff.LONGEST * 0.75
    )


def test_pauses_double_from_a_minute_to_an_hour():
    pauses = [backoff.pause(count, 0.5) / timedelta(minutes=1) for count in range(1, 9)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


def test_luck_spreads_what_one_outage_failed():
    assert len({backoff.pause(3, luck / 10) for luck in range(11)}) == 11


@given(FAILURES)
def test_somebody_must_ask_after_the_eighth(failures):
    assert backoff.given_up(failures) is (failures >= 8)


@given(FAILURES, LUCK)
def test_a_pause_keeps_back_until_it_is_over(failures, luck):
    after = NOW + backoff.pause(failures, luck)
    assert backoff.due(after, NOW) == after
    assert backoff.due(after, after) is None


def test_a_wrong_clock_keeps_nothing_back():
    assert backoff.due(NOW + timedelta(days=400), NOW) is None
    assert backoff.due(NOW - timedelta(days=400), NOW) is None
    assert backoff.due(None, NOW) is None
