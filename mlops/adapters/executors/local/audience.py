"""Passes news on to a run's observer, from one thread at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from mlops.domain.run import StepState, TaskState
from mlops.ports import RunObserver


@dataclass(frozen=True, slots=True)
class Hearing:
    """Where the news of one task go: a line of a step's log; a change of a step. `now` gives the
    run's time."""

    log: Callable[[str, str, str], None]
    steps: Callable[[tuple[StepState, ...]], None]
    now: Callable[[], datetime]


class Audience:
    """The observer, made safe: what it raises ends the run in order, and is raised at its end."""

    def __init__(self, observer: RunObserver) -> None:
        self._observer = observer
        self._lock = threading.Lock()
        self._failure: Exception | None = None
        self.on_failure: Callable[[], None] = lambda: None

    def task(self, state: TaskState) -> None:
        self._tell(lambda: self._observer.task(state))

    def log(self, task: str, step: str, line: str) -> None:
        self._tell(lambda: self._observer.log(task, step, line))

    def check(self) -> None:
        """Raise what the observer raised, if it did."""
        if self._failure is not None:
            raise self._failure

    def _tell(self, news: Callable[[], None]) -> None:
        with self._lock:
            if self._failure is not None:
                return
            try:
                news()
            except Exception as exc:  # noqa: BLE001  raised by `check`
                self._failure = exc
                self.on_failure()
