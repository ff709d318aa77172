"""What the two executors made of a case is held against each other, field by field."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance import agreement


def condition(status: str, reason: str, message: str = "") -> dict[str, Any]:
    found = {"type": "Succeeded", "status": status, "reason": reason, "message": message}
    return {"conditions": [found], "startTime": "then", "completionTime": "later"}


def step(name: str, code: int = 0, **more: Any) -> dict[str, Any]:
    reason = "Error" if code else "Completed"
    ended = {"exitCode": code, "reason": reason}
    return {
        "name": name,
        "container": f"step-{name}",
        "terminated": ended,
        "terminationReason": reason,
        **more,
    }


LOCAL: list[dict[str, Any]] = [
    {
        "kind": "PipelineRun",
        "metadata": {"name": "r"},
        "status": {
            **condition(
                "True", "Completed", "Tasks Completed: 1 (Failed: 0, Cancelled 0), Skipped: 1"
            ),
            "childReferences": [{"name": "r-t", "kind": "TaskRun", "pipelineTaskName": "t"}],
            "skippedTasks": [{"name": "u", "reason": "why"}],
            "results": [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}],
        },
    },
    {
        "kind": "TaskRun",
        "metadata": {"name": "r-t"},
        "status": {
            **condition("True", "Succeeded", "as we say it"),
            "steps": [step("s"), step("u")],
            "results": [{"name": "a", "value": "1", "type": "string"}],
            "retriesStatus": [{**condition("False", "Failed"), "steps": [step("s", 3)]}],
        },
    },
]


def changed(change: Callable[[Any, Any], object]) -> list[dict[str, Any]]:
    """The same as a cluster might have it, with a change of the run's status or the TaskRun's."""
    found = copy.deepcopy(LOCAL)
    change(found[0]["status"], found[1]["status"])
    return found


@pytest.mark.parametrize(
    "change",
    [
        lambda run, _: run["results"].reverse(),
        lambda run, _: run.update(startTime="another", provenance={}),
        lambda _, task: task["conditions"][0].update(message="as a cluster says it"),
        lambda _, task: task.update(podName="p", artifacts={}, sidecars=[{"name": "c"}]),
        lambda _, task: task["steps"].__setitem__(1, {"name": "u"}),  # never started there
    ],
)
def test_what_each_has_in_its_own_way_is_no_difference(
    change: Callable[[Any, Any], object],
) -> None:
    assert agreement.differences(LOCAL, changed(change)) == []


@pytest.mark.parametrize(
    ("change", "at"),
    [
        (lambda run, _: run["conditions"][0].update(status="False"), "PipelineRun r/status"),
        (lambda run, _: run["conditions"][0].update(reason="Failed"), "PipelineRun r/reason"),
        (
            lambda run, _: run["conditions"][0].update(
                message="Tasks Completed: 2 (Failed: 0, Cancelled 0), Skipped: 0"
            ),
            "PipelineRun r/counts",
        ),
        (lambda run, _: run.pop("completionTime"), "PipelineRun r/completionTime"),
        (lambda run, _: run.update(finallyStartTime="then"), "PipelineRun r/finallyStartTime"),
        (lambda run, _: run["results"].pop(), "PipelineRun r/results/b"),
        (lambda run, _: run.pop("childReferences"), "PipelineRun r/childReferences/r-t"),
        (
            lambda run, _: run["childReferences"][0].update(displayName="T"),
            "PipelineRun r/childReferences/r-t/displayName",
        ),
        (
            lambda run, _: run["skippedTasks"][0].update(reason="other"),
            "PipelineRun r/skippedTasks/u/reason",
        ),
        (lambda _, task: task["conditions"][0].update(reason="Failed"), "TaskRun r-t/reason"),
        (lambda _, task: task["results"][0].update(value="2"), "TaskRun r-t/results/a/value"),
        (lambda _, task: task.pop("retriesStatus"), "TaskRun r-t/retriesStatus"),
        (
            lambda _, task: task["steps"][0].update(terminationReason="Skipped"),
            "TaskRun r-t/steps/s/terminationReason",
        ),
        (
            lambda _, task: task["retriesStatus"][0]["steps"][0]["terminated"].update(exitCode=1),
            "TaskRun r-t/retriesStatus[0]/steps/s/exitCode",
        ),
    ],
)
def test_every_difference_is_told(change: Callable[[Any, Any], object], at: str) -> None:
    (found,) = agreement.differences(LOCAL, changed(change))

    assert found.startswith(f"{at}: here ")
    assert agreement.differences(LOCAL, changed(change), known=[at]) == []


def test_a_difference_that_is_known_must_be_there() -> None:
    (found,) = agreement.differences(LOCAL, LOCAL, known=["TaskRun r-t/reason"])

    assert found == "TaskRun r-t/reason: does not differ"


def test_the_end_of_a_generated_name_is_left_out() -> None:
    here = [{"kind": "TaskRun", "metadata": {"name": "begin-abcde"}, "status": {}}]
    there = [{"kind": "TaskRun", "metadata": {"name": "begin-vwxyz"}, "status": {}}]

    assert agreement.differences(here, there, generated="begin-") == []
    assert len(agreement.differences(here, there)) == 2


@pytest.mark.parametrize(
    "there",
    [
        [
            {
                "name": "s",
                "container": "step-s",
                "terminated": {"exitCode": 1, "reason": "TaskRunTimeout"},
            }
        ],
        [step("s", 1, terminationReason="TimeoutExceeded")],
        [],
    ],
    ids=["by Tekton", "by the step", "before it began"],
)
@pytest.mark.parametrize("reason", ["TaskRunTimeout", "Failed"])
def test_a_step_that_the_end_of_its_taskrun_cut_short_may_end_in_several_ways(
    there: list[dict[str, Any]], reason: str
) -> None:
    here = [step("s", 1, terminationReason="Cancelled")]
    ours, theirs = (
        [
            {
                "kind": "TaskRun",
                "metadata": {"name": "t"},
                "status": {**condition("False", reason), "steps": each},
            }
        ]
        for each in (here, there)
    )
    assert bool(agreement.differences(ours, theirs)) == (reason == "Failed")
