"""One decision for each commit and model: who wins, who waits, who takes over."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from mlops.domain.digest import Digest, ImageRef
from mlops.domain.plan import Impact, Plan, PlanStep
from mlops.domain.pulls import MARK, mark
from mlops.domain.run import Phase, RunResult, RunSpec, StepState, TaskState
from mlops.domain.source import Commit
from mlops.engine import claiming
from mlops.engine.claiming import Holder
from mlops.engine.run import Order, Runner
from mlops.errors import ClusterError, ConfigError, ExecutorError, GitError, RefusedError
from mlops.ports import Claim

SOURCE = Commit("1" * 40)
PARENT = Commit("9" * 40)
RELEASE = f"spam@sha256:{'a' * 64}"
ME = {"host": "here", "pid": 1}


@dataclass
class Claims:
    """Create-only refs in memory, moved by compare-and-swap."""

    kept: dict[str, Claim] = field(default_factory=dict)
    refuses: GitError | None = None
    count: int = 0

    def read(self, run):
        return self.kept.get(run)

    def list(self, prefix=""):
        return tuple(claim for run, claim in self.kept.items() if run.startswith(prefix))

    def put(self, run, document, previous):
        if self.refuses:
            raise self.refuses
        if self.kept.get(run) != previous:
            return None
        self.count += 1
        self.kept[run] = Claim(f"refs/mlops/runs/{run}", str(self.count), dict(document))
        return self.kept[run]

    def outcome(self, attempt=1):
        return self.kept[claiming.run_name("spam", SOURCE, attempt)].document


@dataclass
class Executor:
    """Carries everything out at once; `result` or `fails` says how."""

    name = "local"
    phase: Phase = Phase.SUCCEEDED
    fails: Exception | None = None
    ran: list[str] = field(default_factory=list)
    living: bool = False
    lasting: bool = False
    there: dict[str, RunResult] = field(default_factory=dict)
    documents: list[dict] = field(default_factory=list)

    def status(self, run):
        return self.there.get(run)

    def attend(self, run, observer):
        return self.there[run]

    def run(self, document, observer):
        name = document["metadata"]["name"]
        self.ran.append(name)
        self.documents.append(document)
        if self.fails:
            raise self.fails
        when = datetime(2026, 1, 1, tzinfo=UTC)
        if self.phase is Phase.FAILED:
            observer.log("validate", "validate", "error: gate accuracy ≥ 0.9: 0.84")
            task = TaskState("validate", Phase.FAILED)
            return RunResult(name, self.phase, "Failed", "", when, when, (task,))
        results = {"release": RELEASE, "note": ""}
        return RunResult(name, self.phase, "Succeeded", "", when, when, results=results)

    def alive(self, run):
        return self.living


@dataclass
class Files:
    """The files of the source, whose parent is PARENT."""

    there: dict[str, bytes] = field(default_factory=dict)

    def read(self, commit, path):
        return self.there.get(path)

    def ancestors(self, commit):
        return iter((commit, PARENT))


@dataclass
class Planner:
    """Plans one step, or none."""

    nothing: bool = False
    missing: bool = False
    unpushed: bool = False
    kept: str = ""
    reader: Files = field(default_factory=Files)

    def plan(self, model, source, known, since=None):
        steps = () if self.nothing else (PlanStep("package", "code"),)
        summary = "nothing to do: only docs/ changed" if self.nothing else "src/a.py changed"
        return SimpleNamespace(
            plan=Plan(model, source, None, Impact(), steps, summary, self.kept), baseline=None
        )

    def require_locks(self, planned, say=None):
        assert planned.plan.source == SOURCE

    def require_overlay(self, planned, gitops, tip):
        if self.unpushed:
            raise ConfigError("environments/dev/kustomization.yaml is not on the GitOps branch")

    def require_data(self, planned):
        if self.missing:
            raise RefusedError("data is missing")

    def spec(self, planned, name, attempt):
        tool = ImageRef("mlops", Digest("b" * 64))
        return RunSpec(
            name, attempt, "spam", SOURCE, "/r", "oci:/r", tool, "dev", "environments", "main"
        )


class GitOps:
    """A branch without records."""

    path = "environments"

    def refresh(self):
        return None


@pytest.fixture
def runner():
    said: list[str] = []
    return Runner(
        planner=Planner(),
        gitops=GitOps(),
        claims=Claims(),
        executor=Executor(),
        holder=Holder(lambda: ME, lambda holder: holder.get("pid") != 1),
        now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
        observer=SimpleNamespace(task=said.count, log=lambda *_: None),
        say=said.append,
    )


def pins(runner) -> str:
    """The parameter `pin` of the document that was carried out."""
    (document,) = runner.executor.documents
    return next(each["value"] for each in document["spec"]["params"] if each["name"] == "pin")


def test_what_is_run_of_a_pull_request_is_pinned_nowhere_whoever_carries_it_out(runner):
    marked = Planner(reader=Files({MARK: mark(PARENT.sha)}))
    ours = replace(runner, planner=marked)
    ours.carry_out(order(again=True))
    assert pins(ours) == "false"


@pytest.mark.parametrize("there", [{}, {MARK: mark("f" * 40)}, {MARK: b"x"}])
def test_any_other_commit_is_pinned(runner, there):
    ours = replace(runner, planner=Planner(reader=Files(there)))
    ours.carry_out(order())
    assert pins(ours) == "true"


def order(**more) -> Order:
    return Order("spam", SOURCE, **more)


def held(runner, state: str, pid: int, **more) -> None:
    """A claim that somebody else left behind."""
    name = claiming.run_name("spam", SOURCE, 1)
    document = {"run": name, "state": state, "holder": {"host": "here", "pid": pid}, **more}
    runner.claims.put(name, document, None)


def test_a_run_is_claimed_and_its_outcome_kept(runner):
    outcome = runner.carry_out(order())
    assert (outcome.release, outcome.failed) == (RELEASE, False)
    assert runner.claims.outcome()["outcome"] == "succeeded"
    assert runner.claims.outcome()["release"] == RELEASE


def test_a_model_that_stays_in_another_environment_is_told_of():
    said: list[str] = []
    told = Runner(
        Planner(kept="the model stays as it is, trained with other packages"),
        GitOps(),
        Claims(),
        Executor(),
        Holder(lambda: ME, lambda _: False),
        lambda: datetime(2026, 1, 1, tzinfo=UTC),
        SimpleNamespace(task=said.count, log=lambda *_: None),
        said.append,
    )
    told.carry_out(order())
    assert said == ["spam: the model stays as it is, trained with other packages"]


def test_what_failed_is_answered_at_once(runner):
    failing = replace(runner, executor=Executor(phase=Phase.FAILED))
    first = failing.carry_out(order())
    assert first.note == "validate: gate accuracy ≥ 0.9: 0.84"
    again = failing.carry_out(order())
    assert again.failed
    assert not again.fresh
    assert failing.executor.ran == [claiming.run_name("spam", SOURCE, 1)]


def test_again_is_the_next_attempt(runner):
    replace(runner, executor=Executor(phase=Phase.FAILED)).carry_out(order())
    assert runner.carry_out(order(again=True)).release == RELEASE
    assert runner.executor.ran == [claiming.run_name("spam", SOURCE, 2)]
    assert runner.claims.outcome(1)["outcome"] == "failed"


def test_one_that_is_at_it_is_left_alone(runner):
    held(runner, "submitted", pid=1)
    with pytest.raises(RefusedError, match="is being carried out by process 1 on here"):
        runner.carry_out(order())
    assert runner.executor.ran == []


@pytest.mark.parametrize("state", ["claimed", "submitted"])
def test_a_dead_ones_claim_is_taken_over_as_the_same_attempt(runner, state):
    held(runner, state, pid=2)
    assert runner.carry_out(order()).release == RELEASE
    assert runner.executor.ran == [claiming.run_name("spam", SOURCE, 1)]
    assert runner.claims.outcome()["holder"] == ME


def test_a_run_that_an_executor_still_carries_is_not_taken_over(runner):
    held(runner, "submitted", pid=2)
    with pytest.raises(RefusedError, match="is being carried out"):
        replace(runner, executor=Executor(living=True)).carry_out(order())


def test_a_claim_of_another_machine_is_waited_for_until_it_must_be_dead(runner):
    foreign = Holder(lambda: ME, lambda _: False)
    elsewhere = replace(runner, holder=foreign)
    gone = {"host": "gone-runner", "pid": 7}
    name = claiming.run_name("spam", SOURCE, 1)
    late = {"state": "submitted", "holder": gone, "expires": "2026-01-02T00:00:00+00:00"}
    runner.claims.put(name, late, None)
    with pytest.raises(RefusedError, match="process 7 on gone-runner"):
        elsewhere.carry_out(order())
    overdue = replace(elsewhere, now=lambda: datetime(2026, 1, 3, tzinfo=UTC))
    assert overdue.carry_out(order()).release == RELEASE
    assert runner.executor.ran == [name]


def test_another_attempt_may_be_made_beside_a_claim_of_another_machine(runner):
    elsewhere = replace(runner, holder=Holder(lambda: ME, lambda _: False))
    name = claiming.run_name("spam", SOURCE, 1)
    runner.claims.put(name, {"state": "submitted", "holder": {"host": "gone-runner"}}, None)
    assert elsewhere.carry_out(order(again=True)).release == RELEASE
    assert runner.executor.ran == [claiming.run_name("spam", SOURCE, 2)]
    assert runner.claims.outcome(1)["state"] == "submitted"


def test_what_was_not_pushed_is_told_before_anything_is_claimed(runner):
    with pytest.raises(ConfigError, match="is not on the GitOps branch"):
        replace(runner, planner=Planner(unpushed=True)).carry_out(order())
    assert runner.claims.kept == {}


def test_an_outside_system_that_failed_is_no_verdict_on_the_commit(runner):
    @dataclass
    class Full(Executor):
        def run(self, document, observer):
            when = datetime(2026, 1, 1, tzinfo=UTC)
            step = StepState("package", Phase.FAILED, exit_code=3)
            task = TaskState("package", Phase.FAILED, steps=(step,), message="no space")
            name = document["metadata"]["name"]
            return RunResult(name, Phase.FAILED, "Failed", "", when, when, (task,))

    first = replace(runner, executor=Full()).carry_out(order())
    assert first.failed
    assert runner.carry_out(order()).release == RELEASE
    assert runner.executor.ran == [claiming.run_name("spam", SOURCE, 1)]


def test_the_loser_of_a_race_runs_nothing(runner):
    class Late(Claims):
        def put(self, run, document, previous):
            return None

    late = replace(runner, claims=Late())
    with pytest.raises(RefusedError, match="somebody else has just claimed"):
        late.carry_out(order())
    assert late.executor.ran == []


def test_nothing_to_do_is_a_decision_too(runner):
    idle = replace(runner, planner=Planner(nothing=True))
    outcome = idle.carry_out(order())
    assert outcome.note == "nothing to do: only docs/ changed"
    assert idle.executor.ran == []
    assert idle.claims.outcome()["outcome"] == "nothing"
    assert not idle.carry_out(order()).fresh


def test_missing_data_claims_nothing(runner):
    poor = replace(runner, planner=Planner(missing=True))
    with pytest.raises(RefusedError, match="data is missing"):
        poor.carry_out(order())
    assert poor.claims.kept == {}


def test_an_executor_that_cannot_is_no_decision_on_the_commit(runner):
    broken = replace(runner, executor=Executor(fails=ExecutorError("no sandbox here")))
    with pytest.raises(ExecutorError):
        broken.carry_out(order())
    assert "no sandbox here" in broken.claims.outcome()["reason"]
    assert runner.carry_out(order()).release == RELEASE
    assert runner.executor.ran == [claiming.run_name("spam", SOURCE, 1)]


def test_an_interrupted_run_is_carried_out_when_asked_for_again(runner):
    with pytest.raises(KeyboardInterrupt):
        replace(runner, executor=Executor(phase=Phase.CANCELLED)).carry_out(order())
    assert runner.claims.outcome()["outcome"] == "interrupted"
    assert runner.carry_out(order()).fresh
    assert runner.executor.ran == [claiming.run_name("spam", SOURCE, 1)]


def test_a_remote_without_claims_is_told_and_does_not_stop_a_run(runner):
    said: list[str] = []
    refusing = replace(runner, claims=Claims(refuses=GitError("hidden ref")), say=said.append)
    assert refusing.carry_out(order()).release == RELEASE
    assert any("two runs are possible" in text for text in said)


def test_a_remote_that_cannot_be_reached_stops_a_run(runner):
    gone = replace(runner, claims=Claims(refuses=GitError("no route", retryable=True)))
    with pytest.raises(GitError):
        gone.carry_out(order())
    assert gone.executor.ran == []


def _lasting(phase: Phase, **results: str) -> Executor:
    """An executor whose runs go on without us, and that has one of the first attempt."""
    name = claiming.run_name("spam", SOURCE, 1)
    return Executor(
        lasting=True,
        there={name: RunResult(name, phase, str(phase), "", None, None, results=results)},
    )


@pytest.mark.parametrize("pid", [1, 2])
def test_a_run_that_goes_on_without_whoever_began_it_is_followed(runner, pid):
    held(runner, "submitted", pid=pid)
    lasting = replace(runner, executor=_lasting(Phase.SUCCEEDED, release=RELEASE))

    assert lasting.carry_out(order()).release == RELEASE
    assert lasting.executor.ran == []
    assert lasting.claims.outcome()["outcome"] == "succeeded"


def test_a_claim_whose_run_was_never_made_is_carried_out(runner):
    held(runner, "claimed", pid=2)
    lasting = replace(runner, executor=Executor(lasting=True))

    assert lasting.carry_out(order()).release == RELEASE
    assert lasting.executor.ran == [claiming.run_name("spam", SOURCE, 1)]


def test_what_was_interrupted_is_another_attempt_where_the_old_run_is_there(runner):
    held(runner, claiming.SETTLED, pid=2, outcome=claiming.INTERRUPTED)
    lasting = replace(runner, executor=_lasting(Phase.CANCELLED))

    assert lasting.carry_out(order()).release == RELEASE
    assert lasting.executor.ran == [claiming.run_name("spam", SOURCE, 2)]


def test_a_run_that_was_lost_sight_of_keeps_its_claim_and_is_followed_by_the_next(runner):
    away = Executor(lasting=True, fails=ClusterError("the cluster is away", retryable=True))
    with pytest.raises(ClusterError):
        replace(runner, executor=away).carry_out(order())
    assert runner.claims.outcome()["state"] == "submitted"

    back = replace(runner, executor=_lasting(Phase.SUCCEEDED, release=RELEASE))
    assert back.carry_out(order()).release == RELEASE
    assert back.executor.ran == []


def test_a_run_that_the_cluster_refuses_is_another_attempt_next_time(runner):
    refusing = Executor(lasting=True, fails=ConfigError("unknown field"))
    with pytest.raises(ConfigError):
        replace(runner, executor=refusing).carry_out(order())
    assert runner.claims.outcome()["outcome"] == claiming.INTERRUPTED


@pytest.mark.parametrize("outcome", ["superseded", "skipped", "succeeded"])
def test_what_was_taken_back_is_run_for_a_person_and_not_by_itself(runner, outcome):
    held(runner, "outcome", pid=1, outcome=outcome, reason="main no longer holds it")
    told = runner.carry_out(order(patient=True))
    assert (told.note, told.failed, told.fresh) == ("main no longer holds it", False, False)
    assert runner.executor.ran == []
    assert runner.carry_out(order()).release == RELEASE
    assert runner.executor.ran == [claiming.run_name("spam", SOURCE, 2)]


def test_what_is_queued_is_taken_over_with_its_ref_and_reason(runner):
    held(runner, "queued", pid=1, ref="refs/heads/main", tip=SOURCE.sha, why="main is at 1111111")
    runner.carry_out(order())
    assert runner.executor.ran == [claiming.run_name("spam", SOURCE, 1)]
    document = runner.claims.outcome()
    assert (document["outcome"], document["ref"]) == ("succeeded", "refs/heads/main")
    assert (document["tip"], document["why"]) == (SOURCE.sha, "main is at 1111111")


def test_runs_are_under_way_from_their_beginning_to_their_end():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    gone = Holder(lambda: ME, lambda holder: holder.get("pid") != 1)

    def told(**claimed):
        document = {"state": claiming.SUBMITTED, "holder": ME, "executor": "local", **claimed}
        claims = [
            Claim(f"refs/mlops/runs/spam-{'1' * 12}-1", "0", {"state": claiming.SUBMITTED}),
            Claim(f"refs/mlops/runs/spam-{'1' * 12}-2", "1", document),
        ]
        return claiming.under_way(claims, gone, now)

    assert told() == told(state=claiming.CLAIMED) == (f"spam-{'1' * 12}-2",)
    assert told(state=claiming.QUEUED) == told(state=claiming.SETTLED) == ()
    assert told(expires="2025-12-31T00:00:00+00:00") == ()
    dead = {"host": "here", "pid": 2}
    assert told(holder=dead) == ()
    assert told(holder=dead, executor="tekton") == (f"spam-{'1' * 12}-2",)
