"""How a run stands: the state of each task, kept on disk and told as it changes.

Belongs to the thread that decides. Words for reasons and messages are Tekton's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from mlops.adapters.executors.local import concluding
from mlops.adapters.executors.local.audience import Audience
from mlops.adapters.executors.local.concluding import End
from mlops.adapters.executors.local.record.clock import Clock
from mlops.adapters.executors.local.record.journal import Journal
from mlops.adapters.executors.local.record.rundir import RunDirectory
from mlops.domain.run import Phase, RunResult, TaskState
from mlops.tekton.document import PipelineRun, PipelineTask
from mlops.tekton.substitution import Parts
from mlops.tekton.values import Value


class Standing:
    """States and results of a run's tasks. `scope` grows with what tasks leave behind.

    `waits` says what each task waits for. `before` is how an earlier attempt at this very run ended:
    what succeeded in it stays as it is.
    """

    def __init__(
        self,
        run: PipelineRun,
        scope: Mapping[Parts, Value],
        directory: RunDirectory,
        audience: Audience,
        notes: Sequence[str],
        waits: Mapping[str, Sequence[str]],
        before: RunResult | None = None,
    ) -> None:
        self.scope: dict[Parts, Value] = dict(scope)
        self._groups: dict[str, dict[str, TaskState]] = {
            task.name: {task.name: _first(task, waits.get(task.name, ()))} for task in run.all_tasks
        }
        self._group_of = {task.name: task.name for task in run.all_tasks}
        self._failed = False
        self._fault: tuple[str, str] | None = None
        self.late = False  # `finally` ran out of time
        self._queued: frozenset[str] = frozenset()
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
        tasks = {task.name: task for task in self._run.tasks}
        for name, task in tasks.items():
            states = [state for state in before.tasks if state.of == name]
            if any(state.task for state in states):
                self.fan_out(name, [(state.name, state.combination) for state in states])
            for state in states:
                if state.phase is Phase.SUCCEEDED or state.ignored:  # what followed has its results
                    self._groups[name][state.name] = state
            if self.done(name):
                self.keep(task)

    @property
    def tasks(self) -> tuple[TaskState, ...]:
        """All states, in the order of the document."""
        return tuple(state for group in self._groups.values() for state in group.values())

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
        kept = [state.name for state in self.tasks if state.phase.done]
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

    def change(self, name: str, **changes: Any) -> None:
        """Replace fields of the state of a task, or of one combination of its matrix."""
        group = self._groups[self._group_of[name]]
        before = group[name]
        group[name] = after = dataclasses.replace(before, **changes)
        if after.phase.done and all(state.phase.done for state in group.values()):
            bad = {Phase.FAILED, Phase.CANCELLED}
            self._failed |= any(s.phase in bad and not s.ignored for s in group.values())
        self._journal.task(after)
        if after.phase is not before.phase or after.waits != before.waits:
            self._audience.task(after)

    def settle(
        self, name: str, phase: Phase, reason: str, message: str = "", *, ignored: bool = False
    ) -> None:
        """A task is over that was never started."""
        self.change(name, phase=phase, reason=reason, message=message, waits="", ignored=ignored)

    def fan_out(self, task: str, nodes: Sequence[tuple[str, Mapping[str, str]]]) -> None:
        """A task becomes the combinations of its matrix; what is known of one already stays."""
        group = self._groups[task]
        if group.keys() == {name for name, _ in nodes}:
            return
        first = next(iter(group.values()))
        self._groups[task] = {
            name: TaskState(
                name,
                Phase.PENDING,
                task=task,
                combination=combination,
                after=first.after,
                final=first.final,
                when=first.when,
            )
            for name, combination in nodes
        }
        self._group_of |= {name: task for name, _ in nodes}
        self._journal.begin(self._result(Phase.RUNNING, self._reason, ""))

    def queue(self, names: Sequence[str], why: str) -> None:
        """These could begin, and wait for others of the run to end."""
        for name in names:
            if name in self._group_of and name not in self._queued:
                group = self._groups[self._group_of[name]]
                if name in group and not group[name].waits:
                    self.change(name, waits=why)
        self._queued |= frozenset(names)

    def keep(self, task: PipelineTask) -> None:
        """Results of a task that is done, for those that refer to them.

        Those of a matrix are arrays, in the order of its combinations.
        """
        states = self.of(task.name)
        self.scope["tasks", task.name, "matrix", "length"] = str(len(states))
        if task.matrix is None:
            for name, value in states[0].results.items():
                self.scope["tasks", task.name, "results", name] = value
            return
        for spec in task.spec.results:
            values = [state.results.get(spec.name) for state in states]
            whole = tuple(value for value in values if isinstance(value, str))
            if whole:
                self.scope["tasks", task.name, "results", spec.name] = whole
            length = ("tasks", task.name, "matrix", spec.name, "length")
            self.scope[length] = str(len(whole))

    def of(self, task: str) -> tuple[TaskState, ...]:
        """The states of a pipeline task: one, or one for each combination."""
        return tuple(self._groups[task].values())

    def done(self, task: str) -> bool:
        return all(state.phase.done for state in self._groups[task].values())

    def pending(self, task: str) -> tuple[str, ...]:
        """The names of what has not begun of a task."""
        return tuple(s.name for s in self._groups[task].values() if s.phase is Phase.PENDING)

    def begun(self, task: str) -> bool:
        """Whether something of a task has begun."""
        return any(state.phase is not Phase.PENDING for state in self._groups[task].values())

    def failed(self) -> bool:
        """Whether a task is over, all its combinations, and failed or was cancelled."""
        return self._failed

    def fail(self, reason: str, message: str) -> None:
        """The run itself fails, whatever its tasks do."""
        self._fault = (reason, message)

    def add_statuses(self) -> None:
        """What `finally` may refer to: `$(tasks.NAME.status)`, `.reason` and `$(tasks.status)`."""
        self.scope |= concluding.statuses(self._run, self.of)

    def end(self, stopped: str, *, graceful: bool = False) -> RunResult:
        """The run is over; `stopped` says what ended it before its time, if anything did.

        `graceful`: somebody asked for its end, and `finally` was carried out.
        """
        end = End(stopped, graceful, self._fault, late=self.late)
        found = concluding.conclude(self._run, self.of, self.scope, end)
        result = self._result(found.phase, found.reason, found.message, found.results)
        self._journal.end(result)
        return result

    def close(self) -> None:
        """Let go of the journal; an end that was not said is not written."""
        self._journal.close()

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
            tasks=self.tasks,
            results=values or {},
            labels=self._run.labels,
            notes=self._notes,
            uid=self.uid,
            finally_started=self._finally_started,
            kind=self._run.kind,
        )


def _first(task: PipelineTask, after: Sequence[str]) -> TaskState:
    return TaskState(task.name, Phase.PENDING, after=tuple(after), final=task.final)


def _last(before: RunResult) -> datetime | None:
    """The latest instant that a run names."""
    moments = [before.started, before.finished]
    for task in before.tasks:
        moments += [task.started, task.finished]
        moments += [moment for step in task.steps for moment in (step.started, step.finished)]
    return max((moment for moment in moments if moment is not None), default=None)
