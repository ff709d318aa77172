from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlops.policy.timetable import LONGEST, SPREAD, Appointment, first, pause

LUCK = st.floats(0, 1)


@given(st.floats(1, 3600), LUCK)
def test_the_next_look_comes_within_a_tenth_of_the_interval(interval, luck):
    assert interval * (1 - SPREAD) * 0.999 <= pause(interval, 0, luck)
    assert pause(interval, 0, luck) <= interval * (1 + SPREAD) * 1.001


@given(st.floats(1, 3600), st.integers(0, 10_000), LUCK)
def test_a_repository_that_fails_is_asked_later_and_later_but_is_asked(interval, failures, luck):
    assert pause(interval, failures, luck) <= max(interval, LONGEST) * (1 + SPREAD) * 1.001
    assert pause(interval, failures + 1, 0.5) >= pause(interval, failures, 0.5)


def test_a_look_that_succeeds_forgets_the_failures():
    failing = Appointment(10.0, 0.0).begun().done(5.0, 0.5, failed=True)
    assert (failing.failures, failing.due) == (1, 25.0)
    assert failing.begun().done(30.0, 0.5, failed=False) == Appointment(10.0, 40.0)


def test_who_asks_during_a_look_gets_another_one_at_once_and_only_one():
    looking = Appointment(10.0, 0.0).begun().asked(1.0).asked(2.0)
    assert looking.looking
    after = looking.done(3.0, 0.5, failed=False)
    assert (after.due, after.again, after.looking) == (3.0, False, False)
    assert after.begun().done(4.0, 0.5, failed=False).due == 14.0


def test_who_asks_of_a_failing_repository_does_not_keep_it_from_its_pause():
    assert Appointment(10.0, 0.0).begun().asked(1.0).done(2.0, 0.5, failed=True).due == 22.0
    assert Appointment(10.0, 50.0, failures=3).asked(1.0).due == 1.0


def test_many_repositories_begin_spread_over_their_interval():
    assert first(30.0, 100.0, 0.5, several=8).due == 100.0
    assert first(30.0, 100.0, 0.5, several=9).due == 115.0
