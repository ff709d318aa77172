"""How runs stand, kept from the changes of their objects: PipelineRuns and TaskRuns as they come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mlops.adapters.cluster.kinds import TASK_RUN
from mlops.adapters.cluster.watching import Change
from mlops.domain.run import Phase, RunResult, TaskState
from mlops.tekton import observed

Json = Mapping[str, Any]
_NO_ROOM = "ExceededNodeResources"
OF_RUN = "tekton.dev/pipelineRun"  # the label of a TaskRun and of its pod


@dataclass(slots=True)
class Standing:
    """What is known of one run: its object, those of its TaskRuns, and what each waited for last.

    A status that comes before its TaskRun does, or after it went, is read without it.
    """

    kind: str = "PipelineRun"
    run: Json | None = None
    removed: bool = False
    taskruns: dict[str, Json] = field(default_factory=dict)
    _waited: dict[str, str] = field(default_factory=dict)
    _lacking: dict[str, str] = field(default_factory=dict)

    def take(self, change: Change) -> None:
        """Take a change in, of the run or of one of its TaskRuns."""
        if change.kind.name == self.kind:
            self.removed = change.gone
            if not change.gone or "status" in change.object:
                self.run = change.object
            if change.kind is TASK_RUN and self.run is not None:
                self.taskruns[change.name] = self.run
        elif not change.gone:  # a TaskRun that is gone ran all the same
            self.taskruns[change.name] = change.object

    def unplaced(self) -> tuple[tuple[str, str], ...]:
        """TaskRuns for which no node has room, and their pods: Tekton leaves out of what."""
        found = []
        for name, each in self.taskruns.items():
            status = each.get("status") or {}
            reasons = {condition.get("reason") for condition in status.get("conditions") or ()}
            if _NO_ROOM in reasons and name not in self._lacking and status.get("podName"):
                found.append((name, str(status["podName"])))
        return tuple(found)

    def lacks(self, taskrun: str, told: str) -> None:
        """Take in what the scheduler says of such a TaskRun's pod."""
        self._lacking[taskrun] = told

    def result(self) -> RunResult | None:
        """How the run stands; None before anything is known of it."""
        if self.run is None:
            return None
        result = observed.run(self.run, self.taskruns.values())
        result = replace(result, tasks=tuple(map(self._explained, result.tasks)))
        return observed.gone(result) if self.removed else result

    def _explained(self, task: TaskState) -> TaskState:
        """A task that waits for a node, or failed before any step began, with what its pod waits for."""
        lacking = self._lacking.get(task.taskrun, "")
        if task.waits and lacking:
            task = replace(task, waits=f"{task.waits}: {lacking}")
        if task.waits:
            self._waited[task.taskrun] = task.waits
        waited = self._waited.get(task.taskrun, "")
        began = any(step.started is not None for step in task.steps)
        if task.phase is not Phase.FAILED or began or not waited or waited in task.message:
            return task
        return replace(task, message=f"{task.message}; it waited all the time: {waited}")
