"""How an order ended, and what to tell of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlops.domain.run import Phase, RunResult, TaskState
from mlops.errors import OutsideError
from mlops.ports import RunObserver

_AWAY = re.compile(
    r"(?:dial|read|write) tcp |connection re(?:fused|set)|\bEOF\b|handshake timeout|i/o timeout|"
    r"context deadline exceeded|etcdserver:|currently unable to handle|too many requests",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an order ended. `release` is `model@sha256:…`, empty where there is none.

    `fresh` is False where the answer was there already; `outside` tells that an outside system
    failed it, which says nothing about the commit; `due` is when the next attempt at it may be made.
    """

    model: str
    run: str
    release: str
    note: str
    failed: bool = False
    fresh: bool = True
    outside: bool = False
    due: datetime | None = None


def outcome_json(outcome: Outcome) -> Mapping[str, Any]:
    """The JSON shape of an outcome."""
    return {
        "model": outcome.model,
        "run": outcome.run,
        "release": outcome.release or None,
        "note": outcome.note,
        "failed": outcome.failed,
        "fresh": outcome.fresh,
        "due": outcome.due.isoformat(timespec="seconds") if outcome.due else None,
    }


def failed_outside(result: RunResult) -> bool:
    """Whether an outside system failed the run: that says nothing about the commit.

    A step said so by its exit code; or the image of one could not be had; or Tekton could not make a pod as the
    API server was away, which Tekton takes for the task's fault (its handlePodCreationError).
    """
    codes = {step.exit_code for task in result.tasks for step in task.steps if step.exit_code}
    return OutsideError.exit_code in codes or any(map(_outside, result.tasks))


def _outside(task: TaskState) -> bool:
    if task.phase is not Phase.FAILED:
        return False
    away = task.reason == "PodCreationFailed" and _AWAY.search(task.message) is not None
    return away or task.reason == "TaskRunImagePullFailed"


class Complaints:
    """Passes what the executor says on, and keeps the last complaint of each task."""

    def __init__(self, inner: RunObserver) -> None:
        self._inner = inner
        self._said: dict[str, str] = {}

    def task(self, state: TaskState) -> None:
        self._inner.task(state)

    def log(self, task: str, step: str, line: str) -> None:
        if line.startswith("error: "):
            self._said[task] = line.removeprefix("error: ")
        self._inner.log(task, step, line)

    def first_of(self, result: RunResult) -> str:
        """The complaint of the first task that failed: `validate: gate accuracy ≥ 0.9: 0.84`."""
        for task in result.tasks:
            if task.phase is Phase.FAILED:
                said = self._said.get(task.name) or task.message or task.reason
                return f"{task.name}: {said}"
        return ""
