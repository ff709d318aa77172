"""Status in Tekton's own form: held against the schemas of the CRDs, as far as a status has them.

The schema below says what Tekton 1.15's CRDs (config/300-crds) say of `status`: names, types, what is
required. Unknown names are refused, as a strict API server does.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import jsonschema
import pytest

from mlops.domain.run import Condition, Phase, RunResult, StepState, TaskState
from mlops.tekton import status

NOON = datetime(2019, 7, 16, 12, 0, 0, 999999, tzinfo=UTC)
END = NOON + timedelta(seconds=5)

TEXT = {"type": "string"}
TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}
VALUE = {
    "anyOf": [
        TEXT,
        {"type": "array", "items": TEXT},
        {"type": "object", "additionalProperties": TEXT},
    ]
}


def shape(required=(), **properties):
    return {
        "type": "object", "properties": properties, "required": list(required), "additionalProperties": False,
    }  # fmt: skip


def several(of):
    return {"type": "array", "items": of, "minItems": 1}


CONDITION = shape(
    ["type", "status"], type={"const": "Succeeded"}, status={"enum": ["True", "False", "Unknown"]},
    reason={"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9]*$"}, message=TEXT, lastTransitionTime=TIME, severity=TEXT,
)  # fmt: skip
WHEN = shape(
    [],
    input=TEXT,
    operator={"enum": ["in", "notin"]},
    values={"type": "array", "items": TEXT},
    cel=TEXT,
)
RESULT = shape(
    ["name", "value"], name=TEXT, type={"enum": ["string", "array", "object"]}, value=VALUE
)
TERMINATED = shape(
    ["exitCode"], exitCode={"type": "integer"}, reason=TEXT, message=TEXT, signal={"type": "integer"},
    startedAt=TIME, finishedAt=TIME, containerID=TEXT,
)  # fmt: skip
STEP = shape(
    [], name=TEXT, container=TEXT, imageID=TEXT, results=several(RESULT), terminated=TERMINATED,
    running=shape([], startedAt=TIME), waiting=shape([], reason=TEXT, message=TEXT),
    terminationReason={"enum": ["Completed", "Error", "Skipped", "TimeoutExceeded", "Cancelled", "Continued", "OOMKilled", "StartError"]},
)  # fmt: skip
TASK_STATUS = shape(
    ["podName"], podName=TEXT, conditions=several(CONDITION), startTime=TIME, completionTime=TIME,
    steps=several(STEP), results=several(RESULT), retriesStatus={"type": "array"}, taskSpec={"type": "object"},
)  # fmt: skip
CHILD = shape(
    [],
    apiVersion=TEXT,
    kind=TEXT,
    name=TEXT,
    pipelineTaskName=TEXT,
    displayName=TEXT,
    whenExpressions=several(WHEN),
)
RUN_STATUS = shape(
    [], conditions=several(CONDITION), startTime=TIME, completionTime=TIME, finallyStartTime=TIME,
    childReferences=several(CHILD), results=several(shape(["name", "value"], name=TEXT, value=VALUE)),
    skippedTasks=several(shape(["name", "reason"], name=TEXT, reason=TEXT, whenExpressions=several(WHEN))),
    pipelineSpec={"type": "object"},
)  # fmt: skip

STEPS = (
    StepState("one", Phase.SUCCEEDED, 0, NOON, END, "Completed", "image@sha256:1", {"r": "x"}),
    StepState("two", Phase.FAILED, 137, NOON, END, "TimeoutExceeded"),
    StepState("three", Phase.SKIPPED),
)
FIRST = TaskState("b", Phase.FAILED, "Failed", "step two", NOON, END, steps=STEPS)
TASKS = (
    TaskState("a", Phase.SUCCEEDED, "Succeeded", "", NOON, END, steps=STEPS[:1], taskrun="r-a", uid="u-a",
              results={"s": "x", "l": ("a", "b"), "o": {"k": "v"}, "e": ""}),
    TaskState("b", Phase.FAILED, "TaskRunTimeout", "too long", NOON, END, 2, steps=STEPS, taskrun="r-b", earlier=(FIRST,)),
    TaskState("m.0", Phase.SUCCEEDED, "Succeeded", "", NOON, END, task="m", taskrun="r-m-0"),
    TaskState("m.1", Phase.RUNNING, "Running", "", NOON, task="m", taskrun="r-m-1",
              steps=(StepState("x", Phase.RUNNING, started=NOON), StepState("y", Phase.PENDING))),
    TaskState("w", Phase.SKIPPED, "When Expressions evaluated to false", when=(Condition("x", False, ("y",)),)),
    TaskState("p", Phase.PENDING),
    TaskState("last", Phase.CANCELLED, "TaskRunCancelled", "stopped", NOON, END, final=True, taskrun="r-last"),
)  # fmt: skip
RUN = RunResult(
    "r", Phase.FAILED, "Failed", "Tasks Completed: 3", NOON, END, TASKS, {"out": "v", "list": ("a",)}, uid="u",
    finally_started=END,
)  # fmt: skip
DOCUMENT = {
    "apiVersion": "tekton.dev/v1",
    "kind": "PipelineRun",
    "metadata": {"generateName": "r-", "labels": {"a": "b"}, "namespace": "n"},
    "spec": {"pipelineRef": {"name": "p"}, "params": [{"name": "x", "value": "y"}]},
}
PIPELINE = {
    "apiVersion": "tekton.dev/v1",
    "kind": "Pipeline",
    "metadata": {"name": "p"},
    "spec": {
        "tasks": [
            {"name": "b", "retries": 1, "timeout": "5s", "taskSpec": {"steps": []}, "params": []}
        ],
        "finally": [{"name": "last", "taskRef": {"name": "t"}}],
    },
}
DOCUMENTS = (DOCUMENT, PIPELINE)


def valid(value, schema):
    jsonschema.Draft202012Validator(schema).validate(value)
    return value


def test_a_pipelinerun_has_its_status():
    found = status.of_run(DOCUMENTS, RUN)
    assert found["metadata"] == {
        "labels": {"a": "b", "tekton.dev/pipeline": "p"}, "namespace": "n", "name": "r", "uid": "u", "creationTimestamp": "2019-07-16T12:00:00Z",
    }  # fmt: skip
    assert found["spec"] == DOCUMENT["spec"]
    told = valid(found["status"], RUN_STATUS)
    assert told["conditions"] == [
        {
            "type": "Succeeded", "status": "False", "reason": "Failed", "message": "Tasks Completed: 3",
            "lastTransitionTime": "2019-07-16T12:00:05Z",
        }
    ]  # fmt: skip
    assert [(each["name"], each["pipelineTaskName"]) for each in told["childReferences"]] == [
        ("r-a", "a"), ("r-b", "b"), ("r-m-0", "m"), ("r-m-1", "m"), ("r-last", "last"),
    ]  # fmt: skip
    assert told["skippedTasks"] == [
        {
            "name": "w",
            "reason": "When Expressions evaluated to false",
            "whenExpressions": [{"input": "x", "operator": "in", "values": ["y"]}],
        }
    ]
    assert told["results"] == [{"name": "out", "value": "v"}, {"name": "list", "value": ["a"]}]
    assert told["pipelineSpec"] == PIPELINE["spec"]
    assert told["finallyStartTime"] == "2019-07-16T12:00:05Z"


def test_its_taskruns_stand_beside_it():
    found = status.of_runs([(DOCUMENTS, RUN)], with_taskruns=True)
    assert (found["apiVersion"], found["kind"]) == ("v1", "List")
    first, *rest = found["items"]
    assert first == status.of_run(DOCUMENTS, RUN)
    by_name = {each["metadata"]["name"]: each for each in rest}
    assert list(by_name) == [each["name"] for each in first["status"]["childReferences"]]
    for each in rest:
        assert (each["apiVersion"], each["kind"]) == ("tekton.dev/v1", "TaskRun")
        valid(each["status"], TASK_STATUS)
    assert by_name["r-a"]["status"]["results"] == [
        {"name": "s", "type": "string", "value": "x"},
        {"name": "l", "type": "array", "value": ["a", "b"]},
        {"name": "o", "type": "object", "value": {"k": "v"}},
        {"name": "e", "type": "string", "value": ""},
    ]
    failed = by_name["r-b"]
    assert failed["spec"] == {"retries": 1, "timeout": "5s", "taskSpec": {"steps": []}}
    assert failed["metadata"]["labels"] == {
        "a": "b", "tekton.dev/pipeline": "p", "tekton.dev/memberOf": "tasks", "tekton.dev/pipelineRun": "r", "tekton.dev/pipelineTask": "b",
    }  # fmt: skip
    assert [step["terminationReason"] for step in failed["status"]["steps"]] == [
        "Completed",
        "TimeoutExceeded",
        "Skipped",
    ]
    assert [step["terminated"]["exitCode"] for step in failed["status"]["steps"]] == [0, 1, 1]
    (earlier,) = failed["status"]["retriesStatus"]
    valid(earlier, TASK_STATUS)
    assert earlier["conditions"][0]["reason"] == "Failed"
    assert by_name["r-m-1"]["status"]["steps"][0]["running"] == {
        "startedAt": "2019-07-16T12:00:00Z"
    }
    assert by_name["r-m-1"]["status"]["conditions"][0]["status"] == "Unknown"
    assert by_name["r-last"]["metadata"]["labels"]["tekton.dev/memberOf"] == "finally"


def test_a_taskrun_has_its_own():
    document = {
        "apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": {"name": "t"}, "spec": {"taskRef": {"name": "x"}},
    }  # fmt: skip
    task = {
        "apiVersion": "tekton.dev/v1",
        "kind": "Task",
        "metadata": {"name": "x"},
        "spec": {"steps": [{"name": "one"}]},
    }
    run = replace(
        RUN, name="t", kind="TaskRun", tasks=(replace(TASKS[1], name="t"),), reason="TaskRunTimeout"
    )
    found = status.of_run((document, task), run)
    assert found["kind"] == "TaskRun"
    told = valid(found["status"], TASK_STATUS)
    assert told["conditions"][0]["reason"] == "TaskRunTimeout"
    assert told["taskSpec"] == task["spec"]
    assert status.of_runs([((document, task), run)], with_taskruns=True)["items"] == [found]


@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.RUNNING])
def test_what_has_not_begun_has_a_status_too(phase):
    run = RunResult(
        "r", phase, "PipelineRunPending" if phase is Phase.PENDING else "Running", "", None, None
    )
    told = valid(status.of_run(DOCUMENTS, run)["status"], RUN_STATUS)
    assert told["conditions"][0]["status"] == "Unknown"


def test_several_runs_are_a_list():
    found = status.of_runs([(DOCUMENTS, RUN), (DOCUMENTS, replace(RUN, name="s"))])
    assert [each["metadata"]["name"] for each in found["items"]] == ["r", "s"]


def task(name, phase, reason="", **more):
    return TaskState(name, phase, reason, started=NOON, finished=END, taskrun=f"r-{name}", **more)


def skipped(name, reason, **more):
    return TaskState(name, Phase.SKIPPED, reason, **more)


def told(*tasks, reason="Failed", **more):
    run = replace(RUN, tasks=tasks, reason=reason, **more)
    return valid(status.of_run(DOCUMENTS, run)["status"], RUN_STATUS)


def test_what_ran_has_its_conditions_beside_it():
    when = (Condition("x", True, ("y",)),)
    found = told(task("b", Phase.SUCCEEDED, when=when))
    assert found["childReferences"][0]["whenExpressions"] == [
        {"input": "x", "operator": "notin", "values": ["y"]}
    ]


def test_conditions_of_a_skipped_finally_task_are_told_where_they_kept_it():
    when = (Condition("x", False, ("y",)),)
    found = told(
        skipped("b", "PipelineRun was stopping", when=when),
        skipped("c", "Results were missing", when=when, final=True),
        skipped("d", "When Expressions evaluated to false", when=when, final=True),
    )
    assert [each["name"] for each in found["skippedTasks"] if "whenExpressions" in each] == [
        "b",
        "d",
    ]


@pytest.mark.parametrize(
    ("run_reason", "reason", "is_told"),
    [
        ("Failed", "PipelineRun was stopping", True),
        ("Cancelled", "PipelineRun was stopping", False),
        ("Cancelled", "PipelineRun was gracefully cancelled", True),
        ("PipelineRunTimeout", "PipelineRun timeout has been reached", False),
        ("PipelineRunTimeout", "PipelineRun was stopping", True),
    ],
)
def test_a_run_that_is_cut_off_tells_of_no_skipped_task(run_reason, reason, is_told):
    found = told(task("a", Phase.CANCELLED), skipped("b", reason), reason=run_reason)
    assert ("skippedTasks" in found) == is_told


def test_finally_has_a_time_where_there_is_one():
    assert "finallyStartTime" not in told(task("b", Phase.SUCCEEDED))
    assert "finallyStartTime" in told(task("last", Phase.SUCCEEDED, final=True))


def test_what_had_no_taskrun_is_no_child():
    invalid = TaskState("b", Phase.FAILED, "InvalidTaskResultReference")
    found = status.of_runs([(DOCUMENTS, replace(RUN, tasks=(invalid,)))], with_taskruns=True)
    assert [each["kind"] for each in found["items"]] == ["PipelineRun"]
    assert "childReferences" not in found["items"][0]["status"]


def test_the_name_of_a_task_itself_is_none_of_the_pipelines():
    found = told(task("b", Phase.SUCCEEDED, display_name="Of the task"))
    assert "displayName" not in found["childReferences"][0]


@pytest.mark.parametrize(
    ("step", "code", "reason", "said"),
    [
        (StepState("s", Phase.FAILED, 128, NOON, END, "StartError"), 1, "Error", "Error"),
        (StepState("s", Phase.FAILED, 143, NOON, END, "Cancelled"), 1, "Error", "Cancelled"),
        (StepState("s", Phase.FAILED, 7, NOON, END, "Continued"), 7, "Completed", "Continued"),
        (StepState("s", Phase.FAILED, 7, NOON, END, "Error"), 7, "Error", "Error"),
    ],
)
def test_a_step_ends_as_tekton_says_it(step, code, reason, said):
    run = replace(RUN, tasks=(task("b", Phase.FAILED, steps=(step,)),))
    _, taskrun = status.of_runs([(DOCUMENTS, run)], with_taskruns=True)["items"]
    (found,) = valid(taskrun["status"], TASK_STATUS)["steps"]
    assert (found["terminated"]["exitCode"], found["terminated"]["reason"]) == (code, reason)
    assert found["terminationReason"] == said


def test_a_taskrun_that_was_cancelled_at_once_has_its_times():
    document = {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": "t"},
        "spec": {"taskSpec": {}},
    }
    state = skipped("t", "PipelineRun was stopping")
    run = replace(RUN, name="t", kind="TaskRun", tasks=(state,), reason="TaskRunCancelled")
    found = valid(status.of_run((document,), run)["status"], TASK_STATUS)
    assert {"startTime", "completionTime"} <= set(found)
