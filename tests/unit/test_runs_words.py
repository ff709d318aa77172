"""How runs and tasks ended, in the words that people read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mlops.cli import livetree, render, runs_show, runs_wait, runs_words, tree
from mlops.cli.drawing.nodes import nodes
from mlops.cli.progress import Progress
from mlops.cli.runs import _table
from mlops.cli.runs_json import run_json
from mlops.domain.run import Phase, RunResult, StepState, TaskState

NOON = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
STOPPING = "PipelineRun was stopping"
COUNTS = "Tasks Completed: 3 (Failed: 1, Cancelled 0), Skipped: 1"
BROKEN = TaskState(
    "train",
    Phase.FAILED,
    "Failed",
    "step main exited with code 1",
    NOON,
    NOON,
    steps=(StepState("main", Phase.FAILED, 1, reason="Error"),),
)
LATER = TaskState("push", Phase.SKIPPED, STOPPING)


def run(*tasks: TaskState, **more: Any) -> RunResult:
    return RunResult("r", Phase.FAILED, "Failed", COUNTS, NOON, NOON, tasks, **more)


@pytest.mark.parametrize(
    ("reason", "culprits", "said"),
    [
        (STOPPING, ("train",), "not begun: train failed"),
        (STOPPING, (), "not begun: the run was ended"),
        ("PipelineRun was gracefully cancelled", ("train",), "not begun: the run was cancelled"),
        ("PipelineRun was gracefully stopped", (), "not begun: the run was stopped"),
        ("When Expressions evaluated to false", ("train",), "When Expressions evaluated to false"),
    ],
)
def test_a_task_that_was_not_begun_names_what_failed(reason, culprits, said):
    assert runs_words.skipped(TaskState("t", Phase.SKIPPED, reason), culprits) == said


def test_every_face_says_so(capsys):
    shown = run(BROKEN, LATER, TaskState("last", Phase.SUCCEEDED, final=True))
    for seen in (Progress(), livetree.PlainLines()):
        for task in shown.tasks:
            seen.task(task)
    runs_show.text(shown)
    told = capsys.readouterr()
    frame = livetree.frame("r", list(shown.tasks), {}, NOON, 100, 24, NOON)

    for text in (told.out, "\n".join(frame), nodes(shown)[1].more):
        assert "not begun: train failed" in text
    assert told.err.count("not begun: train failed") == 2
    assert STOPPING not in told.out + told.err


def test_a_task_of_finally_that_was_not_begun_knows_what_failed_before_it():
    rows = list(tree.rows([LATER], None, steps=False, culprits=("train",)))

    assert rows[0].said == "not begun: train failed"


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (BROKEN, "train: exit 1"),
        (
            TaskState(
                "t",
                Phase.FAILED,
                "Failed",
                "m",
                steps=(StepState("s", Phase.FAILED, 137, reason="OOMKilled"),),
            ),
            "t: exit 137 (OOMKilled)",
        ),
        (
            TaskState("t", Phase.FAILED, "TaskRunTimeout", "too long", steps=BROKEN.steps),
            "t: too long",
        ),
        (TaskState("t", Phase.FAILED, "TaskRunImagePullFailed"), "t: TaskRunImagePullFailed"),
        (TaskState("t", Phase.FAILED, "Failed", "x", ignored=True), COUNTS),
        (LATER, COUNTS),
    ],
)
def test_an_outcome_names_the_task_and_why(task, said):
    assert runs_words.outcome(run(task)) == said


def test_the_list_names_the_task_and_why_and_has_no_line_of_its_own_in_it(capsys):
    odd = TaskState("t", Phase.FAILED, "Odd", "two\n  lines\x1b[2J")
    _table([run(BROKEN), run(odd), run(TaskState("t", Phase.FAILED, "Odd", "x" * 99))])

    _, first, second, third = capsys.readouterr().out.splitlines()

    assert first.endswith("train: exit 1")
    assert second.endswith(r"t: two lines\x1b[2J")
    assert third.endswith("x…")


def test_messages_of_several_lines_are_told_in_one_and_nothing_that_a_terminal_obeys(capsys):
    assert render.words("a\r\n\n  b\tc\x1b[8m\u202e") == r"a b c\x1b[8m\u202e"

    bad = TaskState("t", Phase.FAILED, "Odd", "one\ntwo", NOON, NOON)
    for seen in (Progress(), livetree.PlainLines()):
        seen.task(bad)
    lines = list(tree.lines(list(tree.rows([bad], None, steps=False)), 100, paint=False))

    told = [*capsys.readouterr().err.splitlines(), *lines]
    assert len(told) == 3
    assert all(line.endswith("one two") for line in told)


class Ended:
    """An executor whose runs are over."""

    def __init__(self, *found: RunResult) -> None:
        self.found = found

    def endings(self, _: Any) -> Any:
        return iter(self.found)


def test_who_waits_hears_which_task_failed(capsys):
    list(runs_wait._told(Ended(run(BROKEN)), ("r",), runs_wait.options.Output.TEXT))  # type: ignore[arg-type]

    assert capsys.readouterr().out == "r: Failed: train: exit 1\n"


@pytest.mark.parametrize(
    ("name", "labels", "attempt"),
    [
        ("spam-1", {"dev.mlops/attempt": "1"}, 1),
        ("spam-1-try2", {"dev.mlops/attempt": "1", "dev.mlops/continues": "spam-1"}, 2),
        ("spam-2-try3", {"dev.mlops/attempt": "2", "dev.mlops/continues": "spam-2-try2"}, 4),
        ("spam-try9", {"dev.mlops/attempt": "1"}, 1),  # so its maker called it
        ("spam", {"dev.mlops/attempt": "many"}, 1),
        ("spam", {"dev.mlops/attempt": "-3"}, 1),
        ("spam", {}, 1),
    ],
)
def test_a_retry_on_a_cluster_is_an_attempt_of_its_own(name, labels, attempt):
    found = RunResult(name, Phase.FAILED, "Failed", "", None, None, labels=labels)

    assert run_json(found, "tekton")["attempt"] == attempt


def test_an_empty_note_of_ours_is_no_line_and_the_run_before_is_named(capsys):
    labels = {"dev.mlops/model": "spam", "dev.mlops/continues": "spam-1"}
    ours = run(results={"note": "", "release": "spam@x"}, labels=labels)
    runs_show.summary(ours)
    runs_show.text(ours)
    told = capsys.readouterr().out

    assert "note" not in told
    assert told.count("release: spam@x") == 2
    assert "goes on with spam-1\n" in told


def test_an_empty_result_of_somebody_elses_is_told(capsys):
    runs_show.summary(run(results={"out": ""}))

    assert capsys.readouterr().out.splitlines()[1:] == ["out: "]
