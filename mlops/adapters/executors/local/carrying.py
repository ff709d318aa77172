"""Carries one run out: the graph of tasks, each in a thread of its own, then `finally`.

The thread that calls `carry` decides everything and sleeps in between; other threads hand it what
is to be done next, through one queue.
"""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mlops.adapters.executors.local import scope, substitution, workspace
from mlops.adapters.executors.local.attempt import Attempt, Attempted, Hearing
from mlops.adapters.executors.local.audience import Audience
from mlops.adapters.executors.local.document import PipelineRun, PipelineTask, Value
from mlops.adapters.executors.local.rundir import RunDirectory
from mlops.adapters.executors.local.running import Stop
from mlops.adapters.executors.local.runtimes import Runtimes
from mlops.adapters.executors.local.standing import (
    CANCELLED,
    NOT_WANTED,
    PARENTS_SKIPPED,
    RESULTS_MISSING,
    STOPPING,
    TIMEOUT,
    Standing,
)
from mlops.adapters.executors.local.substitution import Parts, UnresolvedError
from mlops.domain.run import Phase, RunResult, StepState
from mlops.errors import ConfigError, MlopsError


@dataclass(slots=True)
class _Task:
    """A task that is under way."""

    task: PipelineTask
    scope: Mapping[Parts, Value]
    sub_paths: Mapping[str, str]
    stop: Stop = field(default_factory=Stop)
    thread: threading.Thread | None = None

    def end(self) -> None:
        self.stop.tell()
        if self.thread is not None:
            self.thread.join()
        self.stop.close()


class Carrying:
    """One run. `carry` gives how it ended; `cancel` may be called from anywhere, also signals."""

    def __init__(
        self,
        run: PipelineRun,
        waits: Mapping[str, Sequence[str]],
        directory: RunDirectory,
        runtimes: Runtimes,
        audience: Audience,
        notes: Sequence[str],
        before: RunResult | None = None,
    ) -> None:
        self._run = run
        self._waits = waits
        self._directory = directory
        self._runtimes = runtimes
        self._audience = audience
        uid = before.uid if before is not None else ""
        first = scope.of_run(run, uid or str(uuid.uuid4()))
        self._standing = Standing(run, first, directory, audience, notes, before)
        self._news: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._under_way: dict[str, _Task] = {}
        self._halted = False  # nothing new is started at this stage
        self._stopped = ""  # what ended the run before its time
        audience.on_failure = self.cancel

    def cancel(self) -> None:
        """Ask for an end: kill what runs, start nothing more."""
        self._news.put(self._cancel)  # reentrant, so a signal handler may do it

    def carry(self) -> RunResult:
        """Do it all. Raises what the observer raised, after everything was ended."""
        limits, begun = self._run.timeouts, time.monotonic()
        whole = None if limits.pipeline is None else begun + limits.pipeline
        try:
            self._standing.begin()
            own = None if limits.tasks is None else begun + limits.tasks
            self._stage(self._run.tasks, self._ready, whole, own)
            if not self._stopped or (self._stopped == TIMEOUT and not _passed(whole)):
                self._halted = False
                self._standing.add_statuses()
                self._standing.begin_finally()
                own = None if limits.final is None else time.monotonic() + limits.final
                self._stage(self._run.final, self._ready_final, whole, own)
            else:
                self._skip_pending(self._run.final)
        finally:
            for each in self._under_way.values():  # only where something failed above
                each.end()
            self._standing.close()
        result = self._standing.end(self._stopped)
        self._audience.check()
        return result

    # deciding

    def _stage(
        self,
        tasks: Sequence[PipelineTask],
        ready: Callable[[], Sequence[PipelineTask]],
        whole: float | None,
        own: float | None,
    ) -> None:
        """Start what is ready and take what happens, until nothing runs and nothing is ready."""
        end = min((each for each in (whole, own) if each is not None), default=None)
        while True:
            while not self._halted and (next_ones := ready()):
                for task in next_ones:
                    self._begin(task)
            if not self._under_way:
                break
            patience = None if end is None or self._halted else max(0.0, end - time.monotonic())
            try:
                self._news.get(timeout=patience)()
            except queue.Empty:
                self._halt(TIMEOUT)
        self._skip_pending(tasks)

    def _halt(self, why: str) -> None:
        self._stopped = self._stopped or why
        self._halted = True
        for each in self._under_way.values():
            each.stop.tell()

    def _cancel(self) -> None:
        self._stopped = CANCELLED
        self._halt(CANCELLED)

    def _ready(self) -> list[PipelineTask]:
        """Pending tasks whose parents are done; those that must be skipped are, on the way."""
        ready: list[PipelineTask] = []
        if self._standing.failed():
            return ready
        for task in self._run.tasks:
            parents = [self._standing.tasks[name] for name in self._waits[task.name]]
            pending = self._standing.phase(task.name) is Phase.PENDING
            if not pending or not all(parent.phase.done for parent in parents):
                continue
            skipped = [each for each in parents if each.phase is Phase.SKIPPED]
            if any(each.reason != NOT_WANTED for each in skipped):
                self._standing.settle(task.name, Phase.SKIPPED, PARENTS_SKIPPED)
                return self._ready()
            ready.append(task)
        return ready

    def _ready_final(self) -> list[PipelineTask]:
        pending = Phase.PENDING
        return [task for task in self._run.final if self._standing.phase(task.name) is pending]

    def _skip_pending(self, tasks: Sequence[PipelineTask]) -> None:
        for task in tasks:
            if self._standing.phase(task.name) is Phase.PENDING:
                self._standing.settle(task.name, Phase.SKIPPED, STOPPING)

    def _begin(self, task: PipelineTask) -> None:
        """Start a task, or settle it at once where it is skipped or cannot be started."""
        known = self._standing.scope
        try:
            if not _wanted(task, known):
                self._standing.settle(task.name, Phase.SKIPPED, NOT_WANTED)
                return
            values = scope.of_task(task, self._run, known, str(uuid.uuid4()))
            started = _Task(task, values, workspace.sub_paths(task, known))
        except UnresolvedError as exc:
            self._settle_unresolved(task, exc)
        except ConfigError as exc:
            self._standing.settle(task.name, Phase.FAILED, "InvalidParamValue", str(exc))
        else:
            self._under_way[task.name] = started
            self._standing.change(task.name, phase=Phase.RUNNING, reason="Running", started=self._standing.now())
            started.thread = threading.Thread(target=self._work, args=(started,), name=task.name)
            started.thread.start()

    def _settle_unresolved(self, task: PipelineTask, exc: UnresolvedError) -> None:
        parent = self._standing.tasks.get(exc.reference.task)
        if task.final or (parent is not None and parent.phase is Phase.SKIPPED):
            self._standing.settle(task.name, Phase.SKIPPED, RESULTS_MISSING)
        else:
            message = f"{exc.reference.text}: task {exc.reference.task} wrote no such result"
            self._standing.settle(task.name, Phase.FAILED, "InvalidTaskResultReference", message)

    def _done(self, name: str, done: Attempted) -> None:
        self._under_way.pop(name).end()
        self._standing.keep(name, done.results)
        self._standing.change(
            name,
            phase=done.phase,
            reason=done.reason,
            message=done.message,
            finished=self._standing.now(),
            steps=done.steps,
            runtime=done.runtime,
            network=done.network,
            results=done.results,
        )

    # working, in the threads of tasks

    def _work(self, started: _Task) -> None:
        """All attempts at one task; hands over what came of them."""
        name, done = started.task.name, Attempted(Phase.FAILED, "LocalExecutorError")
        try:
            for number in range(1, started.task.retries + 2):
                self._news.put(lambda number=number: self._standing.change(name, attempts=number))  # type: ignore[misc]
                done = self._attempt(started, number)
                if done.phase is not Phase.FAILED or started.stop.set:
                    break
        except BaseException as exc:  # noqa: BLE001  raised where decisions are made
            failure = exc
            self._news.put(lambda: _raise(failure))
        else:
            self._news.put(lambda: self._done(name, done))

    def _attempt(self, started: _Task, number: int) -> Attempted:
        task = started.task

        def tell(steps: tuple[StepState, ...]) -> None:
            self._news.put(lambda: self._standing.change(task.name, steps=steps))

        try:
            bound = workspace.bind(task, self._run, started.sub_paths, self._directory, number)
        except MlopsError as exc:
            return Attempted(Phase.FAILED, "LocalExecutorError", str(exc))
        return Attempt(
            task,
            number,
            {**started.scope, ("context", "task", "retry-count"): str(number - 1)},
            bound,
            self._directory,
            self._runtimes,
            Hearing(self._audience.log, tell, self._standing.now),
            started.stop,
        ).run()


def _wanted(task: PipelineTask, known: Mapping[Parts, Value]) -> bool:
    for when in task.when:
        found = substitution.text(when.input, known, f"{when.path}.input")
        among = substitution.items(when.values, known, f"{when.path}.values")
        if (found in among) == when.negated:
            return False
    return True


def _passed(moment: float | None) -> bool:
    return moment is not None and time.monotonic() >= moment


def _raise(failure: BaseException) -> None:
    raise failure
