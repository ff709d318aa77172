"""Changed data: brought in once it stands still, not too often, and never the same twice."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from mlops.domain.trigger import Data
from mlops.policy.arrival import Arrived, Changed, Known, Same, Waits, decide

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DATA = Data("data/raw.dvc", cool_down=3600, settle=600)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def test_what_git_names_and_what_was_brought_in_is_the_same():
    assert decide(NOW, "a", "a", Known(), DATA) == Same()
    assert decide(NOW, "a", "b", Known(handled="b", at=ago(9)), DATA) == Same()


def test_a_change_stands_still_before_it_is_brought_in():
    assert decide(NOW, "a", "b", Known(), DATA) == Changed()
    assert decide(NOW, "a", "c", Known("b", ago(900)), DATA) == Changed()
    assert decide(NOW, "a", "b", Known("b", ago(599)), DATA) == Waits(NOW + timedelta(seconds=1))
    assert decide(NOW, "a", "b", Known("b", ago(600)), DATA) == Arrived()


def test_the_next_change_waits_for_the_cool_down():
    known = Known("c", ago(900), "b", ago(1000))
    assert decide(NOW, "a", "c", known, DATA) == Waits(NOW + timedelta(seconds=2600))
    assert decide(NOW, "a", "c", replace(known, at=ago(3600)), DATA) == Arrived()


def test_a_clock_that_was_put_back_waits_anew_and_not_for_ever():
    ahead = NOW + timedelta(days=400)
    assert decide(NOW, "a", "c", Known("c", ahead, "b", ago(9999)), DATA) == Changed()
    assert decide(NOW, "a", "c", Known("c", ago(600), "b", ahead), DATA) == Arrived()


@given(st.lists(st.tuples(st.integers(0, 4000), st.sampled_from("abcd")), max_size=40))
def test_nothing_is_brought_in_twice_in_a_row_nor_within_the_cool_down(looks):
    """A source that changes as it likes, looked at as often as one likes."""
    now, known, brought = NOW, Known(), []
    for seconds, upstream in looks:
        now += timedelta(seconds=seconds)
        found = decide(now, "a", upstream, known, DATA)
        if isinstance(found, Changed):
            known = replace(known, seen=upstream, since=now)
        elif isinstance(found, Arrived):
            assert upstream not in ("a", known.handled)
            assert known.since is not None
            assert now - known.since >= timedelta(seconds=600)
            known = replace(known, handled=upstream, at=now)
            brought.append(now)
        elif isinstance(found, Waits):
            assert found.until > now
    for first, second in itertools.pairwise(brought):
        assert second - first >= timedelta(seconds=3600)
