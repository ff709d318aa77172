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
    _asked: bool = True
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

    def waiting(self) -> tuple[tuple[str, str], ...]:
        """TaskRuns that have a pod, and no step that began; with the names of their pods."""
        found = []
        for name, each in self.taskruns.items():
            status = each.get("status") or {}
            over = any(one.get("status") != "Unknown" for one in status.get("conditions") or ())
            steps = status.get("steps") or ()
            begun = any("running" in step or "terminated" in step for step in steps)
            if status.get("podName") and not over and not begun:
                found.append((name, str(status["podName"])))
        return tuple(found)

    def lacks(self, taskrun: str, told: str) -> bool:
        """Take in why such a TaskRun's pod does not begin; whether that is new."""
        before = self._lacking.get(taskrun, "")
        self._lacking[taskrun] = told
        return told != before

    def unasked(self) -> bool:
        """Pods may not be asked: what Tekton says of them must do."""
        self._asked = False
        return True

    def result(self) -> RunResult | None:
        """How the run stands; None before anything is known of it."""
        if self.run is None:
            return None
        result = observed.run(self.run, self.taskruns.values())
        result = replace(result, tasks=tuple(map(self._explained, result.tasks)))
        return observed.gone(result) if self.removed else result

    def _explained(self, task: TaskState) -> TaskState:
        """A task that waits, or failed before any step began, with what its pod waits for. A pod that has only
        just been made waits for nothing yet, whatever Tekton says."""
        lacking = self._lacking.get(task.taskrun, "")
        if lacking or task.waits:
            self._waited[task.taskrun] = lacking or task.waits
        waited = self._waited.get(task.taskrun, "")
        began = any(step.started is not None for step in task.steps)
        if not task.phase.done and not began:
            has_pod = (self.taskruns.get(task.taskrun, {}).get("status") or {}).get("podName")
            task = replace(task, waits=lacking if has_pod and self._asked else task.waits)
        if (
            task.phase not in (Phase.FAILED, Phase.CANCELLED)
            or began
            or not waited
            or waited in task.message
        ):
            return task
        return replace(task, message=f"{task.message}; it waited all the time: {waited}")
