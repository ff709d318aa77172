from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from mlops.domain.delivery import Delivery, Provider
from mlops.engine.heeding import NONE, Heeding
from mlops.ports import Pending

START = datetime(2026, 11, 28, tzinfo=UTC)
URLS = {"shop": ["git@example.com:ml/shop.git"], "prices": ["https://example.com/ml/prices"]}


def delivery(number: int, *repositories: str) -> Pending:
    made = Delivery(Provider.GITHUB, f"{number}", "push", repositories, (), START, "0" * 64)
    return Pending(number, made)


@dataclass
class Memory:
    """Deliveries in memory, looks that are asked for, and what was heard."""

    waiting: list[Pending] = field(default_factory=list)
    finished: dict[int, str] = field(default_factory=dict)
    asked: list[tuple] = field(default_factory=list)
    told: list[tuple[str, float]] = field(default_factory=list)

    def pending(self):
        return tuple(each for each in self.waiting if each.number not in self.finished)

    def done(self, numbers, outcome):
        for number in numbers:
            assert number not in self.finished
            self.finished[number] = outcome

    def wait(self, timeout):
        raise AssertionError

    def ask(self, name, then):
        self.asked.append((name, then))

    def heeded(self, outcome, seconds):
        self.told.append((outcome, seconds))

    def heeding(self) -> Heeding:
        return Heeding(self, self.ask, lambda: URLS, lambda: START + timedelta(seconds=1), self)


def test_deliveries_of_one_repository_ask_for_one_look_and_are_done_after_it():
    memory = Memory([delivery(1, "https://example.com/ml/shop"), delivery(2, "ml/shop")])
    heeding = memory.heeding()
    heeding.heed()
    heeding.heed()  # they are still pending, and asked for already
    ((name, then),) = memory.asked
    assert name == "shop"
    assert memory.finished == {}
    then(True)
    assert memory.finished == {1: "looked", 2: "looked"}
    assert memory.told == [("looked", 1.0), ("looked", 1.0)]


def test_an_unknown_repository_is_recorded_as_such():
    memory = Memory([delivery(1, "https://example.com/ml/other")])
    memory.heeding().heed()
    assert memory.finished == {1: NONE}
    assert memory.asked == []


def test_one_that_names_no_repository_is_done_once_all_are_looked_at():
    memory = Memory([delivery(1)])
    memory.heeding().heed()
    assert [name for name, _ in memory.asked] == ["shop", "prices"]
    memory.asked[0][1](False)
    assert memory.finished == {}
    memory.asked[1][1](True)
    assert memory.finished == {1: "failed"}


@given(
    st.lists(
        st.lists(st.sampled_from(["ml/shop", "ml/prices", "ml/none"]), max_size=2), max_size=8
    ),
    st.data(),
)
def test_each_delivery_is_done_once_in_whatever_order_looks_end(found, data):
    memory = Memory()
    heeding = memory.heeding()
    for number, repositories in enumerate(found):
        memory.waiting.append(delivery(number, *repositories))
        heeding.heed()
        while memory.asked and data.draw(st.booleans()):
            memory.asked.pop(data.draw(st.integers(0, len(memory.asked) - 1)))[1](True)
    while memory.asked:
        memory.asked.pop()[1](True)
    assert set(memory.finished) == set(range(len(found)))
    assert len(memory.told) == len(found)
