"""How runs and tasks ended, in a few words of ours where Tekton's say what it counts."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from mlops.domain.run import Phase, RunResult, TaskState

# Tekton's reasons of tasks that it did not begin, and how the run ended then
_ENDED = {
    "PipelineRun was stopping": "the run was ended",
    "PipelineRun was gracefully cancelled": "the run was cancelled",
    "PipelineRun was gracefully stopped": "the run was stopped",
}
_FAILED = "PipelineRun was stopping"
_SAID = ("", "Error", "Completed")  # reasons that a code tells of
_OF_A_STEP = ("", "Failed", "Error", "StepFailed")  # reasons of a task whose step failed


def failed(tasks: Iterable[TaskState]) -> tuple[str, ...]:
    """The names of the tasks for which a run failed."""
    return tuple(each.name for each in tasks if each.phase is Phase.FAILED and not each.ignored)


def skipped(task: TaskState, culprits: Collection[str]) -> str:
    """Why a task was not carried out; `culprits` are the tasks of its run that failed."""
    if task.reason not in _ENDED:
        return task.reason
    if task.reason == _FAILED and culprits:
        return f"not begun: {', '.join(culprits)} failed"
    return f"not begun: {_ENDED[task.reason]}"


def outcome(run: RunResult) -> str:
    """Which tasks failed and why, as far as they are known; else the run's own message."""
    told = [f"{each.name}: {_why(each)}" for each in run.tasks if each.name in failed(run.tasks)]
    return "; ".join(told) or run.message


def _why(task: TaskState) -> str:
    """`exit 1`; what the executor says where no step's code tells it."""
    if task.reason in _OF_A_STEP:
        for step in task.steps:
            if step.phase is Phase.FAILED and step.exit_code is not None:
                reason = "" if step.reason in _SAID else f" ({step.reason})"
                return f"exit {step.exit_code}{reason}"
    return task.message or task.reason
