"""States of runs, tasks and steps as JSON values, and back. What is empty is left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from mlops.domain.run import Condition, Phase, RunResult, StepState, TaskState, Value


def run_to_json(run: RunResult) -> dict[str, Any]:
    """All of a run but its tasks."""
    return _filled(
        name=run.name,
        phase=str(run.phase),
        reason=run.reason,
        message=run.message,
        started=_text(run.started),
        finished=_text(run.finished),
        labels=dict(run.labels),
        results=_values(run.results),
        notes=list(run.notes),
        uid=run.uid,
        finallyStarted=_text(run.finally_started),
        kind=run.kind,
    )


def run_from_json(raw: Mapping[str, Any], tasks: Iterable[TaskState]) -> RunResult:
    """Raises KeyError, TypeError or ValueError where `raw` is no run."""
    return RunResult(
        name=raw["name"],
        phase=Phase(raw["phase"]),
        reason=raw.get("reason", ""),
        message=raw.get("message", ""),
        started=_moment(raw, "started"),
        finished=_moment(raw, "finished"),
        tasks=tuple(tasks),
        results=_from_values(raw),
        labels=dict(raw.get("labels", {})),
        notes=tuple(raw.get("notes", ())),
        uid=raw.get("uid", ""),
        finally_started=_moment(raw, "finallyStarted"),
        kind=raw.get("kind", "PipelineRun"),
    )


def task_to_json(task: TaskState) -> dict[str, Any]:
    return _filled(
        name=task.name,
        phase=str(task.phase),
        reason=task.reason,
        message=task.message,
        started=_text(task.started),
        finished=_text(task.finished),
        attempts=task.attempts,
        after=list(task.after),
        final=task.final,
        runtime=task.runtime,
        offline=not task.network,
        results=_values(task.results),
        steps=[_step_to_json(step) for step in task.steps],
        task=task.task,
        taskrun=task.taskrun,
        uid=task.uid,
        waits=task.waits,
        when=[[each.input, each.negated, list(each.values)] for each in task.when],
        earlier=[task_to_json(each) for each in task.earlier],
        combination=dict(task.combination),
        ignored=task.ignored,
        displayName=task.display_name,
    )


def task_from_json(raw: Mapping[str, Any]) -> TaskState:
    """Raises KeyError, TypeError or ValueError where `raw` is no task."""
    return TaskState(
        name=raw["name"],
        phase=Phase(raw["phase"]),
        reason=raw.get("reason", ""),
        message=raw.get("message", ""),
        started=_moment(raw, "started"),
        finished=_moment(raw, "finished"),
        attempts=raw.get("attempts", 1),
        after=tuple(raw.get("after", ())),
        final=raw.get("final", False),
        runtime=raw.get("runtime", ""),
        network=not raw.get("offline", False),
        results=_from_values(raw),
        steps=tuple(map(_step_from_json, raw.get("steps", ()))),
        task=raw.get("task", ""),
        taskrun=raw.get("taskrun", ""),
        uid=raw.get("uid", ""),
        waits=raw.get("waits", ""),
        when=tuple(
            Condition(text, negated, tuple(values)) for text, negated, values in raw.get("when", ())
        ),
        earlier=tuple(map(task_from_json, raw.get("earlier", ()))),
        combination=dict(raw.get("combination", {})),
        ignored=bool(raw.get("ignored", False)),
        display_name=raw.get("displayName", ""),
    )


def _step_to_json(step: StepState) -> dict[str, Any]:
    found = _filled(
        name=step.name,
        phase=str(step.phase),
        started=_text(step.started),
        finished=_text(step.finished),
        reason=step.reason,
        image=step.image,
        results=_values(step.results),
    )
    return found if step.exit_code is None else {**found, "exitCode": step.exit_code}


def _step_from_json(raw: Mapping[str, Any]) -> StepState:
    return StepState(
        name=raw["name"],
        phase=Phase(raw["phase"]),
        exit_code=raw.get("exitCode"),
        started=_moment(raw, "started"),
        finished=_moment(raw, "finished"),
        reason=raw.get("reason", ""),
        image=raw.get("image", ""),
        results=_from_values(raw),
    )


def _filled(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def _values(values: Mapping[str, Value]) -> dict[str, Any]:
    return {name: dict(v) if isinstance(v, Mapping) else v for name, v in values.items()}


def _from_values(raw: Mapping[str, Any]) -> dict[str, Value]:
    found = raw.get("results", {})
    return {name: tuple(v) if isinstance(v, list) else v for name, v in found.items()}


def _text(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""


def _moment(raw: Mapping[str, Any], key: str) -> datetime | None:
    return datetime.fromisoformat(raw[key]) if raw.get(key) else None
