"""Looking at a run from another process: its logs and states, as they are and as they come.

Whoever looks reads the files anew a few times a second: no server, nothing that the run waits for.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mlops.adapters.executors.local.record import standby
from mlops.adapters.executors.local.record.journal import Tail
from mlops.adapters.executors.local.record.pieces import Reader
from mlops.adapters.executors.local.record.rundir import RunDirectory
from mlops.domain.run import LogLine, Phase, RunResult, TaskState
from mlops.errors import ExecutorError

_LOOK = 0.1  # seconds between looks


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose logs: a pipeline task's (all of its matrix) and a step's, or of all where empty."""

    task: str = ""
    step: str = ""

    def has(self, task: TaskState) -> bool:
        return self.task in ("", task.name, task.of)


def written(directory: RunDirectory, wanted: Wanted) -> Iterator[LogLine]:
    """The lines that are there, step after step."""
    result = directory.read()
    for task in _begun(result, wanted):
        for reader in _Readers(directory, wanted.step).of(task):
            yield from reader.read(ended=True)


def followed(directory: RunDirectory, wanted: Wanted) -> Iterator[LogLine]:
    """The lines that are there and those that come, until the run is over.

    Raises ExecutorError where the process that carries it out ends in the middle.
    """
    readers, over = _Readers(directory, wanted.step), set[str]()
    for result in _looks(directory):
        for task in _begun(result, wanted):
            if task.name in over:
                continue
            ended = task.phase.done  # known before the reading: then nothing comes after it
            for reader in readers.of(task):
                yield from reader.read(ended=ended)
            if ended:
                over.add(task.name)
        if result.reason == standby.DIED:
            raise ExecutorError(f"run {result.name}: {result.message}")


def watched(directory: RunDirectory, seconds: float) -> Iterator[RunResult]:
    """How the run stands, at each change, for so many seconds at most."""
    before, end = None, time.monotonic() + seconds
    for result in _looks(directory):
        if result != before:
            yield result
        before = result
        if time.monotonic() > end:
            return


def _looks(directory: RunDirectory) -> Iterator[RunResult]:
    """How the run stands, a few times a second, for the last time when it is over."""
    tail = Tail(directory.journal)
    while True:
        alive = directory.alive()
        result = tail.read()  # after `alive`: else it might have ended in between
        if not alive:
            result = standby.left(directory, result)
        if result is not None:
            yield result
            if result.phase.done or not alive:
                return
        elif not alive:
            return
        time.sleep(_LOOK)


def _begun(result: RunResult | None, wanted: Wanted) -> list[TaskState]:
    """The wanted tasks that have begun, in that order."""
    tasks = [] if result is None else [task for task in result.tasks if wanted.has(task)]
    begun = [
        (task.started, task) for task in tasks if task.started and task.phase is not Phase.PENDING
    ]
    begun.sort(key=lambda pair: pair[0])
    return [task for _, task in begun]


@dataclass(slots=True)
class _Readers:
    """A reader for each step of each task; `step` is the one that is wanted, empty for all."""

    directory: RunDirectory
    step: str
    _known: dict[Path, Reader] = field(default_factory=dict)

    def of(self, task: TaskState) -> list[Reader]:
        """Those of a task, its steps in order and its sidecars after them."""
        order = {step.name: number for number, step in enumerate(task.steps)}
        found_there = self.directory.path.glob(f"logs/{task.name}/*.log")
        paths = [path for path in found_there if self.step in ("", path.stem)]
        found = sorted(paths, key=lambda path: (order.get(path.stem, len(order)), path.stem))
        return [self._known.setdefault(path, Reader(path, task.name, path.stem)) for path in found]
