"""A run that goes on with another's unfinished tasks."""

from __future__ import annotations

from typing import Any

import pytest

from mlops.domain.run import Phase, RunResult, TaskState, Value
from mlops.errors import RefusedError
from mlops.tekton import continuing, observed

MAKE = {"name": "make", "taskSpec": {"results": [{"name": "r"}], "steps": [{"image": "x"}]}}
USE = {
    "name": "use",
    "runAfter": ["make"],
    "params": [
        {"name": "whole", "value": "got $(tasks.make.results.r) of $(params.p)"},
        {"name": "list", "value": ["$(tasks.make.results.all[*])", "$(tasks.make.results.all[0])"]},
        {"name": "key", "value": "$(tasks.make.results.object.k)"},
    ],
    "taskSpec": {"steps": [{"image": "x"}]},
}
LAST = {
    "name": "last",
    "params": [{"name": "how", "value": "$(tasks.make.status) $(tasks.use.status)"}],
    "taskSpec": {"steps": [{"image": "x"}]},
}
RESULTS: dict[str, Value] = {"r": "$(params.p)", "all": ("a", "b"), "object": {"k": "v"}}


def _found(**spec: Any) -> dict[str, Any]:
    pipeline = {
        "params": [{"name": "p"}],
        "tasks": [MAKE, USE],
        "finally": [LAST],
        "results": [{"name": "out", "value": "$(tasks.make.results.r)"}],
    }
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {
            "name": "run",
            "uid": "u",
            "resourceVersion": "7",
            "labels": {"dev.mlops/model": "spam", "tekton.dev/pipeline": "run"},
            "annotations": {"dev.mlops/document-sha256": "old", "dev.mlops/results": "{}"},
        },
        "spec": {
            "pipelineRef": {"name": "somewhere"},
            "params": [{"name": "p", "value": "1"}],
            "status": "Cancelled",
            **spec,
        },
        "status": {"pipelineSpec": pipeline},
    }


def _before(*phases: Phase) -> RunResult:
    tasks = [
        TaskState("make", phases[0], results=RESULTS),
        TaskState("use", phases[1]),
        TaskState("last", Phase.SUCCEEDED, final=True),
    ]
    return RunResult("run", Phase.FAILED, "Failed", "", None, None, tuple(tasks))


def _document(found: dict[str, Any] | None = None, taskruns: Any = None) -> dict[str, Any]:
    before = _before(Phase.SUCCEEDED, Phase.FAILED)
    return dict(continuing.document(found or _found(), taskruns or {}, before, "run-try2"))


def test_what_succeeded_is_not_run_again_and_finally_is() -> None:
    pipeline = _document()["spec"]["pipelineSpec"]

    assert [task["name"] for task in pipeline["tasks"]] == ["use"]
    assert [task["name"] for task in pipeline["finally"]] == ["last"]
    assert "runAfter" not in pipeline["tasks"][0]


def test_old_results_come_as_parameters_and_stay_data() -> None:
    spec = _document()["spec"]

    given = {each["name"]: each["value"] for each in spec["params"]}
    assert given == {
        "p": "1",
        "of-make-r": "$(params.p)",
        "of-make-all": ["a", "b"],
        "of-make-object": {"k": "v"},
    }
    declared = {each["name"]: each.get("type") for each in spec["pipelineSpec"]["params"]}
    assert declared["of-make-all"] == "array"
    assert declared["of-make-object"] == "object"
    values = {each["name"]: each["value"] for each in spec["pipelineSpec"]["tasks"][0]["params"]}
    assert values == {
        "whole": "got $(params.of-make-r) of $(params.p)",
        "list": ["$(params.of-make-all[*])", "$(params.of-make-all[0])"],
        "key": "$(params.of-make-object.k)",
    }


def test_results_that_are_known_are_kept_beside_those_that_a_task_still_gives() -> None:
    found = _found()
    found["status"]["pipelineSpec"]["results"] = [
        {"name": "known", "value": "$(tasks.make.results.all[*])"},
        {"name": "text", "value": "$(tasks.make.results.all[1])-$(tasks.make.results.object.k)"},
        {"name": "data", "value": "$(tasks.make.results.r) and $(tasks.make.results.r)"},
        {"name": "both", "value": "$(tasks.make.results.all[0]) $(tasks.use.results.x)"},
        {"name": "open", "value": "$(tasks.use.results.x)"},
    ]

    document = _document(found)

    assert document["spec"]["pipelineSpec"]["results"] == [
        {"name": "open", "value": "$(tasks.use.results.x)"}
    ]  # Tekton takes no result of both kinds
    assert observed.run(document).results == {
        "known": ("a", "b"),
        "text": "b-v",
        "data": "$(params.p) and $(params.p)",
    }


def test_finally_hears_how_the_others_ended() -> None:
    (last,) = _document()["spec"]["pipelineSpec"]["finally"]

    assert last["params"][0]["value"] == "Succeeded $(tasks.use.status)"


def test_nothing_of_the_old_object_is_taken_along() -> None:
    document = _document()

    assert document["metadata"] == {
        "name": "run-try2",
        "labels": {"dev.mlops/model": "spam", "dev.mlops/continues": "run"},
        "annotations": {"dev.mlops/results": '{"out": "$(params.p)"}'},
    }
    assert "status" not in document
    assert not {"status", "pipelineRef"} & set(document["spec"])


def test_the_claim_that_was_made_is_mounted_again() -> None:
    template = {"name": "ws", "volumeClaimTemplate": {"spec": {}}}
    found = _found(workspaces=[template, {"name": "other", "emptyDir": {}}])
    task = {**MAKE, "workspaces": [{"name": "mine", "workspace": "ws"}]}
    found["status"]["pipelineSpec"]["tasks"] = [task, USE]
    taskrun = {
        "metadata": {"labels": {"tekton.dev/pipelineTask": "make"}},
        "spec": {"workspaces": [{"name": "mine", "persistentVolumeClaim": {"claimName": "pvc-1"}}]},
    }

    spec = _document(found, {"run-make": taskrun})["spec"]

    assert spec["workspaces"] == [
        {"name": "ws", "persistentVolumeClaim": {"claimName": "pvc-1"}},
        {"name": "other", "emptyDir": {}},
    ]


def test_settings_of_tasks_that_are_gone_go_too() -> None:
    specs = [{"pipelineTaskName": name} for name in ("make", "use", "last")]

    kept = _document(_found(taskRunSpecs=specs))["spec"]["taskRunSpecs"]

    assert [each["pipelineTaskName"] for each in kept] == ["use", "last"]


def test_a_run_that_never_began_is_refused() -> None:
    found = _found()
    del found["status"]

    with pytest.raises(RefusedError, match="never began"):
        _document(found)


def test_a_run_whose_finally_failed_alone_is_refused() -> None:
    before = _before(Phase.SUCCEEDED, Phase.SUCCEEDED)

    with pytest.raises(RefusedError, match="no task left"):
        continuing.document(_found(), {}, before, "run-try2")


@pytest.mark.parametrize(
    ("run", "number", "called"),
    [
        ("spam-1", 2, "spam-1-try2"),
        ("spam-1-try2", 3, "spam-1-try3"),
        ("x" * 63, 2, "x" * 58 + "-try2"),
        ("x" * 57 + "-yyyyy", 12, "x" * 57 + "-try12"),
    ],
)
def test_tries_are_counted_in_the_name(run: str, number: int, called: str) -> None:
    assert continuing.name(run, number) == called
