"""Runs that nobody carries out: pending, over, or left by an executor that was killed."""

from __future__ import annotations

import dataclasses

from mlops.adapters.executors.local.record.clock import Clock
from mlops.adapters.executors.local.record.journal import Journal
from mlops.adapters.executors.local.record.rundir import RunDirectory
from mlops.domain.run import Phase, RunResult, StepState, TaskState
from mlops.errors import RefusedError
from mlops.tekton.document import PipelineRun

PENDING = "PipelineRunPending"
DIED = "ExecutorDied"
_CANCELLED = "Cancelled"


def pend(directory: RunDirectory, run: PipelineRun) -> RunResult:
    """Write down that a run waits to be started."""
    tasks = tuple(TaskState(task.name, Phase.PENDING) for task in run.all_tasks)
    message = f"{run.kind} {run.name} is pending"
    result = RunResult(
        run.name,
        Phase.PENDING,
        PENDING,
        message,
        None,
        None,
        tasks,
        labels=run.labels,
        kind=run.kind,
    )
    Journal(directory.journal).end(result)
    return result


def left(directory: RunDirectory, result: RunResult | None) -> RunResult | None:
    """How a run stands that nobody carries out: one that says it runs has failed, ExecutorDied.

    None where there is no run.
    """
    if result is None:
        if not directory.document.exists():
            return None
        result = RunResult(directory.path.name, Phase.RUNNING, "", "", None, None)
    if result.phase.done or result.reason == PENDING:
        return result
    message = f"process {directory.holder()}, which carried the run out, ended in the middle"
    tasks = tuple(_ended(task, Phase.FAILED, DIED) for task in result.tasks)
    return dataclasses.replace(
        result, phase=Phase.FAILED, reason=DIED, message=message, tasks=tasks
    )


def cancel(directory: RunDirectory, stands: RunResult) -> None:
    """Write down that a run is cancelled. Raises RefusedError where it is over."""
    if stands.phase is Phase.CANCELLED:
        return
    if stands.phase.done and stands.reason != DIED:
        raise RefusedError(f"run {stands.name} is over: {stands.phase}")
    directory.end_processes()
    message = f"PipelineRun {stands.name} was cancelled"
    if stands.reason == DIED:
        message += f"; {stands.message}"
    tasks = tuple(
        dataclasses.replace(task, phase=Phase.CANCELLED, reason="TaskRunCancelled")
        if task.reason == DIED and task.phase is Phase.FAILED
        else _ended(task, Phase.CANCELLED, "TaskRunCancelled")
        for task in stands.tasks
    )
    finished = Clock(stands.started).now()
    ended = dataclasses.replace(
        stands,
        phase=Phase.CANCELLED,
        reason=_CANCELLED,
        message=message,
        finished=finished,
        tasks=tasks,
    )
    Journal(directory.journal).end(ended)


def _ended(task: TaskState, phase: Phase, reason: str) -> TaskState:
    """A task whose executor is gone: what ran is over, what did not begin never will."""
    if task.phase is Phase.RUNNING:
        steps = tuple(_ended_step(step, reason) for step in task.steps)
        return dataclasses.replace(task, phase=phase, reason=reason, waits="", steps=steps)
    if task.phase is Phase.PENDING:
        return dataclasses.replace(task, phase=Phase.SKIPPED, reason=reason, waits="")
    return task


def _ended_step(step: StepState, reason: str) -> StepState:
    if step.phase is Phase.RUNNING:
        return dataclasses.replace(step, phase=Phase.FAILED, reason=reason)
    if step.phase is Phase.PENDING:
        return dataclasses.replace(step, phase=Phase.SKIPPED)
    return step
