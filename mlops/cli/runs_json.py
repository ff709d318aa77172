"""Runs as JSON values: the answers of `mlops runs` (`mlops config schema --answer runs`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mlops.cli import render
from mlops.domain.run import RunResult, StepState, TaskState, Value
from mlops.tekton import continuing


def run_json(run: RunResult, executor: str) -> dict[str, Any]:
    """A run without its tasks; `executor` is the name of the one that carries it out."""
    return {
        "name": run.name,
        "attempt": _attempt(run),
        "model": run.labels.get("dev.mlops/model", ""),
        "source": run.labels.get("dev.mlops/source", ""),
        "phase": str(run.phase),
        "reason": run.reason,
        "executor": executor,
        "started": render.stamp(run.started) if run.started else None,
        "finished": render.stamp(run.finished) if run.finished else None,
        "release": run.text("release") or None,
    }


def _attempt(run: RunResult) -> int:
    """That of `mlops run`, and each retry on a cluster is one more; a label may hold anything."""
    label = run.labels.get("dev.mlops/attempt", "")
    first = int(label) if label.isascii() and label.isdecimal() else 1
    return first + continuing.tries(run) - 1


def whole_json(run: RunResult, executor: str) -> dict[str, Any]:
    """A run with its tasks, steps, results and notes."""
    return {
        **run_json(run, executor),
        "kind": run.kind,
        "message": run.message,
        "results": _values(run.results),
        "notes": list(run.notes),
        "tasks": [_task(task) for task in run.tasks],
    }


def _task(task: TaskState) -> dict[str, Any]:
    return {
        "name": task.name,
        "task": task.of,
        "finally": task.final,
        "after": list(task.after),
        "phase": str(task.phase),
        "reason": task.reason,
        "message": task.message,
        "waits": task.waits,
        "attempts": task.attempts,
        "runtime": task.runtime,
        "started": instant(task.started),
        "finished": instant(task.finished),
        "results": _values(task.results),
        "when": [
            {
                "input": each.input,
                "operator": "notin" if each.negated else "in",
                "values": list(each.values),
            }
            for each in task.when
        ],
        "steps": [_step(step) for step in task.steps],
    }


def _step(step: StepState) -> dict[str, Any]:
    return {
        "name": step.name,
        "phase": str(step.phase),
        "reason": step.reason,
        "exitCode": step.exit_code,
        "image": step.image,
        "started": instant(step.started),
        "finished": instant(step.finished),
    }


def _values(values: Mapping[str, Value]) -> dict[str, Any]:
    return {
        name: each
        if isinstance(each, str)
        else dict(each)
        if isinstance(each, Mapping)
        else list(each)
        for name, each in values.items()
    }


def instant(when: datetime | None) -> str | None:
    """RFC 3339 to the millisecond: durations of tasks are told from it."""
    if when is None:
        return None
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
