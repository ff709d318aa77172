"""When a cron trigger is due: once a moment, made up once, never twice by a clock that goes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from mlops.domain.cron import Cron, moments
from mlops.policy.schedule import Due, NotDue, decide

CRONS = st.sampled_from(
    [
        Cron("* * * * *"),
        Cron("0 3 * * 1"),
        Cron("30 2 * * *", "Europe/Berlin"),
        Cron("*/45 */2 * * *", "America/New_York"),
        Cron("0 0 29 2 *"),
    ]
)
BASE = datetime(2026, 1, 1, tzinfo=UTC)
MINUTES = st.integers(0, 3 * 366 * 24 * 60)


def at(minutes: float) -> datetime:
    return BASE + timedelta(minutes=minutes)


def test_a_moment_is_due_when_it_comes_and_not_before():
    cron, since = Cron("0 3 * * *"), at(0)
    assert decide(at(179.9), since, None, cron) == NotDue(at(180))
    assert decide(at(180), since, None, cron) == Due(at(180))
    assert decide(at(181), since, at(180), cron) == NotDue(at(180 + 24 * 60))


def test_what_was_missed_is_made_up_once():
    cron, handled = Cron("0 3 * * *"), at(180)
    due = decide(at(180 + 30 * 24 * 60), at(0), handled, cron)
    assert due == Due(at(180 + 30 * 24 * 60))


def test_nothing_before_the_trigger_was_first_seen_is_due():
    assert isinstance(decide(at(200), at(181), None, Cron("0 3 * * *")), NotDue)


def test_a_year_of_minutes_is_looked_back_on_in_no_time():
    assert decide(at(366 * 24 * 60), at(0), None, Cron("* * * * *")) == Due(at(366 * 24 * 60))


def test_a_clock_that_was_far_ahead_is_told():
    handled = at(366 * 24 * 60)
    found = decide(at(0), at(0), handled, Cron("0 3 * * *"))
    assert isinstance(found, NotDue)
    assert found.ahead
    assert found.next == handled + timedelta(hours=3)
    assert not decide(at(170), at(0), at(180), Cron("0 3 * * *")).ahead


@given(CRONS, MINUTES, MINUTES)
def test_what_is_due_is_the_newest_moment_that_nobody_handled(cron, since, now):
    since, now = sorted((since, now))
    after, until = at(since), at(now)
    found = decide(until, after, None, cron)
    if isinstance(found, NotDue):
        assert found.next == next(moments(cron, after))
        assert found.next > until
        return
    assert after < found.moment <= until
    assert next(moments(cron, found.moment)) > until


@given(CRONS, st.lists(MINUTES, max_size=20), st.lists(st.integers(-100, 100), max_size=20))
def test_no_clock_makes_a_moment_due_twice(cron, looks, jitter):
    """Looks in any order, by clocks that differ: each moment is handled at most once, ever later ones."""
    handled, all_handled = None, []
    for minutes in [*looks, *jitter]:
        found = decide(at(minutes), at(0), handled, cron)
        if isinstance(found, Due):
            assert found.moment <= at(minutes)
            handled = found.moment
            all_handled.append(handled)
    assert all_handled == sorted(set(all_handled))
