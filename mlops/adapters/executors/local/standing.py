"""How a run stands: the state of each task, kept on disk and told as it changes.

Belongs to the thread that decides. Words for reasons and messages are Tekton's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from mlops.adapters.executors.local.audience import Audience
from mlops.adapters.executors.local.clock import Clock
from mlops.adapters.executors.local.journal import Journal
from mlops.adapters.executors.local.rundir import RunDirectory
from mlops.domain.run import Ending, Phase, RunResult, TaskState
from mlops.errors import ConfigError
from mlops.tekton import substitution
from mlops.tekton.document import PipelineRun, Value
from mlops.tekton.substitution import Parts, UnresolvedError

NOT_WANTED = "When Expressions evaluated to false"
PARENTS_SKIPPED = "Parent Tasks were skipped"
RESULTS_MISSING = "Results were missing"
STOPPING = "PipelineRun was stopping"
GRACEFULLY = {
    Ending.RUN_FINALLY: "PipelineRun was gracefully cancelled",
    Ending.STOPPED: "PipelineRun was gracefully stopped",
}
RUNNING_FINALLY = {
    Ending.RUN_FINALLY: "CancelledRunningFinally",
    Ending.STOPPED: "StoppedRunningFinally",
}
CANCELLED = "Cancelled"
TIMEOUT = "PipelineRunTimeout"


class Standing:
    """States and results of a run's tasks. `scope` grows with what tasks leave behind.

    `before` is how an earlier attempt at this very run ended: what succeeded in it stays as it is.
    """

    def __init__(
        self,
        run: PipelineRun,
        scope: Mapping[Parts, Value],
        directory: RunDirectory,
        audience: Audience,
        notes: Sequence[str],
        before: RunResult | None = None,
    ) -> None:
        self.scope: dict[Parts, Value] = dict(scope)
        self.tasks = {task.name: TaskState(task.name, Phase.PENDING) for task in run.all_tasks}
        self._run = run
        self._directory = directory
        self._journal = Journal(directory.journal)
        self._audience = audience
        self._notes = tuple(notes)
        self._clock = Clock(None if before is None else _last(before))
        self._started = self.now()
        self._finally_started: datetime | None = None
        self._reason = "Running"
        self._anew = before is None
        if before is not None:
            self._restore(before)

    def _restore(self, before: RunResult) -> None:
        self._started = before.started or self._started
        repeated = {task.name for task in self._run.final}
        for state in before.tasks:
            if state.phase is Phase.SUCCEEDED and state.of not in repeated:
                self.tasks[state.name] = state
                self.keep(state.name, state.results)

    @property
    def uid(self) -> str:
        found = self.scope.get(("context", "pipelineRun", "uid"), "")
        return found if isinstance(found, str) else ""

    def now(self) -> datetime:
        """This instant, by the run's own clock, which never goes back."""
        return self._clock.now()

    def begin(self) -> None:
        """The run has begun: say so, on disk first."""
        self._journal.begin(self._result(Phase.RUNNING, self._reason, ""))
        kept = [state.name for state in self.tasks.values() if state.phase.done]
        self._directory.clear(kept, workspaces=self._anew)
        for note in self._notes:
            self._audience.log("", "note", note)

    def tell(self, reason: str) -> None:
        """Why the run is running still: `Running`, `CancelledRunningFinally`."""
        if reason != self._reason:
            self._reason = reason
            self._journal.run(self._result(Phase.RUNNING, reason, ""))

    def begin_finally(self) -> None:
        """The tasks of `finally` begin."""
        self._finally_started = self.now()
        self._journal.run(self._result(Phase.RUNNING, self._reason, ""))

    def change(self, task: str, **changes: Any) -> None:
        """Replace fields of a task's state."""
        before = self.tasks[task]
        self.tasks[task] = after = dataclasses.replace(before, **changes)
        self._journal.task(after)
        if after.phase is not before.phase or after.waits != before.waits:
            self._audience.task(after)

    def settle(self, task: str, phase: Phase, reason: str, message: str = "") -> None:
        """A task is over that was never started."""
        self.change(task, phase=phase, reason=reason, message=message)

    def keep(self, task: str, values: Mapping[str, Value]) -> None:
        """Results of a task, for those that refer to them."""
        for name, value in values.items():
            self.scope["tasks", task, "results", name] = value

    def phase(self, task: str) -> Phase:
        return self.tasks[task].phase

    def failed(self) -> bool:
        return any(state.phase in {Phase.FAILED, Phase.CANCELLED} for state in self.tasks.values())

    def add_statuses(self) -> None:
        """What `finally` may refer to: `$(tasks.NAME.status)`, `.reason` and `$(tasks.status)`."""
        states = [self.tasks[task.name] for task in self._run.tasks]
        for state in states:
            self.scope["tasks", state.name, "status"] = _status(state.phase)
            self.scope["tasks", state.name, "reason"] = state.reason
        phases = {state.phase for state in states}
        if phases & {Phase.FAILED, Phase.CANCELLED}:
            status = "Failed"
        else:
            status = "Completed" if Phase.SKIPPED in phases else "Succeeded"
        self.scope["tasks", "status"] = status

    def end(self, stopped: str, *, graceful: bool = False) -> RunResult:
        """The run is over; `stopped` says what ended it before its time, if anything did.

        `graceful`: somebody asked for its end, and `finally` was carried out.
        """
        result = self._condition(stopped, graceful=graceful)
        self._journal.end(result)
        return result

    def close(self) -> None:
        """Let go of the journal; an end that was not said is not written."""
        self._journal.close()

    def _condition(self, stopped: str, *, graceful: bool) -> RunResult:
        name = self._run.name
        if stopped == CANCELLED:
            return self._result(Phase.CANCELLED, CANCELLED, f"PipelineRun {name} was cancelled")
        values, missing = self._pipeline_results()
        if stopped:
            message = f"PipelineRun {name} failed to finish in time"
            return self._result(Phase.FAILED, stopped, message, values)
        if any(state.phase is Phase.FAILED for state in self.tasks.values()):
            return self._result(Phase.FAILED, "Failed", self._counts(), values)
        if graceful:
            message = f"PipelineRun {name} was cancelled"
            return self._result(Phase.CANCELLED, CANCELLED, message, values)
        if self.failed():
            return self._result(Phase.CANCELLED, CANCELLED, self._counts(), values)
        if missing:
            message = f"these results of the pipeline have no value: {', '.join(missing)}"
            return self._result(Phase.FAILED, "CouldntGetPipelineResult", message, values)
        skipped = any(state.phase is Phase.SKIPPED for state in self.tasks.values())
        reason = "Completed" if skipped else "Succeeded"
        return self._result(Phase.SUCCEEDED, reason, self._counts(), values)

    def _counts(self) -> str:
        def count(phase: Phase) -> int:
            return sum(state.phase is phase for state in self.tasks.values())

        failed, cancelled, skipped = map(count, (Phase.FAILED, Phase.CANCELLED, Phase.SKIPPED))
        completed = count(Phase.SUCCEEDED) + failed + cancelled
        return (
            f"Tasks Completed: {completed} (Failed: {failed}, Cancelled {cancelled}), "
            f"Skipped: {skipped}"
        )

    def _pipeline_results(self) -> tuple[dict[str, Value], list[str]]:
        """The pipeline's results, and those that tasks which succeeded should have given."""
        found: dict[str, Value] = {}
        missing = []
        for result in self._run.results:
            path = f"{result.path}.value"
            try:
                found[result.name] = substitution.value(result.value, self.scope, path)
            except UnresolvedError as exc:
                task = self.tasks.get(exc.reference.task)
                if task is not None and task.phase is Phase.SUCCEEDED:
                    missing.append(result.name)
            except ConfigError:
                missing.append(result.name)
        return found, missing

    def _result(
        self, phase: Phase, reason: str, message: str, values: Mapping[str, Value] | None = None
    ) -> RunResult:
        return RunResult(
            name=self._run.name,
            phase=phase,
            reason=reason,
            message=message,
            started=self._started,
            finished=self.now() if phase.done else None,
            tasks=tuple(self.tasks.values()),
            results=values or {},
            labels=self._run.labels,
            notes=self._notes,
            uid=self.uid,
            finally_started=self._finally_started,
        )


def _status(phase: Phase) -> str:
    if phase is Phase.SUCCEEDED:
        return "Succeeded"
    return "Failed" if phase in {Phase.FAILED, Phase.CANCELLED} else "None"


def _last(before: RunResult) -> datetime | None:
    """The latest instant that a run names."""
    moments = [before.started, before.finished]
    for task in before.tasks:
        moments += [task.started, task.finished]
        moments += [moment for step in task.steps for moment in (step.started, step.finished)]
    return max((moment for moment in moments if moment is not None), default=None)
