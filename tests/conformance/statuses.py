"""How a run went, read from its status in Tekton's own form: what `runs submit -o json` prints and a cluster keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.conformance.targets import Ended, TaskEnd

_CANCELLED = {"Cancelled", "TaskRunCancelled", "CancelledRunningFinally", "StoppedRunningFinally"}
_PENDING = {"PipelineRunPending", "TaskRunPending"}


def ended(items: Sequence[Mapping[str, Any]]) -> list[Ended]:
    """Of PipelineRuns with their TaskRuns, and of TaskRuns that belong to none."""
    children = {item["metadata"]["name"]: item for item in items if item["kind"] == "TaskRun"}
    owned = {
        child["name"]
        for item in items
        for child in item.get("status", {}).get("childReferences") or ()
    }
    return [
        _of(item, children)
        for item in items
        if item["kind"] == "PipelineRun" or item["metadata"]["name"] not in owned
    ]


def _of(item: Mapping[str, Any], children: Mapping[str, Mapping[str, Any]]) -> Ended:
    status = item.get("status", {})
    tasks: dict[str, list[TaskEnd]] = {}
    for child in status.get("childReferences") or ():
        tasks.setdefault(child["pipelineTaskName"], []).append(_end(children[child["name"]]))
    for skipped in status.get("skippedTasks") or ():
        tasks.setdefault(skipped["name"], []).append(TaskEnd("Skipped", skipped["reason"]))
    results = {each["name"]: each["value"] for each in status.get("results") or ()}
    end = _end(item)
    return Ended(end.phase, end.reason, end.message, results, tasks)


def _end(item: Mapping[str, Any]) -> TaskEnd:
    conditions = item.get("status", {}).get("conditions") or [{}]
    condition = next((each for each in conditions if each.get("type") == "Succeeded"), {})
    reason = condition.get("reason", "")
    phase = {"True": "Succeeded", "False": "Failed"}.get(condition.get("status", ""), "Running")
    if phase == "Failed" and reason in _CANCELLED:
        phase = "Cancelled"
    if reason in _PENDING:
        phase = "Pending"
    return TaskEnd(phase, reason, condition.get("message", ""))
