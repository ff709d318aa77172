"""No sequence of events lets a commit run that nobody of the repository approved."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mlops.domain.pulls import Contribution, Remark
from mlops.policy.forks import Allowed, Waits, approved, decide

SHA, LATER = "a1" * 20, "b2" * 20
FORK = Contribution(7, SHA, "main", fork=True, author="mallory")


def said(body: str, **more: object) -> Remark:
    return replace(Remark(7, 1, "rosa", body, trusted=True), **more)


def test_a_branch_of_the_repository_runs_and_so_does_a_members_fork() -> None:
    assert isinstance(decide(replace(FORK, fork=False), ()), Allowed)
    assert isinstance(decide(replace(FORK, trusted=True), ()), Allowed)


def test_a_strangers_fork_waits_and_says_what_would_let_it_run() -> None:
    found = decide(FORK, ())
    assert isinstance(found, Waits)
    assert found.command == f"/ok-to-test {SHA}"
    assert decide(FORK, [said(found.command)]) == Allowed(SHA, "rosa approved it")


def test_a_later_push_needs_an_approval_of_its_own() -> None:
    remarks = [said(f"/ok-to-test {SHA}")]
    pushed = replace(FORK, head=LATER)
    assert isinstance(decide(pushed, remarks), Waits)
    assert isinstance(decide(pushed, [*remarks, said(f"/ok-to-test {LATER}")]), Allowed)


def test_a_fork_that_is_gone_waits_as_any_other() -> None:
    ghost = replace(FORK, author="")
    assert isinstance(decide(ghost, ()), Waits)
    assert isinstance(decide(ghost, [said(f"/ok-to-test {SHA}")]), Allowed)


@pytest.mark.parametrize(
    "remark",
    [
        said(f"/ok-to-test {SHA}", trusted=False),
        said(f"/ok-to-test {SHA}", trusted=False, author="mallory"),
        said(f"/ok-to-test {SHA}", edited=True),
        said(f"> /ok-to-test {SHA}"),
        said(f"Please say\n/ok-to-test {SHA}"),
        said(f"```\n/ok-to-test {SHA}\n```"),
        said(f"/ok-to-test {SHA} but not yet"),
        said(f"/ok-to-test {SHA[:12]}"),
        said(f"/ok-to-test {SHA.upper()}"),
        said("/ok-to-test"),
        said(f"/ok-to-test\u00a0{SHA}"),
        said(f"/ok-to-test\u200b {SHA}"),
        said(f"\uff0fok-to-test {SHA}"),
        said(f"/\u043ek-to-test {SHA}"),
        said(f"/ok-to-test {SHA.replace('a', chr(0x430))}"),
        said(f"/ok-to-test {SHA.replace('1', chr(0x661))}"),
        said(f"/ok-to-test {LATER}"),
        said(f"/ok-to-test {SHA}\u2028"),
        said(""),
    ],
)
def test_what_is_no_approval(remark: Remark) -> None:
    assert isinstance(decide(FORK, [remark]), Waits)


def test_white_space_around_the_command_is_nobodys_trick() -> None:
    assert approved(said(f"\r\n/ok-to-test {SHA}\r\n")) == SHA


class Forge(RuleBasedStateMachine):
    """A pull request from a fork, with everything that people can do to it."""

    def __init__(self) -> None:
        super().__init__()
        self.pull = FORK
        self.remarks: list[Remark] = []
        self.number = self.spoken = 0
        self.meant: dict[int, str] = {}  # comment → the commit that a member means to approve

    def _commits(self) -> list[str]:
        return [f"{n:02x}" * 20 for n in range(self.number + 1)]

    @rule()
    def push(self) -> None:
        self.number += 1
        self.pull = replace(self.pull, head=self._commits()[-1])

    @rule(data=st.data())
    def push_back(self, data: st.DataObject) -> None:
        self.pull = replace(self.pull, head=data.draw(st.sampled_from(self._commits())))

    @rule(data=st.data())
    def approve(self, data: st.DataObject) -> None:
        sha = data.draw(st.sampled_from(self._commits()))
        self.spoken += 1
        remark = Remark(7, self.spoken, "rosa", f"/ok-to-test {sha}", trusted=True)
        self.remarks.append(remark)
        self.meant[remark.ident] = sha

    @rule(data=st.data(), frame=st.sampled_from(["{}", "> {}", "{}\n\nthanks", "`{}`"]))
    def speak(self, data: st.DataObject, frame: str) -> None:
        sha = data.draw(st.sampled_from(self._commits()))
        member = frame != "{}" and data.draw(st.booleans())
        body = frame.format(f"/ok-to-test {sha}")
        self.spoken += 1
        self.remarks.append(Remark(7, self.spoken, "mallory", body, trusted=member))

    @rule(data=st.data())
    def edit(self, data: st.DataObject) -> None:
        if self.remarks:
            at = data.draw(st.integers(0, len(self.remarks) - 1))
            body = f"/ok-to-test {data.draw(st.sampled_from(self._commits()))}"
            self.meant.pop(self.remarks[at].ident, None)
            self.remarks[at] = replace(self.remarks[at], body=body, edited=True)

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        if self.remarks:
            gone = self.remarks.pop(data.draw(st.integers(0, len(self.remarks) - 1)))
            self.meant.pop(gone.ident, None)

    @invariant()
    def only_what_a_member_means(self) -> None:
        found = decide(self.pull, self.remarks)
        assert isinstance(found, Allowed) == (self.pull.head in self.meant.values())
        if isinstance(found, Allowed):
            assert found.sha == self.pull.head


TestForge = Forge.TestCase
TestForge.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
