"""One comment, whoever writes at the same time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.domain.pulls import Contribution, Remark
from mlops.engine.commenting import Commenter
from mlops.errors import ForgeError
from mlops.manifests.pullcomment import marker

MARK = marker("spam-filter")
BODY = f"{MARK}\n### mlops\n"


class Talk:
    """Comments on one pull request; `before` is called before each call, with its name."""

    def __init__(self, remarks: list[Remark] | None = None) -> None:
        self.there = list(remarks or ())
        self.calls: list[str] = []
        self.before: Callable[[str], None] = lambda _: None
        self.number = 100

    def _called(self, name: str) -> None:
        self.before(name)
        self.calls.append(name)

    def proposed(self) -> tuple[Contribution, ...]:
        return ()

    def remarks(self, number: int) -> tuple[Remark, ...]:
        self._called("remarks")
        return tuple(self.there)

    def add(self, number: int, body: str) -> None:
        self._called("add")
        self.number += 1
        self.there.append(Remark(1, self.number, "mlops", body, mine=True))

    def edit(self, remark: Remark, body: str) -> None:
        self._called("edit")
        self.there = [replace(r, body=body) if r.ident == remark.ident else r for r in self.there]

    def remove(self, remark: Remark) -> None:
        self._called("remove")
        self.there = [each for each in self.there if each.ident != remark.ident]

    def bodies(self) -> list[str]:
        return [each.body for each in self.there if each.mine]


def test_it_is_made_once_and_written_only_where_it_differs() -> None:
    talk = Talk()
    commenter = Commenter(talk, MARK)
    assert commenter.put(1, BODY)
    talk.calls.clear()
    assert not commenter.put(1, BODY)
    assert talk.calls == ["remarks"]
    assert commenter.put(1, BODY + "more\n")
    assert talk.bodies() == [BODY + "more\n"]


def test_other_line_ends_are_no_difference() -> None:
    talk = Talk([Remark(1, 1, "mlops", BODY.replace("\n", "\r\n").strip(), mine=True)])
    assert not Commenter(talk, MARK).put(1, BODY)
    assert talk.calls == ["remarks"]


def test_the_marker_in_somebody_elses_comment_is_theirs() -> None:
    theirs = Remark(1, 1, "mallory", BODY)
    quoted = Remark(1, 2, "mlops", f"> {BODY}", mine=True)
    talk = Talk([theirs, quoted])
    assert Commenter(talk, MARK).put(1, BODY + "x")
    assert talk.there[:2] == [theirs, quoted]
    assert len(talk.there) == 3


def test_of_several_the_oldest_stays_and_the_others_go() -> None:
    talk = Talk([Remark(1, n, "mlops", f"{MARK}\nold {n}", mine=True) for n in (7, 3, 5)])
    assert Commenter(talk, MARK).put(1, BODY)
    assert [(each.ident, each.body) for each in talk.there] == [(3, BODY)]


def test_without_create_nothing_is_made() -> None:
    talk = Talk()
    assert not Commenter(talk, MARK).put(1, BODY, create=False)
    assert talk.there == []


def test_a_lost_answer_makes_no_second_comment() -> None:
    talk = Talk()

    def add(number: int, body: str) -> None:
        Talk.add(talk, number, body)
        raise ForgeError("the connection broke", retryable=True)

    talk.add = add
    assert Commenter(talk, MARK).put(1, BODY)
    assert talk.bodies() == [BODY]


def test_a_refused_comment_is_an_error() -> None:
    talk = Talk()

    def add(number: int, body: str) -> None:
        raise ForgeError("403")

    talk.add = add
    with pytest.raises(ForgeError):
        Commenter(talk, MARK).put(1, BODY)


def test_where_not_all_comments_are_listed_none_is_made() -> None:
    talk = Talk([Remark(1, n, "mallory", "hello") for n in range(901)])
    with pytest.raises(ForgeError, match="more than 900"):
        Commenter(talk, MARK).put(1, BODY)
    assert "add" not in talk.calls


@given(st.lists(st.integers(0, 2), max_size=12))
def test_two_watchers_at_once_leave_one_comment(order: list[int]) -> None:
    """Another watcher does one whole put between any two calls of the first one's."""
    talk = Talk()
    other = Commenter(talk, MARK)
    turns = list(order)

    def interleave(_: str) -> None:
        if turns and turns.pop():
            talk.before = lambda _: None
            other.put(1, BODY)
            talk.before = interleave

    talk.before = interleave
    Commenter(talk, MARK).put(1, BODY)
    talk.before = lambda _: None
    assert talk.bodies() == [BODY]
