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
from typing import Any

from mlops.adapters.executors.local import scope, workspace
from mlops.adapters.executors.local.attempt import Attempt, Attempted, Hearing
from mlops.adapters.executors.local.audience import Audience
from mlops.adapters.executors.local.places import Places
from mlops.adapters.executors.local.rundir import RunDirectory
from mlops.adapters.executors.local.running import Stop
from mlops.adapters.executors.local.runtimes import Runtimes
from mlops.adapters.executors.local.standing import (
    CANCELLED,
    GRACEFULLY,
    NOT_WANTED,
    PARENTS_SKIPPED,
    RESULTS_MISSING,
    RUNNING_FINALLY,
    STOPPING,
    TIMEOUT,
    Standing,
)
from mlops.domain.run import Ending, Phase, RunResult, StepState
from mlops.errors import ConfigError, MlopsError
from mlops.tekton import substitution
from mlops.tekton.document import PipelineRun, PipelineTask, Value
from mlops.tekton.substitution import Parts, UnresolvedError


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


@dataclass(frozen=True, slots=True)
class Limits:
    """How many tasks of a run work at once, and where those of all runs take their places."""

    jobs: int
    places: Places


class Carrying:
    """One run. `carry` gives how it ended; `cancel` may be called from anywhere, also signals.

    `before` is an earlier attempt at it, of which what succeeded is kept.
    """

    def __init__(
        self,
        run: PipelineRun,
        waits: Mapping[str, Sequence[str]],
        directory: RunDirectory,
        runtimes: Runtimes,
        audience: Audience,
        notes: Sequence[str],
        limits: Limits,
        before: RunResult | None = None,
    ) -> None:
        self._run = run
        self._waits = waits
        self._directory = directory
        self._runtimes = runtimes
        self._audience = audience
        self._limits = limits
        uid = before.uid if before is not None else ""
        first = scope.of_run(run, uid or str(uuid.uuid4()))
        self._standing = Standing(run, first, directory, audience, notes, before)
        self._news: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._under_way: dict[str, _Task] = {}
        self._halted = False  # nothing new is started at this stage
        self._killing = False  # what runs at this stage was told to stop
        self._final = False  # this is the stage of `finally`
        self._stopped = ""  # what ended the run before its time
        self._ending: Ending | None = None  # what somebody asked for
        audience.on_failure = self.cancel

    def cancel(self, ending: Ending = Ending.CANCELLED) -> None:
        """Ask for an end; a milder one than was asked for before changes nothing."""
        self._news.put(lambda: self._cancel(ending))  # reentrant: a signal handler may do it

    def carry(self) -> RunResult:
        """Do it all. Raises what the observer raised, after everything was ended."""
        limits, begun = self._run.timeouts, time.monotonic()
        whole = None if limits.pipeline is None else begun + limits.pipeline
        try:
            self._standing.begin()
            own = None if limits.tasks is None else begun + limits.tasks
            self._stage(self._run.tasks, self._ready, whole, own)
            if not self._stopped or (self._stopped == TIMEOUT and not _passed(whole)):
                self._halted = self._killing = False
                self._final = True
                if self._ending is not None:
                    self._standing.tell(RUNNING_FINALLY[self._ending])
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
        result = self._standing.end(self._stopped, graceful=self._ending is not None)
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
            self._start(ready)
            if not self._under_way:
                break
            patience = None if end is None or self._killing else max(0.0, end - time.monotonic())
            try:
                self._news.get(timeout=patience)()
            except queue.Empty:
                self._halt(TIMEOUT)
        self._skip_pending(tasks)

    def _start(self, ready: Callable[[], Sequence[PipelineTask]]) -> None:
        """Begin what is ready, as many as may work at once; the others say what they wait for."""
        while not self._halted:
            found = ready()
            room = self._limits.jobs - len(self._under_way)
            for task in found[max(0, room) :]:
                if not self._standing.tasks[task.name].waits:
                    waits = f"{self._limits.jobs} tasks of this run work already"
                    self._standing.change(task.name, waits=waits)
            if not found or room <= 0:
                return
            for task in found[:room]:
                self._begin(task)

    def _halt(self, why: str) -> None:
        self._stopped = self._stopped or why
        self._kill()

    def _kill(self) -> None:
        self._halted = self._killing = True
        for each in self._under_way.values():
            each.stop.tell()

    def _cancel(self, ending: Ending) -> None:
        if self._ending is not None and ending.rank <= self._ending.rank:
            return
        self._ending = ending
        if ending is Ending.CANCELLED:
            self._stopped = CANCELLED
            self._kill()
        elif not self._final:
            self._standing.tell(RUNNING_FINALLY[ending])
            self._halted = True
            if ending is Ending.RUN_FINALLY:
                self._kill()

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
                why = STOPPING if self._ending is None else GRACEFULLY.get(self._ending, STOPPING)
                self._standing.settle(task.name, Phase.SKIPPED, STOPPING if self._final else why)

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
            self._standing.change(
                task.name,
                phase=Phase.RUNNING,
                reason="Running",
                started=self._standing.now(),
                waits="",
                taskrun=str(values["context", "taskRun", "name"]),
                uid=str(values["context", "taskRun", "uid"]),
            )
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
            waits="",
            finished=self._standing.now(),
            steps=done.steps,
            runtime=done.runtime,
            network=done.network,
            results=done.results,
        )

    # working, in the threads of tasks

    def _work(self, started: _Task) -> None:
        """All attempts at one task, in a place for it; hands over what came of them."""
        name, done = started.task.name, Attempted(Phase.FAILED, "LocalExecutorError")

        def change(**changes: Any) -> None:
            self._news.put(lambda: self._standing.change(name, **changes))

        def waiting() -> None:
            change(reason="Pending", waits="other runs have all places of this machine")

        def ready() -> None:
            change(reason="Running", waits="")

        try:
            with self._limits.places.taken(started.stop, waiting, ready):
                done = self._attempts(started, change)
        except BaseException as exc:  # noqa: BLE001  raised where decisions are made
            failure = exc
            self._news.put(lambda: _raise(failure))
        else:
            self._news.put(lambda: self._done(name, done))

    def _attempts(self, started: _Task, change: Callable[..., None]) -> Attempted:
        done = Attempted(Phase.CANCELLED, "TaskRunCancelled", "it was stopped before it began")
        for number in range(1, started.task.retries + 2):
            if started.stop.set:
                break
            change(attempts=number)
            done = self._attempt(started, number)
            if done.phase is not Phase.FAILED:
                break
        return done

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
