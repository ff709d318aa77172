"""Deliveries ask for looks, and are done after them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from mlops.domain.delivery import Delivery, Provider
from mlops.engine import relay
from mlops.engine.relay import Relay
from mlops.ports import Pending

PUSH = Delivery(Provider.GITHUB, "1", "push", (), (), datetime(2026, 11, 28, tzinfo=UTC), "")
URLS = {
    "shop": ("https://example.com/team/shop.git",),
    "copy": ("ssh://git@example.com/team/shop", "/srv/git/copy.git"),
    "other": ("git@example.com:team/other.git",),
}


class Kept:
    """Deliveries, in memory."""

    def __init__(self) -> None:
        self.came: list[Pending] = []
        self.outcomes: dict[int, str] = {}

    def add(self, *repositories: str) -> int:
        number = len(self.came) + 1
        self.came.append(Pending(number, replace(PUSH, repositories=repositories)))
        return number

    def wait(self, timeout: float) -> bool:
        return True

    def pending(self, after: int = 0) -> tuple[Pending, ...]:
        return tuple(p for p in self.came if p.number > after and p.number not in self.outcomes)

    def done(self, numbers, outcome: str) -> None:
        self.outcomes |= dict.fromkeys(numbers, outcome)


class Asked:
    """Looks that were asked for, answered when the test says so."""

    def __init__(self) -> None:
        self.open: list = []

    def __call__(self, name, then) -> None:
        self.open.append((name, then))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.open]

    def answer(self, name: str, *, succeeded: bool = True) -> None:
        for each in [each for each in self.open if each[0] == name]:
            self.open.remove(each)
            each[1](succeeded)


def made() -> tuple[Kept, Asked, Relay]:
    kept, asked = Kept(), Asked()
    return kept, asked, Relay(kept, asked, lambda: URLS)


def test_a_delivery_is_done_once_each_project_that_it_concerns_was_looked_at():
    kept, asked, handing = made()
    number = kept.add("https://example.com/team/shop")
    handing.hand_on()
    assert sorted(asked.names) == ["copy", "shop"]
    asked.answer("shop")
    assert kept.outcomes == {}
    asked.answer("copy")
    assert kept.outcomes == {number: relay.LOOKED}


def test_many_deliveries_ask_once_and_none_of_them_twice():
    kept, asked, handing = made()
    numbers = [kept.add("team/other") for _ in range(5)]
    handing.hand_on()
    handing.hand_on()
    assert asked.names == ["other"]
    asked.answer("other")
    assert kept.outcomes == dict.fromkeys(numbers, relay.LOOKED)


def test_one_that_comes_during_a_look_asks_for_another():
    kept, asked, handing = made()
    first = kept.add("team/other")
    handing.hand_on()
    second = kept.add("team/other")
    handing.hand_on()
    assert asked.names == ["other", "other"]
    asked.open.pop(0)[1](True)
    assert kept.outcomes == {first: relay.LOOKED}
    asked.answer("other")
    assert kept.outcomes[second] == relay.LOOKED


def test_what_names_no_repository_concerns_all_and_a_strange_one_none():
    kept, asked, handing = made()
    kept.add()
    strange = kept.add("https://example.com/team/strange")
    handing.hand_on()
    assert sorted(asked.names) == sorted(URLS)
    assert kept.outcomes == {strange: relay.NOBODY}


def test_a_look_that_failed_is_the_watchers_to_repeat():
    kept, asked, handing = made()
    number = kept.add("team/other")
    handing.hand_on()
    asked.answer("other", succeeded=False)
    assert kept.outcomes == {number: relay.FAILED}


def test_a_project_that_is_never_looked_at_does_not_fill_the_journal(monkeypatch):
    monkeypatch.setattr(relay, "MOST", 3)
    kept, asked, handing = made()
    stuck = [kept.add("team/other") for _ in range(10)]
    handing.hand_on()
    assert kept.outcomes == dict.fromkeys(stuck[3:], relay.JOINED)
    number = kept.add("team/shop")
    handing.hand_on()
    asked.answer("shop")
    asked.answer("copy")
    assert kept.outcomes[number] == relay.LOOKED
    asked.answer("other")
    assert set(kept.outcomes) == {*stuck, number}


def test_who_stands_by_leaves_deliveries_to_who_leads_and_takes_them_over():
    kept, asked = Kept(), Asked()
    leads = []
    handing = Relay(kept, asked, lambda: URLS, leads=lambda name: name in leads)
    number = kept.add("team/other")
    handing.hand_on()
    asked.answer("other")
    assert kept.outcomes == {}
    leads.append("other")
    later = kept.add("team/other")
    handing.hand_on()
    asked.answer("other")
    assert kept.outcomes == {later: relay.LOOKED}
    handing.hand_on()
    asked.answer("other")
    assert kept.outcomes == {number: relay.LOOKED, later: relay.LOOKED}
