"""Carries one run out: the graph of tasks, each in a thread of its own, then `finally`.

The thread that calls `carry` decides everything and sleeps in between; other threads hand it what
is to be done next, through one queue.
"""

from __future__ import annotations

import contextlib
import queue
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mlops.adapters.executors.local import fanning, scope, storage
from mlops.adapters.executors.local.attempt import Attempted
from mlops.adapters.executors.local.audience import Audience
from mlops.adapters.executors.local.fanning import Node
from mlops.adapters.executors.local.places import Places
from mlops.adapters.executors.local.reasons import (
    CANCELLED,
    FINALLY_LATE,
    GRACEFULLY,
    INVALID_RESULT,
    NOT_WANTED,
    PARENTS_SKIPPED,
    PIPELINE_LATE,
    RESULTS_MISSING,
    RUNNING_FINALLY,
    STOPPING,
    TASKS_LATE,
    TIMEOUT,
)
from mlops.adapters.executors.local.record.rundir import RunDirectory
from mlops.adapters.executors.local.runtime.runtimes import Runtimes
from mlops.adapters.executors.local.standing import Standing
from mlops.adapters.executors.local.tasking import Tasking, Worker
from mlops.domain.run import Ending, Phase, RunResult
from mlops.errors import ConfigError
from mlops.tekton import graph, quantities
from mlops.tekton.document import PipelineRun, PipelineTask
from mlops.tekton.substitution import SubstitutionError, UnresolvedError

_INVALID_MATRIX = "InvalidMatrixParameterTypes"


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
        directory: RunDirectory,
        runtimes: Runtimes,
        audience: Audience,
        notes: Sequence[str],
        limits: Limits,
        before: RunResult | None = None,
    ) -> None:
        self._run = run
        self._waits = graph.order(run)
        self._limits = limits
        self._audience = audience
        uid = (before.uid if before is not None else "") or str(uuid.uuid4())
        first = scope.of_run(run, uid)
        self._standing = Standing(run, first, directory, audience, notes, self._waits, before)
        self._news: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._worker = Worker(
            run, directory, runtimes, audience, limits.places, self._news.put, self._standing
        )
        self._under_way: dict[str, Tasking] = {}
        self._tasks: deque[PipelineTask] = deque()  # that can be looked at now
        self._nodes: deque[Node] = deque()  # that can begin now
        self._open: dict[str, int] = {}  # task → parents that are not done
        self._below: dict[str, list[PipelineTask]] = {}
        self._halted = False  # nothing new is started at this stage
        self._killing = False  # what runs at this stage was told to stop
        self._final = False  # this is the stage of `finally`
        self._stopped = ""  # what ended the run before its time
        self._late = ""  # why what has not begun will not, where time ran out
        self._why = ""  # why what runs was told to stop, for people
        self._ending: Ending | None = None  # what somebody asked for
        audience.on_failure = self.cancel
        if run.status:
            self.cancel(Ending(run.status))

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
            self._await_parents()
            self._stage(self._run.tasks, whole, own)
            if not self._stopped or (self._stopped == TIMEOUT and not _passed(whole)):
                self._begin_finally()
                own = None if limits.final is None else time.monotonic() + limits.final
                self._stage(self._run.final, whole, own)
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

    def _await_parents(self) -> None:
        """Count for each task the parents that are not done, and queue those that have none."""
        for task in self._run.tasks:
            above = [each for each in self._waits[task.name] if not self._standing.done(each)]
            for each in above:
                self._below.setdefault(each, []).append(task)
            self._open[task.name] = len(above)
            if not above and not self._standing.done(task.name):
                self._tasks.append(task)

    def _begin_finally(self) -> None:
        self._halted = self._killing = False
        self._late = ""
        self._final = True
        if self._ending is not None:
            self._standing.tell(RUNNING_FINALLY[self._ending])
        self._standing.add_statuses()
        self._standing.begin_finally()
        self._tasks.extend(self._run.final)

    def _stage(self, tasks: Sequence[PipelineTask], whole: float | None, own: float | None) -> None:
        """Start what is ready and take what happens, until nothing runs and nothing is ready."""
        end = min((each for each in (whole, own) if each is not None), default=None)
        self._take_news()
        while True:
            self._start()
            if not self._under_way:
                break
            patience = None if end is None or self._killing else max(0.0, end - time.monotonic())
            try:
                self._news.get(timeout=patience)()
            except queue.Empty:
                self._out_of_time(whole)
            self._take_news()
        self._tasks.clear()
        self._nodes.clear()
        self._skip_pending(tasks)

    def _take_news(self) -> None:
        while not self._news.empty():
            self._news.get()()

    def _start(self) -> None:
        """Begin what is ready, as many as may work at once; the others say what they wait for."""
        while not self._halted and len(self._under_way) < self._limits.jobs:
            if not self._final and self._standing.failed():  # Tekton: what runs goes on, no more
                self._tasks.clear()
                begun = [node for node in self._nodes if self._standing.begun(node.task.name)]
                self._nodes = deque(begun)  # a cluster begins all combinations together
            if self._nodes:
                self._begin(self._nodes.popleft())
            elif self._tasks:
                self._look_at(self._tasks.popleft())
            else:
                return
        if not self._halted:
            self._standing.queue(
                [*(node.name for node in self._nodes), *(task.name for task in self._tasks)],
                f"--jobs {self._limits.jobs}: so many tasks of this run work already",
            )

    def _out_of_time(self, whole: float | None) -> None:
        """A limit has passed: of the whole run, or of this stage."""
        limits = self._run.timeouts
        name = f'PipelineRun "{self._run.name}" failed'
        if _passed(whole):
            self._late = PIPELINE_LATE
            limit = quantities.duration(limits.pipeline or 0.0)
            self._why = f"the run's timeout of {limit} has passed"
            self._standing.fail(TIMEOUT, f'{name} to finish within "{limit}"')
            self._halt(TIMEOUT)
        elif self._final:
            self._late = FINALLY_LATE
            limit = quantities.duration(limits.final or 0.0)
            self._why = f"the timeout of {limit} for finally has passed"
            self._standing.late = True
            self._kill()
        else:
            self._late = TASKS_LATE
            limit = quantities.duration(limits.tasks or 0.0)
            message = f'{name} due to tasks failed to finish within "{limit}"'
            self._why = f"the timeout of {limit} for tasks has passed"
            self._standing.fail(TIMEOUT, message)
            self._halt(TIMEOUT)

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
        self._why = f"the run was ended: {ending}"
        if ending is Ending.CANCELLED:
            self._stopped = CANCELLED
            self._kill()
        elif not self._final:
            self._standing.tell(RUNNING_FINALLY[ending])
            self._halted = True
            if ending is Ending.RUN_FINALLY:
                self._kill()

    def _skip_pending(self, tasks: Sequence[PipelineTask]) -> None:
        why = self._late
        if why == TASKS_LATE and any(
            fanning.stops(task, self._standing.of(task.name), self._standing.scope)
            for task in self._run.tasks
        ):
            why = STOPPING  # as Tekton sees it, a task that was ended has failed
        if not why and self._ending is not None and not self._final:
            why = GRACEFULLY.get(self._ending, "")
        for task in tasks:
            with contextlib.suppress(UnresolvedError, SubstitutionError):
                self._conditions(task)
            for name in self._standing.pending(task.name):
                self._standing.settle(name, Phase.SKIPPED, why or STOPPING)

    # tasks and their combinations

    def _look_at(self, task: PipelineTask) -> None:
        """A task whose parents are done: skip it, or queue what it fans out to."""
        try:
            if self._unwanted(task):  # Tekton asks the conditions before the parents
                return
        except (UnresolvedError, SubstitutionError) as exc:
            if self._parents_skipped(task):
                self._settle(task, Phase.SKIPPED, PARENTS_SKIPPED)
            elif isinstance(exc, UnresolvedError):
                self._settle_unresolved(task, exc)
            else:
                self._settle(task, Phase.FAILED, "InvalidParamValue", str(exc))
            return
        if self._parents_skipped(task):
            self._settle(task, Phase.SKIPPED, PARENTS_SKIPPED)
            return
        try:
            nodes = self._fan_out(task)
        except UnresolvedError as exc:
            self._settle_unresolved(task, exc)
        except (ConfigError, SubstitutionError) as exc:
            reason = _INVALID_MATRIX if task.matrix else "InvalidParamValue"
            self._settle(task, Phase.FAILED, reason, str(exc))
        else:
            done = {state.name for state in self._standing.of(task.name) if state.phase.done}
            self._nodes.extend(node for node in nodes if node.name not in done)
            if not nodes:
                self._settle(task, Phase.SKIPPED, "Matrix Parameters have an empty array")

    def _parents_skipped(self, task: PipelineTask) -> bool:
        """Whether a parent was skipped for another reason than its own conditions."""
        parents = [self._standing.of(name) for name in self._waits.get(task.name, ())]
        skipped = [each for states in parents for each in states if each.phase is Phase.SKIPPED]
        return any(each.reason != NOT_WANTED for each in skipped)

    def _unwanted(self, task: PipelineTask) -> bool:
        """Whether the task's conditions do not hold; it is skipped then."""
        if self._conditions(task):
            return False
        self._settle(task, Phase.SKIPPED, NOT_WANTED)
        return True

    def _conditions(self, task: PipelineTask) -> bool:
        """Whether the task's conditions hold, which its states keep."""
        hold, conditions = fanning.conditions(task, self._standing.scope)
        if conditions:
            for name in self._standing.pending(task.name):
                self._standing.change(name, when=conditions)
        return hold

    def _fan_out(self, task: PipelineTask) -> list[Node]:
        """The combinations of a matrix, each under a name of its own; the task itself without one."""
        nodes = fanning.nodes(task, self._standing.scope)
        if task.matrix is not None and nodes:
            self._standing.fan_out(task.name, [(node.name, node.combination) for node in nodes])
        return nodes

    def _begin(self, node: Node) -> None:
        """Start a node, or settle it at once where it cannot be started."""
        task, known = node.task, self._standing.scope
        uid = str(uuid.uuid4())
        try:
            values = scope.of_task(
                task, self._run, known, uid, place=node.place, combination=node.combination
            )
            inside = storage.sub_paths(task, known)
        except UnresolvedError as exc:
            self._settle_unresolved(task, exc)
            return
        except (ConfigError, SubstitutionError) as exc:
            self._settle_node(node, "InvalidParamValue", str(exc))
            return
        tasking = Tasking(node, values, inside)
        self._under_way[node.name] = tasking
        self._standing.change(
            node.name,
            phase=Phase.RUNNING,
            reason="Running",
            started=self._standing.now(),
            waits="",
            taskrun=str(values.values["context", "taskRun", "name"]),
            display_name=fanning.display_name(node, values),
            uid=uid,
        )
        self._worker.begin(tasking, self._done)

    def _settle_unresolved(self, task: PipelineTask, exc: UnresolvedError) -> None:
        states = self._standing.of(exc.reference.task) if exc.reference.task else []
        parent_skipped = any(state.phase is Phase.SKIPPED for state in states)
        if task.final or parent_skipped or fanning.goes_on(task, self._standing.scope):
            self._settle(task, Phase.SKIPPED, RESULTS_MISSING)
            return
        name = exc.reference.task or exc.reference.text
        message = f"{exc.reference.text}: task {name} wrote no such result"
        self._settle(task, Phase.FAILED, INVALID_RESULT, message)

    def _settle(self, task: PipelineTask, phase: Phase, reason: str, message: str = "") -> None:
        """A task is over that was never started."""
        for name in self._standing.pending(task.name):
            self._standing.settle(name, phase, reason, message)
        self._over(task)

    def _settle_node(self, node: Node, reason: str, message: str) -> None:
        self._standing.settle(node.name, Phase.FAILED, reason, message, ignored=node.goes_on)
        self._over(node.task)

    def _done(self, tasking: Tasking, done: Attempted) -> None:
        """A node has ended."""
        node = tasking.node
        self._under_way.pop(node.name).end()
        ignored = done.phase is Phase.FAILED and node.goes_on
        self._standing.change(
            node.name,
            phase=done.phase,
            reason="FailureIgnored" if ignored else done.reason,
            message=self._message(done),
            waits="",
            finished=self._standing.now(),
            steps=done.steps,
            runtime=done.runtime,
            network=done.network,
            results=done.results,
            ignored=ignored,
        )
        self._over(node.task)

    def _message(self, done: Attempted) -> str:
        if done.phase is Phase.CANCELLED and self._why:
            return f"{done.message}: {self._why}"
        return done.message

    def _over(self, task: PipelineTask) -> None:
        """Where a task is done with all its combinations, those that waited for it come nearer."""
        if not self._standing.done(task.name):
            return
        self._standing.keep(task)
        for below in self._below.pop(task.name, ()):
            self._open[below.name] -= 1
            if not self._open[below.name]:
                self._tasks.append(below)


def _passed(moment: float | None) -> bool:
    return moment is not None and time.monotonic() >= moment
