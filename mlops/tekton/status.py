"""How a run went, in Tekton's own form: a PipelineRun or TaskRun with its `status`.

Tekton v1: PipelineRunStatus, TaskRunStatus; the CRDs' schemas. Times are to the second, as there.
What only a cluster has is left out; `podName`, which a TaskRun must have, is empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mlops.domain.run import Condition, Phase, RunResult, StepState, TaskState, Value

Json = dict[str, Any]
_VERSION = "tekton.dev/v1"
_TRUTH = {
    Phase.SUCCEEDED: "True",
    Phase.SKIPPED: "True",
    Phase.FAILED: "False",
    Phase.CANCELLED: "False",
}
# Said by the entrypoint, of which a container's own end knows nothing.
_TERMINATIONS = frozenset({"TimeoutExceeded", "Continued", "Cancelled", "Skipped"})
_SKIPPED_CODE = 1  # what Tekton's entrypoint ends a step with that it does not start
_ENDED_CODE = 1  # and what stands for a step that was ended, or could not be started
_ENDED = frozenset({"TimeoutExceeded", "TaskRunTimeout", "Cancelled", "StartError"})
# why a task was skipped, in Tekton's words
_NOT_WANTED = "When Expressions evaluated to false"
_STOPPING = "PipelineRun was stopping"
_PIPELINE_LATE = "PipelineRun timeout has been reached"


def of_run(documents: Sequence[Mapping[str, Any]], run: RunResult) -> Json:
    """The run as it was asked for, with its status. `documents`: the run, then what it refers to."""
    asked = documents[0]
    if run.kind == "TaskRun":
        status: Json = _task_status(run.tasks[0]) if run.tasks else {"podName": ""}
        status |= _filled({key: status.get(key) or _time(moment) for key, moment in _span(run)})
        status["conditions"] = [_condition(run.phase, run.reason, run.message, _when(run))]
        spec = _resolved(documents, "task", "Task")
        return _with_status(asked, run, status | _filled({"taskSpec": spec}))
    return _with_status(asked, run, _pipeline_status(documents, run))


def _span(run: RunResult) -> Iterable[tuple[str, datetime | None]]:
    return (("startTime", run.started), ("completionTime", run.finished))


def of_runs(
    found: Sequence[tuple[Sequence[Mapping[str, Any]], RunResult]], *, with_taskruns: bool = False
) -> Json:
    """One run as `of_run`; several, or with their TaskRuns, as a v1 List."""
    if len(found) == 1 and not with_taskruns:
        return of_run(*found[0])
    items = []
    for documents, run in found:
        items.append(of_run(documents, run))
        if with_taskruns and run.kind != "TaskRun":
            items += [_taskrun(documents, run, task) for task in run.tasks if _has_taskrun(task)]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _with_status(asked: Mapping[str, Any], run: RunResult, status: Json) -> Json:
    metadata = {**(asked.get("metadata") or {}), "name": run.name}
    metadata.pop("generateName", None)
    if run.uid:
        metadata["uid"] = run.uid
    if run.started:
        metadata["creationTimestamp"] = _time(run.started)
    metadata["labels"] = {**(metadata.get("labels") or {}), **_of_what(asked, run)}
    return {
        "apiVersion": asked.get("apiVersion", _VERSION),
        "kind": run.kind,
        "metadata": metadata,
        "spec": asked.get("spec") or {},
        "status": status,
    }


def _of_what(asked: Mapping[str, Any], run: RunResult) -> dict[str, str]:
    """The label that names a run's pipeline, or a TaskRun's task where it refers to one."""
    spec = asked.get("spec") or {}
    if run.kind == "TaskRun":
        name = (spec.get("taskRef") or {}).get("name")
        return {"tekton.dev/task": name} if name else {}
    return {"tekton.dev/pipeline": (spec.get("pipelineRef") or {}).get("name") or run.name}


def _pipeline_status(documents: Sequence[Mapping[str, Any]], run: RunResult) -> Json:
    return _filled(
        {
            "conditions": [_condition(run.phase, run.reason, run.message, _when(run))],
            "startTime": _time(run.started),
            "completionTime": _time(run.finished),
            "finallyStartTime": _time(run.finally_started) if _has_finally(run) else "",
            "childReferences": [
                _child(documents, run, task) for task in run.tasks if _has_taskrun(task)
            ],
            "skippedTasks": list(_skipped(run)),
            "results": [_result(name, value) for name, value in run.results.items()],
            "pipelineSpec": _resolved(documents, "pipeline", "Pipeline"),
        }
    )


def _has_finally(run: RunResult) -> bool:
    return any(task.final for task in run.tasks)


def _child(documents: Sequence[Mapping[str, Any]], run: RunResult, task: TaskState) -> Json:
    """What a run says of a TaskRun. Its name for people is the pipeline's: not one that the task has."""
    asked = _pipeline_task(documents, task)
    named = bool(asked.get("displayName") or asked.get("matrix"))
    return _filled(
        {
            "apiVersion": _VERSION,
            "kind": "TaskRun",
            "name": _taskrun_name(run, task),
            "pipelineTaskName": task.of,
            "displayName": task.display_name if named else "",
            "whenExpressions": [_when_expression(each) for each in task.when],
        }
    )


def _skipped(run: RunResult) -> Iterable[Json]:
    told = set()
    for task in run.tasks:
        if task.phase is not Phase.SKIPPED or task.of in told or _cut_off(run, task):
            continue
        told.add(task.of)
        said = not task.final or task.reason == _NOT_WANTED
        whens = [_when_expression(each) for each in task.when if said]
        yield {
            "name": task.of,
            "reason": task.reason,
            **({"whenExpressions": whens} if whens else {}),
        }


def _cut_off(run: RunResult, task: TaskState) -> bool:
    """Whether the run was over before Tekton came to skip the task: it tells nothing of it then."""
    cancelled = run.reason == "Cancelled" and task.reason == _STOPPING
    return cancelled or task.reason == _PIPELINE_LATE


def _when_expression(when: Condition) -> Json:
    operator = "notin" if when.negated else "in"
    return {"input": when.input, "operator": operator, "values": list(when.values)}


def _taskrun(documents: Sequence[Mapping[str, Any]], run: RunResult, task: TaskState) -> Json:
    metadata = documents[0].get("metadata") or {}
    labels = {
        **(metadata.get("labels") or {}),
        **_of_what(documents[0], run),
        "tekton.dev/memberOf": "finally" if task.final else "tasks",
        "tekton.dev/pipelineRun": run.name,
        "tekton.dev/pipelineTask": task.of,
    }
    about: Json = {"name": _taskrun_name(run, task), "labels": labels}
    if metadata.get("namespace"):
        about["namespace"] = metadata["namespace"]
    if task.uid:
        about["uid"] = task.uid
    if task.started:
        about["creationTimestamp"] = _time(task.started)
    return {
        "apiVersion": _VERSION,
        "kind": "TaskRun",
        "metadata": about,
        "spec": _taskrun_spec(documents, task),
        "status": _task_status(task),
    }


def _taskrun_spec(documents: Sequence[Mapping[str, Any]], task: TaskState) -> Json:
    """Of the pipeline task what a TaskRun has of it too."""
    asked = _pipeline_task(documents, task)
    kept = ("taskRef", "taskSpec", "retries", "timeout")
    return {key: asked[key] for key in kept if key in asked}


def _pipeline_task(documents: Sequence[Mapping[str, Any]], task: TaskState) -> Mapping[str, Any]:
    """The task as the pipeline has it; empty where it has none of that name."""
    pipeline = _resolved(documents, "pipeline", "Pipeline") or {}
    for each in (*(pipeline.get("tasks") or ()), *(pipeline.get("finally") or ())):
        if each.get("name") == task.of:
            found: Mapping[str, Any] = each
            return found
    return {}


def _task_status(task: TaskState) -> Json:
    attempts = [_task_status(each) for each in task.earlier]
    return _filled(
        {
            "conditions": [_condition(task.phase, task.reason, task.message, _when(task))],
            "startTime": _time(task.started),
            "completionTime": _time(task.finished),
            "steps": [_step(step) for step in task.steps],
            "results": [_typed_result(name, value) for name, value in task.results.items()],
            "retriesStatus": attempts,
        }
    ) | {"podName": ""}


def _step(step: StepState) -> Json:
    found: Json = {"name": step.name, "container": f"step-{step.name}"}
    if step.image:
        found["imageID"] = step.image
    if step.phase is Phase.PENDING:
        found["waiting"] = {"reason": "PodInitializing"}
    elif step.phase is Phase.RUNNING:
        found["running"] = {"startedAt": _time(step.started)}
    else:
        found |= _ended(step)
    if step.results:
        found["results"] = [_typed_result(name, value) for name, value in step.results.items()]
    return found


def _ended(step: StepState) -> Json:
    code = step.exit_code
    if code is None:
        code = _SKIPPED_CODE if step.phase is not Phase.SUCCEEDED else 0
    own = "Completed" if code == 0 or step.reason == "Continued" else "Error"
    reason = step.reason or ("Skipped" if step.phase is Phase.SKIPPED else own)
    if reason in _ENDED:
        code, own = _ENDED_CODE, "Error"
    reason = "Error" if reason == "StartError" else reason
    times = {"startedAt": _time(step.started), "finishedAt": _time(step.finished)}
    terminated = _filled({"reason": own if reason in _TERMINATIONS else reason, **times})
    return {"terminated": {"exitCode": code, **terminated}, "terminationReason": reason}


def _condition(phase: Phase, reason: str, message: str, when: datetime | None) -> Json:
    return _filled(
        {
            "type": "Succeeded",
            "status": _TRUTH.get(phase, "Unknown"),
            "reason": reason or ("Pending" if phase is Phase.PENDING else str(phase)),
            "message": message,
            "lastTransitionTime": _time(when),
        }
    )


def _when(state: RunResult | TaskState) -> datetime | None:
    return state.finished or state.started


def _result(name: str, value: Value) -> Json:
    return {"name": name, "value": _plain(value)}


def _typed_result(name: str, value: Value) -> Json:
    kind = "string" if isinstance(value, str) else "array" if isinstance(value, tuple) else "object"
    return {"name": name, "type": kind, "value": _plain(value)}


def _plain(value: Value) -> Any:
    if isinstance(value, str):
        return value
    return dict(value) if isinstance(value, Mapping) else list(value)


def _resolved(documents: Sequence[Mapping[str, Any]], what: str, kind: str) -> Any:
    """The `pipelineSpec` or `taskSpec` that the run has or refers to."""
    spec = documents[0].get("spec") or {}
    if f"{what}Spec" in spec:
        return spec[f"{what}Spec"]
    wanted = (spec.get(f"{what}Ref") or {}).get("name")
    for document in documents[1:]:
        if document.get("kind") == kind and (document.get("metadata") or {}).get("name") == wanted:
            return document.get("spec")
    return None


def _has_taskrun(task: TaskState) -> bool:
    return task.started is not None or bool(task.taskrun)


def _taskrun_name(run: RunResult, task: TaskState) -> str:
    return task.taskrun or f"{run.name}-{task.name}"


def _time(moment: datetime | None) -> str:
    if moment is None:
        return ""
    return moment.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def _filled(value: Json) -> Json:
    return {key: each for key, each in value.items() if each not in (None, "", [], {})}
