"""Times of a run when the machine's clock is set while it runs."""

import time
from datetime import UTC, datetime, timedelta

from mlops.adapters.executors.local.record import clock
from mlops.adapters.executors.local.record.clock import Clock

NOON = datetime(2019, 7, 16, 12, tzinfo=UTC)


class Hands:
    """Both clocks of a machine, moved by hand."""

    def __init__(self, monkeypatch):
        self.wall, self.steady = NOON.timestamp(), 100.0
        monkeypatch.setattr(time, "time", lambda: self.wall)
        monkeypatch.setattr(time, "clock_gettime", self.read)

    def read(self, which):
        assert which == clock._STEADY
        return self.steady

    def go(self, seconds):
        self.wall += seconds
        self.steady += seconds


def test_a_clock_set_back_gives_no_negative_duration(monkeypatch):
    hands = Hands(monkeypatch)
    own = Clock()
    first = own.now()
    hands.go(5)
    hands.wall -= 3600
    assert own.now() - first == timedelta(seconds=5)


def test_a_clock_set_forward_makes_nothing_longer(monkeypatch):
    hands = Hands(monkeypatch)
    own = Clock()
    hands.go(1)
    hands.wall += 86400
    assert own.now() == NOON + timedelta(seconds=1)


def test_an_attempt_after_the_clock_was_set_back_comes_after_the_one_before(monkeypatch):
    hands = Hands(monkeypatch)
    ended = Clock().now()
    hands.wall -= 3600
    assert Clock(ended).now() == ended
    hands.wall += 7200
    assert Clock(ended).now() > ended
