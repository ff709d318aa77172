"""How a run ends: phase, reason, message and results, from how its tasks ended.

Tekton: docs/pipelineruns.md (monitoring execution status), docs/pipelines.md (aggregate status).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mlops.adapters.executors.local.reasons import CANCELLED, INVALID, INVALID_RESULT
from mlops.domain.run import Phase, TaskState
from mlops.tekton import substitution
from mlops.tekton.document import PipelineRun
from mlops.tekton.substitution import Parts, Scope, UnresolvedError
from mlops.tekton.values import Value

_LONGEST = 1024  # characters that a message tells of what was missing
States = Callable[[str], Sequence[TaskState]]
"""A pipeline task → its states: one, or one for each combination of its matrix."""


@dataclass(frozen=True, slots=True)
class End:
    """What ended a run: `stopped` before its time, empty where nothing did; `graceful`, by somebody's
    order, after `finally`; `fault`, reason and message of the run itself; `late`: `finally` was."""

    stopped: str
    graceful: bool
    fault: tuple[str, str] | None
    late: bool


@dataclass(frozen=True, slots=True)
class Conclusion:
    """As the Succeeded condition of a run has it."""

    phase: Phase
    reason: str
    message: str
    results: Mapping[str, Value] = field(default_factory=dict)


def conclude(run: PipelineRun, of: States, scope: Scope, end: End) -> Conclusion:
    """How the run ends. `scope` holds the results of its tasks."""
    if run.kind == "TaskRun" and not end.stopped:
        (state,) = of(run.tasks[0].name)
        return Conclusion(state.phase, state.reason, state.message, state.results)
    if end.stopped == CANCELLED:
        return _cancelled(run)
    values, missing = _results(run, of, scope)
    if end.fault is not None:
        return Conclusion(Phase.FAILED, *end.fault, values)
    if end.stopped:
        message = f"PipelineRun {run.name} was stopped"
        return Conclusion(Phase.FAILED, end.stopped, message, values)
    states = [state for task in run.all_tasks for state in of(task.name)]
    return _of_tasks(run, of, states, values, missing, end)


def _cancelled(run: PipelineRun) -> Conclusion:
    reason = "TaskRunCancelled" if run.kind == "TaskRun" else CANCELLED
    message = f"{run.kind} {run.name} was cancelled"
    if run.status_message:
        message += f": {run.status_message}"
    return Conclusion(Phase.CANCELLED, reason, message)


def _of_tasks(
    run: PipelineRun,
    of: States,
    states: Sequence[TaskState],
    values: Mapping[str, Value],
    missing: Sequence[str],
    end: End,
) -> Conclusion:
    counts = _counts(run, of, late=end.late)
    invalid = [state for state in states if state.reason == INVALID_RESULT]
    if invalid:
        told = "; ".join(state.message for state in invalid)[:_LONGEST]
        message = f"{counts}, Failed Validation: {len(invalid)} ({told})"
        return Conclusion(Phase.FAILED, INVALID, message, values)
    if end.late or any(state.phase is Phase.FAILED and not state.ignored for state in states):
        return Conclusion(Phase.FAILED, "Failed", counts, values)
    if end.graceful:
        message = f"PipelineRun {run.name} was cancelled"
        return Conclusion(Phase.CANCELLED, CANCELLED, message, values)
    if any(state.phase is Phase.CANCELLED for state in states):
        return Conclusion(Phase.CANCELLED, CANCELLED, counts, values)
    if missing:
        message = f"these results of the pipeline have no value: {', '.join(missing)}"
        return Conclusion(Phase.FAILED, "CouldntGetPipelineResult", message, values)
    skipped = any(state.phase is Phase.SKIPPED for state in states)
    reason = "Completed" if skipped else "Succeeded"  # an ignored failure is no skip
    return Conclusion(Phase.SUCCEEDED, reason, counts, values)


def statuses(run: PipelineRun, of: States) -> dict[Parts, Value]:
    """What `finally` may refer to: `$(tasks.NAME.status)`, `.reason` and `$(tasks.status)`."""
    found: dict[Parts, Value] = {}
    phases = set()
    for task in run.tasks:
        phase, reason = _summary(of(task.name))
        phases.add(phase)
        found["tasks", task.name, "status"] = _status(phase)
        found["tasks", task.name, "reason"] = reason
    whole = "Completed" if Phase.SKIPPED in phases else "Succeeded"
    found["tasks", "status"] = "Failed" if phases & {Phase.FAILED, Phase.CANCELLED} else whole
    return found


def _status(phase: Phase) -> str:
    if phase is Phase.SUCCEEDED:
        return "Succeeded"
    return "Failed" if phase in {Phase.FAILED, Phase.CANCELLED} else "None"


def _summary(states: Sequence[TaskState]) -> tuple[Phase, str]:
    """How a task ended, all its combinations together; one that a result was missing for did not
    begin, as Tekton sees it."""
    for phase in (Phase.FAILED, Phase.CANCELLED, Phase.SKIPPED):
        for state in states:
            if state.phase is phase:
                invalid = state.reason == INVALID_RESULT
                return (Phase.PENDING if invalid else phase), state.reason
    return states[0].phase, states[0].reason


def _counts(run: PipelineRun, of: States, *, late: bool) -> str:
    """As Tekton counts: pipeline tasks, whatever a matrix made of them; what time ran out for has failed."""
    phases = [_summary(of(task.name))[0] for task in run.all_tasks]
    if late:
        phases = [Phase.FAILED if each is Phase.CANCELLED else each for each in phases]
    failed, cancelled, skipped, good = (
        sum(each is phase for each in phases)
        for phase in (Phase.FAILED, Phase.CANCELLED, Phase.SKIPPED, Phase.SUCCEEDED)
    )
    ignored = sum(any(state.ignored for state in of(task.name)) for task in run.all_tasks)
    in_brackets = f" (Ignored: {ignored})" if ignored else ""
    return (
        f"Tasks Completed: {good + failed + cancelled} (Failed: {failed}{in_brackets}, "
        f"Cancelled {cancelled}), Skipped: {skipped}"
    )


def _results(run: PipelineRun, of: States, scope: Scope) -> tuple[dict[str, Value], list[str]]:
    """The pipeline's results, and those that tasks which succeeded should have given."""
    found: dict[str, Value] = {}
    missing = []
    known = _with_finally(run, scope)
    for result in run.results:
        try:
            found[result.name] = substitution.value(result.value, known)
        except UnresolvedError as exc:
            states = of(exc.reference.task) if exc.reference.task else ()
            if any(state.phase is Phase.SUCCEEDED for state in states):
                missing.append(result.name)
        except substitution.SubstitutionError:
            missing.append(result.name)
    return found, missing


def _with_finally(run: PipelineRun, scope: Scope) -> Scope:
    """The scope of the pipeline's results, where those of `finally` have a name of their own."""
    final = {task.name for task in run.final}
    more = {
        ("finally", *parts[1:]): value
        for parts, value in scope.items()
        if parts[0] == "tasks" and parts[1] in final
    }
    return {**scope, **more}
