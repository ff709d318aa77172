"""What outside systems fail is tried again later and later by the watcher, and at once by a person."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from mlops.domain.run import Phase, RunResult, StepState, TaskState
from mlops.domain.watching import Tip
from mlops.engine import claiming
from mlops.engine.outcome import failed_outside, outcome_json
from mlops.engine.retrying import moment
from mlops.errors import ExecutorError, GitError, RefusedError, RunInterruptedError
from tests.unit.test_engine_claims import (
    RELEASE,
    SOURCE,
    Claims,
    Executor,
    Planner,
    held,
    order,
    runner,  # noqa: F401 - a fixture
)

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Away(Executor):
    """The disk is full: a step ends with exit code 3."""

    def run(self, document, observer):
        name = document["metadata"]["name"]
        self.ran.append(name)
        step = StepState("package", Phase.FAILED, exit_code=3)
        task = TaskState("package", Phase.FAILED, steps=(step,), message="no space")
        return RunResult(name, Phase.FAILED, "Failed", "", START, START, (task,))


@dataclass
class Clock:
    now: datetime = field(default=START)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def away(runner, clock):  # noqa: F811
    return replace(runner, executor=Away(), now=clock)


def look(made):
    return made.carry_out(order(patient=True))


def queue(made) -> str:
    """A decision of a watcher that nobody began."""
    at = Tip("refs/heads/main", SOURCE)
    queued = claiming.queue("spam", SOURCE, at, "main is at 1111111", "ci", START)
    made.claims.put(queued["run"], queued, None)
    return queued["run"]


def test_the_watcher_waits_a_minute_and_says_until_when(away, clock):
    first = look(away)
    assert (first.failed, first.outside, first.fresh) == (True, True, True)
    assert timedelta(seconds=45) <= first.due - START <= timedelta(seconds=75)
    clock.now += timedelta(seconds=30)
    waiting = look(away)
    assert (waiting.failed, waiting.fresh, waiting.due) == (True, False, first.due)
    assert f"waits until {first.due:%Y-%m-%d %H:%M:%S} UTC for attempt 2 of 8" in waiting.note
    assert "package: no space" in waiting.note
    assert outcome_json(waiting)["due"] == first.due.isoformat()
    assert away.executor.ran == [claiming.run_name("spam", SOURCE, 1)]


def test_attempts_come_later_and_later_then_somebody_must_ask(away, clock):
    pauses = []
    for _ in range(7):
        due = look(away).due
        pauses.append(due - clock.now)
        clock.now = due
    assert all(earlier < later for earlier, later in zip(pauses, pauses[2:], strict=False))
    assert "given up after 8 attempts" in look(away).note
    clock.now += timedelta(days=30)
    told = look(away)
    assert (told.failed, told.fresh, told.due) == (True, False, None)
    assert f"mlops run {SOURCE.short} --model spam --again" in told.note
    assert len(away.executor.ran) == 8
    assert away.claims.outcome()["outcome"] == claiming.GIVEN_UP
    assert away.claims.outcome()["failures"] == 8


def test_a_person_is_not_kept_back(away, clock):
    look(away)
    assert away.carry_out(order()).fresh
    for _ in range(8):
        clock.now += timedelta(hours=2)
        look(away)
    assert len(away.executor.ran) == 8
    back = replace(away, executor=Executor())
    assert back.carry_out(order()).release == RELEASE


def test_another_attempt_that_a_person_asked_for_counts_anew(away, clock):
    for _ in range(8):
        look(away)
        clock.now += timedelta(hours=2)
    away.carry_out(order(again=True))
    assert away.claims.outcome()["failures"] == 1
    clock.now += timedelta(hours=2)
    assert look(away).fresh


def test_attempts_with_names_of_their_own_are_counted_together(away, clock):
    lasting = replace(away, executor=Away(lasting=True))
    for number in (1, 2, 3):
        assert look(lasting).fresh
        assert lasting.claims.outcome(number)["failures"] == number
        clock.now += timedelta(hours=2)


def test_an_executor_that_cannot_is_counted_and_a_signal_is_not(away, clock):
    broken = replace(away, executor=Executor(fails=ExecutorError("no sandbox here")))
    with pytest.raises(ExecutorError):
        look(broken)
    assert "no sandbox here" in look(broken).note
    clock.now += timedelta(hours=2)
    ended = replace(away, executor=Executor(fails=RunInterruptedError("terminated")))
    with pytest.raises(RunInterruptedError):
        look(ended)
    assert away.claims.outcome()["failures"] == 1
    assert look(away).fresh


def test_the_count_outlives_whoever_dies_in_an_attempt(away, clock):
    held(away, "submitted", pid=2, failures=4)
    look(away)
    assert away.claims.outcome()["failures"] == 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"failures": "many", "after": "soon"},
        {"failures": -3, "after": None},
        {"failures": 3, "after": "2026-01-01T00:01:00"},  # of no zone
        {"failures": 3, "after": "9999-01-01T00:00:00+00:00"},
        {"failures": [1], "after": {}},
    ],
)
def test_a_claim_that_somebody_wrote_wrongly_keeps_nothing_back(away, wrong):
    held(away, claiming.SETTLED, pid=2, outcome=claiming.INTERRUPTED, **wrong)
    assert look(away).fresh


def test_without_claims_every_look_is_an_attempt_and_says_so(away):
    said: list[str] = []
    refusing = replace(away, claims=Claims(refuses=GitError("hidden ref")), say=said.append)
    assert look(refusing).due is None
    assert any("two runs are possible" in text for text in said)


REFUSED = (
    'failed to create task run pod "r-t": translating TaskSpec to Pod: Get "https://10.245.0.1:443/api/v1/'
    'namespaces/n/serviceaccounts/default": dial tcp 10.245.0.1:443: connect: connection refused. Maybe invalid TaskSpec'
)


@pytest.mark.parametrize(
    ("reason", "message", "phase", "outside"),
    [
        ("PodCreationFailed", REFUSED, Phase.FAILED, True),
        ("PodCreationFailed", "... etcdserver: request timed out. Maybe", Phase.FAILED, True),
        ("PodCreationFailed", 'pod "r-t" is invalid: spec.volumes', Phase.FAILED, False),
        ("TaskRunImagePullFailed", "not found", Phase.FAILED, True),
        ("TaskRunImagePullFailed", "not found", Phase.CANCELLED, False),
        ("Failed", REFUSED, Phase.FAILED, False),
    ],
)
def test_what_a_cluster_could_not_begin_says_nothing_about_the_commit(
    reason, message, phase, outside
):
    task = TaskState("train", phase, reason=reason, message=message)
    result = RunResult("r", Phase.FAILED, "Failed", "", START, START, (task,))
    assert failed_outside(result) is outside


def test_what_is_queued_and_cannot_begin_waits_its_time_in_its_claim(away, clock):
    run = queue(away)
    lacking = replace(away, planner=Planner(missing=True), executor=Executor())
    pauses = []
    for number in range(1, 12):  # never given up: what is missing may come without a commit
        with pytest.raises(RefusedError):
            look(lacking)
        kept = claiming.Decision(1, away.claims.read(run))
        assert (kept.state, kept.refusals, kept.reason) == ("queued", number, "data is missing")
        assert (kept.tip, kept.failures) == (Tip("refs/heads/main", SOURCE), 0)
        waiting = look(lacking)  # by any watcher, wherever it is
        assert (waiting.failed, waiting.fresh, waiting.due) == (True, False, kept.after)
        assert f"tried again at {moment(kept.after)}" in waiting.note
        assert f"at once by: mlops run {SOURCE.short} --model spam" in waiting.note
        assert "data is missing" in waiting.note
        pauses.append(kept.after - clock.now)
        clock.now = kept.after
    assert pauses[0] < timedelta(minutes=2)
    assert pauses[-1] > timedelta(minutes=40)
    done = replace(lacking, planner=Planner()).carry_out(order(patient=True))
    assert done.release == RELEASE
    over = away.claims.outcome()
    assert (over["outcome"], over["ref"]) == ("succeeded", "refs/heads/main")
    assert not {"after", "refusals", "failures"} & set(over)


def test_a_person_is_not_kept_back_by_a_refusal_and_puts_nothing_off(away):
    run = queue(away)
    before = away.claims.read(run)
    lacking = replace(away, planner=Planner(missing=True), executor=Executor())
    with pytest.raises(RefusedError):
        lacking.carry_out(order())
    assert away.claims.read(run) == before
    with pytest.raises(RefusedError):
        look(lacking)
    assert replace(lacking, planner=Planner()).carry_out(order()).release == RELEASE


def test_what_is_put_off_by_a_clock_that_was_wrong_is_tried_now(away, clock):
    run = queue(away)
    claim = away.claims.read(run)
    wrong = {"after": "2999-01-01T00:00:00+00:00", "refusals": "many", "reason": "x"}
    away.claims.put(run, claiming.moved(claim, claiming.QUEUED, **wrong), claim)
    assert replace(away, executor=Executor()).carry_out(order(patient=True)).release == RELEASE


def test_a_remote_that_takes_no_claim_now_does_not_hide_why_a_run_is_refused(away):
    queue(away)
    away.claims.refuses = GitError("away", retryable=True)
    with pytest.raises(RefusedError, match="data is missing"):
        look(replace(away, planner=Planner(missing=True)))
