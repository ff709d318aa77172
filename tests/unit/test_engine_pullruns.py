"""What is queued of pull requests: never a commit that nobody of the repository approved, and each once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mlops.domain.pulls import Contribution, Remark
from mlops.domain.source import Commit
from mlops.engine.pullruns import PullRuns
from mlops.engine.pullwatch import Known, PullWatch
from mlops.ports import Claim
from tests.unit.test_engine_pullwatch import Forge, Refs, Review

TIP = Commit("e" * 40)


@dataclass
class Claims:
    """In memory; `names` are those that were made, in order."""

    there: dict[str, Claim] = field(default_factory=dict)

    def read(self, run: str) -> Claim | None:
        return self.there.get(run)

    def list(self, prefix: str = "") -> tuple[Claim, ...]:
        return tuple(claim for name, claim in self.there.items() if name.startswith(prefix))

    def put(self, run: str, document: Mapping[str, Any], previous: Claim | None) -> Claim | None:
        if run in self.there:
            return None
        self.there[run] = Claim(f"refs/mlops/runs/{run}", "0" * 40, document)
        return self.there[run]


class Settling(Refs):
    """What is run of a head: its own id, turned round."""

    def settle(self, head: Commit, tip: Commit) -> Commit:
        assert tip == TIP
        return Commit(head.sha[::-1])


@dataclass
class Project:
    names: tuple[str, ...] = ("spam", "ham")


class Planner:
    def project(self, source: Commit) -> Project:
        assert source == TIP  # the target's, never the pull request's
        return Project()


class Machine(RuleBasedStateMachine):
    """A fork's author pushes, members and strangers speak, watchers come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.count = self.spoken = 0
        self.pull = Contribution(7, self.commits()[0], "main", fork=True, author="mallory")
        self.forge, self.refs = Forge(self.pull), Settling()
        self.refs.tip = TIP
        self.refs.heads = {7: Commit(self.pull.head)}
        self.claims, self.known = Claims(), Known()
        self.meant: set[str] = set()  # what a member approved at any time

    def commits(self) -> list[str]:
        return [f"{n + 16:02x}" * 20 for n in range(self.count + 1)]

    def say(self, author: str, body: str, *, trusted: bool) -> None:
        self.spoken += 1
        self.forge.there.append(Remark(7, self.spoken, author, body, trusted=trusted))

    @rule(lags=st.booleans())
    def push(self, lags: bool) -> None:
        """`lags`: the forge's listing does not know of it yet."""
        self.count += 1
        self.refs.heads[7] = Commit(self.commits()[-1])
        if not lags:
            self.pull = replace(self.pull, head=self.commits()[-1])
            self.forge.pulls = (self.pull,)

    @rule(data=st.data())
    def approve(self, data: st.DataObject) -> None:
        sha = data.draw(st.sampled_from(self.commits()))
        self.meant.add(sha)
        self.say("rosa", f"/ok-to-test {sha}", trusted=True)

    @rule(data=st.data(), frame=st.sampled_from(["{}", "> {}", "```\n{}\n```"]))
    def speak(self, data: st.DataObject, frame: str) -> None:
        sha = data.draw(st.sampled_from(self.commits()))
        self.say("mallory", frame.format(f"/ok-to-test {sha}"), trusted=frame != "{}")

    @rule()
    def unsay(self) -> None:
        if self.forge.there:
            self.forge.there.pop()

    @rule(again=st.booleans())
    def look(self, again: bool) -> None:
        if again:
            self.known = Known()
        runs = PullRuns(
            self.refs, Planner(), self.claims, lambda: datetime(2026, 1, 1, tzinfo=UTC), "mlops"
        )
        PullWatch(
            self.forge, self.refs, Review(), ("main",), self.known, lambda _: None, runs, plan=False
        ).look()

    @invariant()
    def only_what_was_approved_is_queued_and_each_once(self) -> None:
        documents = [claim.document for claim in self.claims.there.values()]
        queued = [(each["model"], each["source"][::-1]) for each in documents]
        assert {sha for _, sha in queued} <= self.meant
        assert len(queued) == len(set(queued))
        assert {each["ref"] for each in documents} <= {"refs/pull/7/head"}


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_each_model_of_the_target_is_queued() -> None:
    machine = Machine()
    machine.say("rosa", f"/ok-to-test {machine.pull.head}", trusted=True)
    machine.meant.add(machine.pull.head)
    machine.look(again=False)
    documents = [claim.document for claim in machine.claims.there.values()]
    assert [each["model"] for each in documents] == ["spam", "ham"]
    assert documents[0]["why"].endswith("rosa approved it")
    assert documents[0]["tip"] == machine.pull.head


def test_a_fork_that_waits_says_so_in_its_comment() -> None:
    machine = Machine()
    runs = PullRuns(machine.refs, Planner(), machine.claims, lambda: datetime.now(UTC), "mlops")
    PullWatch(
        machine.forge, machine.refs, Review(), ("main",), machine.known, lambda _: None, runs
    ).look()
    (body,) = machine.forge.bodies()
    assert f"`/ok-to-test {machine.pull.head}`" in body
    assert machine.claims.there == {}
