"""Clocks a day off, on both branches: the line says the order, and no interval runs backwards."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest

from mlops.domain.reference import Instant
from mlops.domain.release import record_path
from mlops.engine import references
from mlops.engine.preflight import Preflight
from mlops.engine.rollback import RollbackOrder, Roller
from tests.contract.test_pins_gitops import estate, gitops, real  # noqa: F401 - fixtures
from tests.fakes.estate import Estate, digest, record, release

DAY = 24  # hours


def skewed(estate: Estate, hours: int) -> list:  # noqa: F811
    """A, B and C, ten minutes one after the other; B by somebody whose clock is off. Their times."""
    estate.gitops.clock.pass_time(days=2)
    records = {record_path("environments", "spam", digest(n)): record(n).dump() for n in "ABC"}
    estate.gitops.edit(records, "record")
    times = []
    for name in "ABC":
        with estate.gitops.clock.off(hours=hours if name == "B" else 0):
            estate.ours("promote", "prod", spam=name)
        times.append(estate.gitops.clock.pass_time(minutes=10))
    return times


def at(estate: Estate, moment) -> str:  # noqa: F811
    text = f"spam@prod@{{{moment:%Y-%m-%dT%H:%M:%SZ}}}"
    found = references.release(estate.environments(), text)
    row = estate.environments().history("prod").at(Instant(moment), "spam")[0]
    assert found == row.release
    return next(name for name in "ABC" if release(name) == found)


@pytest.mark.parametrize("hours", [-DAY, DAY])
def test_history_keeps_the_order_of_the_line(estate: Estate, hours: int):  # noqa: F811
    skewed(estate, hours)
    rows = list(estate.environments().history("prod").rows())
    assert [row.digest for row in rows] == [digest(name) for name in "CBA"]
    assert [row.previous for row in rows] == [digest("B"), digest("A"), None]
    for newer, older in pairwise(rows):
        assert older.since <= older.until == newer.since
    assert rows[0].since <= estate.gitops.clock()


def test_a_pin_from_a_clock_a_day_ahead_counts_from_the_next_commit(estate: Estate):  # noqa: F811
    times = skewed(estate, DAY)
    assert [at(estate, times[0]), at(estate, times[2])] == ["A", "C"]
    assert at(estate, times[1] - timedelta(minutes=1)) == "A"
    assert at(estate, times[0] + timedelta(hours=DAY)) == "C"


def test_a_pin_from_a_clock_a_day_behind_counts_from_the_time_it_says(estate: Estate):  # noqa: F811
    times = skewed(estate, -DAY)
    assert [at(estate, times[1] - timedelta(minutes=1)), at(estate, times[2])] == ["B", "C"]
    assert at(estate, times[1] - timedelta(hours=DAY - 1)) == "B"


@pytest.mark.parametrize("hours", [-DAY, DAY])
def test_a_rollback_goes_by_the_line_and_not_by_the_clocks(estate: Estate, hours: int):  # noqa: F811
    skewed(estate, hours)
    order = RollbackOrder("prod", ("spam",), reason="bad")
    Roller(estate.publisher, Preflight()).roll_back(order)
    assert estate.pins("prod") == {"spam": digest("B")}


def test_a_tip_from_tomorrow_stands_now(estate: Estate):  # noqa: F811
    estate.ours("promote", "prod", spam="A")
    estate.gitops.clock.pass_time(minutes=10)
    with estate.gitops.clock.off(hours=DAY):
        estate.ours("promote", "prod", spam="B")
    assert at(estate, estate.gitops.clock()) == "B"
