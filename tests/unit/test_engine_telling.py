"""What a forge is told of decisions: from claims and records, only differences, later where it is away."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from mlops.domain.forge import State, Status
from mlops.domain.source import Commit
from mlops.engine import claiming
from mlops.engine.telling import MOST, Told, tell, wanted
from mlops.errors import ForgeError
from mlops.ports import Claim
from tests.fakes.estate import Estate, record, release, source

A = source("A")


@dataclass
class Claims:
    kept: dict[str, Claim] = field(default_factory=dict)
    count: int = 0

    def put(
        self,
        commit: Commit,
        state: str,
        model="spam",
        attempt=1,
        since="2026-01-01T00:00:00+00:00",
        **more,
    ):
        run = claiming.run_name(model, commit, attempt)
        self.count += 1
        document = {
            "run": run,
            "model": model,
            "source": commit.sha,
            "plan": "retrain: data changed",
            "state": state,
            "since": since,
            **more,
        }
        self.kept[run] = Claim(f"refs/mlops/runs/{run}", str(self.count), document)


@dataclass
class Memory:
    """A forge in memory, which counts what it is asked."""

    said: dict[tuple[str, str], Status] = field(default_factory=dict)
    reads: int = 0
    writes: int = 0
    fails: ForgeError | None = None
    cuts: int = 1000

    def statuses(self, commit):
        self.reads += 1
        if self.fails:
            raise self.fails
        return tuple(status for (sha, _), status in self.said.items() if sha == commit.sha)

    def say(self, commit, status):
        self.writes += 1
        text = status.description
        cut = text if len(text) <= self.cuts else text[: self.cuts - 1].rstrip() + "…"
        kept = Status(status.context, status.state, cut, status.link)
        self.said[commit.sha, status.context] = kept


@dataclass
class World:
    estate: Estate = field(default_factory=Estate)
    claims: Claims = field(default_factory=Claims)
    forge: Memory = field(default_factory=Memory)
    told: Told = field(default_factory=Told)
    notes: list[str] = field(default_factory=list)
    link: str = ""

    def tell(self) -> int:
        decisions = claiming.decisions(self.claims.kept.values()).values()
        said = wanted(decisions, self.estate.gitops, self.link, self.told)
        return tell(said, self.forge, self.told, self.notes.append)

    def status(self, commit=A, model="spam") -> Status:
        return self.forge.said[commit.sha, f"mlops/{model}"]


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(
    ("state", "more", "said", "text"),
    [
        ("queued", {"plan": "", "why": "main is at 1a2b3c4"}, State.PENDING, "main is at 1a2b3c4"),
        ("claimed", {}, State.PENDING, "retrain: data changed"),
        ("submitted", {}, State.PENDING, "retrain: data changed"),
        (
            "outcome",
            {"outcome": "failed", "reason": "validate: gate accuracy ≥ 0.9: 0.84"},
            State.FAILURE,
            "validate: gate accuracy ≥ 0.9: 0.84",
        ),
        (
            "outcome",
            {"outcome": "nothing", "reason": "nothing to do: only docs/ changed"},
            State.SUCCESS,
            "nothing to do: only docs/ changed",
        ),
        ("outcome", {"outcome": "skipped", "reason": "[skip ci]"}, State.SUCCESS, "[skip ci]"),
        ("outcome", {"outcome": "superseded", "reason": "newer"}, State.SUCCESS, "newer"),
        ("outcome", {"outcome": "interrupted", "reason": "stopped"}, State.PENDING, "stopped"),
        ("outcome", {"outcome": "given up", "reason": "8 times"}, State.FAILURE, "8 times"),
        ("outcome", {"outcome": "of another version"}, State.FAILURE, "of another version"),
    ],
)
def test_a_decision_is_told_with_its_run_and_reason(world: World, state, more, said, text):
    world.claims.put(A, state, **more)
    assert world.tell() == 1
    status = world.status()
    assert status.state is said
    shown = "" if state == "outcome" else f" {state}"
    assert status.description == f"spam-{A.sha[:12]}-1{shown}: {text}"


def test_a_release_is_told_with_each_gate(world: World):
    gates = [
        {"rule": "accuracy ≥ 0.9", "value": 0.94, "verdict": "pass"},
        {"rule": "loss", "value": 0.1, "verdict": "pass: nothing is pinned to compare with"},
        "no gate",
        {"rule": "odd", "value": [], "verdict": 7},
    ]
    world.estate.record("A", gates=gates)
    world.claims.put(A, "outcome", outcome="succeeded", release=str(release("A")))
    world.tell()
    said = world.status()
    assert said.state is State.SUCCESS
    short = release("A").short
    assert f"released {short}; accuracy ≥ 0.9: 0.94; loss: 0.1, nothing is" in said.description


def test_a_release_without_a_record_is_told_all_the_same(world: World):
    world.claims.put(A, "outcome", outcome="succeeded", release=str(release("A")))
    world.claims.put(source("B"), "outcome", outcome="succeeded", release="no release")
    assert world.tell() == 2
    assert world.status().state is State.SUCCESS


def test_the_last_attempt_counts(world: World):
    for attempt in (1, 10, 9):
        world.claims.put(A, "outcome", attempt=attempt, outcome="failed", reason=f"no {attempt}")
    world.tell()
    assert world.status().description.endswith("no 10")


def test_a_run_of_a_pull_request_is_told_on_its_head_and_apart_from_its_branch(world: World):
    head = source("B")
    world.claims.put(
        A, "queued", ref="refs/pull/7/head", tip=head.sha, plan="", why="rosa approved it"
    )
    world.claims.put(
        head, "queued", ref="refs/heads/main", tip=head.sha, plan="", why="main is at B"
    )
    assert world.tell() == 2
    assert "rosa approved it" in world.status(head, "spam/pull-request").description
    assert "main is at B" in world.status(head).description
    assert not any(commit == A.sha for commit, _ in world.forge.said)


def test_only_differences_are_written_and_nothing_is_asked_twice(world: World):
    world.claims.put(A, "submitted")
    world.claims.put(A, "submitted", model="ham")
    assert world.tell() == 2
    assert world.tell() == 0
    assert (world.forge.reads, world.forge.writes) == (1, 2)
    world.told = Told()  # another process, or one that was killed
    assert world.tell() == 0
    assert (world.forge.reads, world.forge.writes) == (2, 2)
    world.claims.put(A, "outcome", outcome="failed", reason="bad")
    assert world.tell() == 1
    assert world.status().state is State.FAILURE
    assert world.status(model="ham").state is State.PENDING


def test_a_description_that_the_forge_cut_is_the_same(world: World):
    world.forge.cuts = 30
    world.claims.put(A, "outcome", outcome="failed", reason="x" * 200)
    assert world.tell() == 1
    world.told = Told()
    assert world.tell() == 0


def test_a_forge_that_is_away_is_told_later_and_asked_once(world: World):
    for name in "ABC":
        world.claims.put(source(name), "submitted")
    world.forge.fails = ForgeError("it is away", retryable=True)
    assert world.tell() == 0
    assert world.forge.reads == 1
    assert len(world.notes) == 1
    world.forge.fails = None
    assert world.tell() == 3


def test_one_commit_that_the_forge_lacks_keeps_no_other_waiting(world: World):
    for name in "ABC":
        world.claims.put(source(name), "submitted")
    world.forge.fails = ForgeError("no such commit")
    assert world.tell() == 0
    assert world.forge.reads == 3


def test_the_newest_come_first_and_the_others_at_the_next_look(world: World):
    for number in range(MOST + 5):
        world.claims.put(
            source(str(number)), "submitted", since=f"2026-01-01T00:{number:02}:00+00:00"
        )
    assert world.tell() == MOST
    assert (source("0").sha, "mlops/spam") not in world.forge.said
    assert world.tell() == 5


def test_what_is_no_claim_of_ours_is_left_out(world: World):
    world.claims.put(A, "submitted")
    good = next(iter(world.claims.kept.values()))
    for name, document in {
        "spam-x-1": good.document,  # its name is another commit's
        "spam-1": {},
        "a-1": {"model": 7, "source": A.sha},
        "b-1": {"model": "b", "source": "no commit"},
        "c-d": {"model": "c", "source": A.sha},
    }.items():
        world.claims.kept[name] = Claim(f"refs/mlops/runs/{name}", name, document)
    long = claiming.run_name("m" * 41 + "\ud800", A, 1)
    document = {**good.document, "model": "m" * 41 + "\ud800", "run": long}
    world.claims.kept[long] = Claim(f"refs/mlops/runs/{long}", long, document)
    assert world.tell() == 1


def test_a_link_names_the_run_and_nothing_in_it_leads_elsewhere(world: World):
    world.link = "https://tekton.example.com/ns/{run}?m={model}&c={commit}&r={release}"
    world.claims.put(A, "outcome", outcome="succeeded", release="a/../b?x=1&y #z\ud800")
    world.tell()
    assert world.status().link == (
        f"https://tekton.example.com/ns/spam-{A.sha[:12]}-1?m=spam&c={A.sha}"
        "&r=a%2F..%2Fb%3Fx%3D1%26y%20%23z%3F"
    )


def test_a_reason_of_somebody_else_is_one_plain_line(world: World):
    world.claims.put(A, "outcome", outcome="failed", reason="a\nb\x1b[31m\u202ec\td")
    world.tell()
    assert world.status().description.endswith(": a b [31m c d")


def test_gates_of_a_record_are_read_as_far_as_they_can_be():
    assert record("A", gates=7).gates == ()
    (gate,) = record(
        "A", gates=[{"rule": "loss ≤ 1", "value": None, "verdict": "fail: none"}]
    ).gates
    assert (gate.told, gate.passed) == ("loss ≤ 1: none", False)


def test_what_was_told_outlives_the_process_and_may_be_lost(world: World):
    world.claims.put(A, "submitted")
    world.tell()
    kept = world.told.dump("here")
    world.told = Told.load(kept, "here")
    assert world.tell() == 0
    assert world.forge.reads == 1
    for content in (kept, b"", b"[]", b"{", b'{"about": "there", "told": 7}', b"[" * 100_000):
        world.told = Told.load(content, "there")
        assert world.told == Told()


def test_claims_that_were_pruned_are_forgotten(world: World):
    world.claims.put(A, "submitted")
    world.tell()
    world.claims.kept.clear()
    world.tell()
    assert world.told == Told()
