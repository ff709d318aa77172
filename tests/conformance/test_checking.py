"""The judge of the suite sees what is not as a case says."""

from __future__ import annotations

import dataclasses

import pytest

from tests.conformance import cases, checking, statuses
from tests.conformance.targets import Ended, Refused, TaskEnd

RAN = cases.read(
    """# case: ran
# about: a run.
# expect: Succeeded
# reason: Completed
# results: {r: x}
# tasks: {t: Succeeded, m: [Succeeded, Failed]}
# reasons: {t: Succeeded}
""",
    "area",
)
REFUSED = cases.read(
    """# case: refused
# about: a refusal.
# expect: refused
# cluster: Failed
# at: spec.tasks[0].name
# message: twice
""",
    "area",
)
ENDED = Ended(
    "Succeeded",
    "Completed",
    "",
    {"r": "x"},
    {"t": [TaskEnd("Succeeded", "Succeeded")], "m": [TaskEnd("Succeeded"), TaskEnd("Failed")]},
)


def test_what_is_as_expected_is_no_difference() -> None:
    assert checking.differences(RAN, [ENDED], "local") == []
    assert checking.differences(REFUSED, Refused("a:1: spec.tasks[0].name: twice"), "local") == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"phase": "Failed"}, "the run is Failed"),
        ({"reason": "Succeeded"}, "the reason is Succeeded"),
        ({"results": {}}, "the results are {}"),
        ({"tasks": {}}, "task t is []"),
        ({"tasks": {**ENDED.tasks, "m": [TaskEnd("Succeeded")]}}, "task m is ['Succeeded']"),
    ],
)
def test_every_difference_is_told(changed: dict[str, object], said: str) -> None:
    found = checking.differences(RAN, [dataclasses.replace(ENDED, **changed)], "local")  # type: ignore[arg-type]

    assert any(said in each for each in found), found


def test_a_refusal_must_name_the_place_and_the_cause() -> None:
    found = checking.differences(REFUSED, Refused("spec.tasks[0].names: wrong"), "local")

    assert len(found) == 2


def test_what_should_be_refused_and_ran_is_told() -> None:
    assert "not refused" in checking.differences(REFUSED, [ENDED], "local")[0]
    assert "refused: no" in checking.differences(RAN, Refused("no"), "local")[0]


def test_a_cluster_may_end_otherwise() -> None:
    failed = Ended("Failed", "CouldntGetTask", "")

    assert checking.differences(REFUSED, [failed], "cluster") == []
    assert checking.differences(REFUSED, Refused("no"), "cluster") == ["refused: no"]


def test_ends_are_read_from_tektons_own_status() -> None:
    def condition(status: str, reason: str) -> dict[str, object]:
        return {"conditions": [{"type": "Succeeded", "status": status, "reason": reason}]}

    run = {
        "kind": "PipelineRun",
        "metadata": {"name": "r"},
        "status": {
            **condition("False", "Cancelled"),
            "childReferences": [{"name": "r-t", "pipelineTaskName": "t"}],
            "skippedTasks": [{"name": "s", "reason": "why"}],
            "results": [{"name": "a", "value": ["1"]}],
        },
    }
    child = {
        "kind": "TaskRun",
        "metadata": {"name": "r-t"},
        "status": condition("True", "Succeeded"),
    }
    alone = {
        "kind": "TaskRun",
        "metadata": {"name": "x"},
        "status": condition("Unknown", "TaskRunPending"),
    }

    first, second = statuses.ended([run, child, alone])

    tasks = {"t": [TaskEnd("Succeeded", "Succeeded")], "s": [TaskEnd("Skipped", "why")]}
    assert first == Ended("Cancelled", "Cancelled", "", {"a": ["1"]}, tasks)
    assert second.phase == "Pending"
