"""How a run stands, read from a PipelineRun or TaskRun as a cluster keeps it.

Tekton v1: PipelineRunStatus and TaskRunStatus (docs/pipelineruns.md, docs/taskruns.md). The other
way is `status`. Nothing is presumed of an object that a cluster gives: what is absent reads as empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from mlops.domain.run import Condition, Phase, RunResult, StepState, TaskState, Value
from mlops.tekton import podstatus
from mlops.tekton.loose import Json, mapping, mappings
from mlops.tekton.substitution import references

NETWORK = "dev.mlops/network"
EARLIER = "dev.mlops/results"
RUNTIME = "tekton"
_CANCELLED = frozenset(
    {"Cancelled", "TaskRunCancelled", "CancelledRunningFinally", "StoppedRunningFinally"}
)
_PENDING = frozenset({"PipelineRunPending", "TaskRunPending"})
_INDEX = re.compile(r"-(\d+)\Z")
_IMAGE = re.compile(r"\A(?:docker-pullable|docker|containerd)://")


def run(found: Json, taskruns: Iterable[Json] = ()) -> RunResult:
    """A PipelineRun with its TaskRuns, or a TaskRun alone."""
    about, status = mapping(found, "metadata"), mapping(found, "status")
    condition = _condition(status)
    single = found.get("kind") == "TaskRun"
    tasks = (_task(found, {}),) if single else _tasks(found, taskruns)
    return RunResult(
        name=str(about.get("name") or ""),
        phase=_phase(condition, mapping(found, "spec")),
        reason=str(condition.get("reason") or ""),
        message=str(condition.get("message") or ""),
        started=instant(status.get("startTime") or about.get("creationTimestamp")),
        finished=instant(status.get("completionTime")),
        tasks=tasks,
        results={**_earlier(about), **_results(status.get("results"))},
        labels={str(k): str(v) for k, v in mapping(about, "labels").items()},
        uid=str(about.get("uid") or ""),
        finally_started=instant(status.get("finallyStartTime")),
        kind="TaskRun" if single else "PipelineRun",
    )


def gone(before: RunResult) -> RunResult:
    """How a run stands that somebody removed from the cluster."""
    if before.phase.done:
        return before
    message = f"{before.kind} {before.name} was removed from the cluster before it was over"
    return replace(before, phase=Phase.FAILED, reason="Deleted", message=message)


def parents(task: Json) -> tuple[str, ...]:
    """The pipeline tasks that one waits for, as the document has it: by runAfter, and by results."""
    named = _texts(task.get("runAfter"))
    used = [each.task for text in texts(task) for each in references(text) if each.task]
    return tuple(dict.fromkeys((*named, *used)))


def texts(found: Any) -> Iterator[str]:
    """Every text of a document, keys left out."""
    if isinstance(found, str):
        yield found
    elif isinstance(found, Mapping):
        for each in found.values():
            yield from texts(each)
    elif isinstance(found, (list, tuple)):
        for each in found:
            yield from texts(each)


def _tasks(found: Json, taskruns: Iterable[Json]) -> tuple[TaskState, ...]:
    """In the pipeline's order; of a matrix each combination in its own."""
    status = mapping(found, "status")
    spec = mapping(status, "pipelineSpec") or mapping(mapping(found, "spec"), "pipelineSpec")
    children: dict[str, list[TaskState]] = {}
    by_name = {str(mapping(each, "metadata").get("name")): each for each in taskruns}
    declared = {
        str(each.get("name")): (each, final)
        for key, final in (("tasks", False), ("finally", True))
        for each in mappings(spec.get(key))
    }
    for child in mappings(status.get("childReferences")):
        of, name = str(child.get("pipelineTaskName") or ""), str(child.get("name") or "")
        task, final = declared.get(of, ({}, False))
        taskrun = by_name.get(name) or {"metadata": {"name": name}}
        children.setdefault(of, []).append(_task(taskrun, task, of, final=final))
    skipped = {str(each.get("name")): each for each in mappings(status.get("skippedTasks"))}
    over = _phase(_condition(status), {}).done
    states: list[TaskState] = []
    for name, (task, final) in declared.items():
        begun = children.pop(name, [])
        after = parents(task)
        if begun:
            states += _named(begun, after, matrix="matrix" in task)
        elif name in skipped:
            states.append(_skipped(name, skipped[name], after, final=final))
        elif not over:
            states.append(TaskState(name, Phase.PENDING, after=after, final=final, runtime=RUNTIME))
    for begun in children.values():
        states += begun
    return tuple(states)


def _named(
    states: Sequence[TaskState], after: tuple[str, ...], *, matrix: bool
) -> Iterable[TaskState]:
    """The states of one pipeline task with the names that they have in a run: `build.0` of a matrix."""
    for position, state in enumerate(states):
        # of a matrix with one combination the TaskRun has the task's name, and no index
        alone = len(states) == 1 and state.taskrun.endswith(f"-{state.name}")
        index = None if alone else _INDEX.search(state.taskrun)
        number = index.group(1) if index else str(position)
        name = f"{state.name}.{number}" if matrix else state.name
        yield replace(state, name=name, task=state.name if matrix else "", after=after)


def _skipped(name: str, said: Json, after: tuple[str, ...], *, final: bool) -> TaskState:
    when = tuple(
        Condition(
            str(each.get("input") or ""),
            each.get("operator") == "notin",
            tuple(_texts(each.get("values"))),
        )
        for each in mappings(said.get("whenExpressions"))
    )
    reason = str(said.get("reason") or "")
    return TaskState(
        name, Phase.SKIPPED, reason, after=after, final=final, when=when, runtime=RUNTIME
    )


def _task(found: Json, task: Json, name: str = "", *, final: bool = False) -> TaskState:
    about, status = mapping(found, "metadata"), mapping(found, "status")
    condition = _condition(status)
    phase = _phase(condition, mapping(found, "spec"))
    own = str(about.get("name") or "")
    earlier = tuple(
        _attempt(each, name or own, final=final) for each in mappings(status.get("retriesStatus"))
    )
    marks = {**mapping(about, "labels"), **mapping(about, "annotations")}
    ignored = task.get("onError") == "continue" and phase is Phase.FAILED
    steps = _steps(status)
    begun = any(step.phase is not Phase.PENDING for step in steps)
    message = str(condition.get("message") or "")
    if phase is Phase.FAILED:
        message = "; ".join((message, *_out_of_memory(status)))
    return TaskState(
        name or own,
        phase,
        str(condition.get("reason") or ""),
        message,
        instant(status.get("startTime")),
        instant(status.get("completionTime")),
        attempts=len(earlier) + 1,
        final=final,
        runtime=RUNTIME,
        network=marks.get(NETWORK) != "none",
        results=_results(status.get("results")),
        steps=steps,
        taskrun=own,
        waits="" if begun or phase.done else podstatus.waits(message),
        uid=str(about.get("uid") or ""),
        earlier=earlier,
        combination=_combination(found, task),
        ignored=ignored,
    )


def _attempt(status: Json, name: str, *, final: bool) -> TaskState:
    condition = _condition(status)
    return TaskState(
        name,
        _phase(condition, {}),
        str(condition.get("reason") or ""),
        str(condition.get("message") or ""),
        instant(status.get("startTime")),
        instant(status.get("completionTime")),
        final=final,
        runtime=RUNTIME,
        steps=_steps(status),
    )


def _combination(found: Json, task: Json) -> dict[str, str]:
    """What the matrix of a pipeline task gave this TaskRun."""
    matrix = mapping(task, "matrix")
    names = {str(each.get("name")) for each in mappings(matrix.get("params"))}
    for include in mappings(matrix.get("include")):
        names |= {str(each.get("name")) for each in mappings(include.get("params"))}
    given = mappings(mapping(found, "spec").get("params"))
    return {
        str(each.get("name")): str(each.get("value"))
        for each in given
        if str(each.get("name")) in names
    }


def _steps(status: Json) -> tuple[StepState, ...]:
    return tuple(map(_step, mappings(status.get("steps"))))


def _step(found: Json) -> StepState:
    state = podstatus.state(found)
    reason = state.reason
    if state.ended:
        reason = "OOMKilled" if reason == "OOMKilled" else found.get("terminationReason") or reason
        phase = Phase.SUCCEEDED if state.exit_code == 0 else Phase.FAILED
        phase = Phase.SKIPPED if reason == "Skipped" else phase
        reason = "" if reason == "Completed" else reason
    else:
        phase = Phase.RUNNING if state.running else Phase.PENDING
    return StepState(
        str(found.get("name") or ""),
        phase,
        state.exit_code,
        instant(state.started),
        instant(state.finished),
        str(reason),
        _IMAGE.sub("", str(found.get("imageID") or "")),
        _results(found.get("results")),
    )


def _out_of_memory(status: Json) -> Iterator[str]:
    """Sidecars that the kernel ended for want of memory: what the steps say of it is what they lost."""
    for each in mappings(status.get("sidecars")):
        if mapping(each, "terminated").get("reason") == "OOMKilled":
            yield f"sidecar {each.get('name')} ran out of memory (OOMKilled)"


def _condition(status: Json) -> Json:
    found = mappings(status.get("conditions"))
    return next((each for each in found if each.get("type") == "Succeeded"), {})


def _phase(condition: Json, spec: Json) -> Phase:
    truth, reason = str(condition.get("status")), str(condition.get("reason") or "")
    if truth == "True":
        return Phase.SUCCEEDED
    if truth == "False":
        return Phase.CANCELLED if reason in _CANCELLED else Phase.FAILED
    if reason in _PENDING or (not condition and spec.get("status") == "PipelineRunPending"):
        return Phase.PENDING
    return Phase.RUNNING if condition else Phase.PENDING


def _results(found: Any) -> dict[str, Value]:
    return {str(each.get("name")): _value(each.get("value")) for each in mappings(found)}


def _earlier(about: Json) -> dict[str, Value]:
    """Results that earlier tries of the run gave: see `continuing`."""
    try:
        found = json.loads(str(mapping(about, "annotations").get(EARLIER) or "{}"))
    except ValueError:
        return {}
    return {key: _value(each) for key, each in found.items()} if isinstance(found, dict) else {}


def _value(found: Any) -> Value:
    if isinstance(found, Mapping):
        return {str(key): str(each) for key, each in found.items()}
    if isinstance(found, (list, tuple)):
        return tuple(map(str, found))
    return "" if found is None else str(found)


def instant(text: Any) -> datetime | None:
    """A time of the API; None where it is none."""
    try:
        return datetime.fromisoformat(str(text)) if text else None
    except ValueError:
        return None


def _texts(found: Any) -> list[str]:
    return list(map(str, found)) if isinstance(found, (list, tuple)) else []
