"""One task at work, in a thread of its own: all attempts at it, in a place for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mlops.adapters.executors.local.attempt import Attempt, Attempted
from mlops.adapters.executors.local.audience import Audience, Hearing
from mlops.adapters.executors.local.fanning import Node
from mlops.adapters.executors.local.places import Places
from mlops.adapters.executors.local.record.rundir import RunDirectory
from mlops.adapters.executors.local.runtime.running import Stop
from mlops.adapters.executors.local.runtime.runtimes import Runtimes
from mlops.adapters.executors.local.scope import TaskScope
from mlops.adapters.executors.local.standing import Standing
from mlops.adapters.executors.local.starting import Work
from mlops.domain.run import Phase, StepState, TaskState
from mlops.tekton.document import PipelineRun
from mlops.tekton.substitution import Parts
from mlops.tekton.values import Value


@dataclass(slots=True)
class Tasking:
    """A node that is under way; `inside` are its workspaces' directories."""

    node: Node
    scope: TaskScope
    inside: Mapping[str, str]
    stop: Stop = field(default_factory=Stop)
    thread: threading.Thread | None = None

    def end(self) -> None:
        self.stop.tell()
        if self.thread is not None:
            self.thread.join()
        self.stop.close()


@dataclass(frozen=True, slots=True)
class Worker:
    """Carries nodes out; `hand` takes what is to be done in the thread that decides."""

    run: PipelineRun
    directory: RunDirectory
    runtimes: Runtimes
    audience: Audience
    places: Places
    hand: Callable[[Callable[[], None]], None]
    standing: Standing

    def begin(self, tasking: Tasking, done: Callable[[Tasking, Attempted], None]) -> None:
        """Start; `done` is called, in the thread that decides, with what came of it."""
        name = tasking.node.name
        tasking.thread = threading.Thread(target=self._work, args=(tasking, done), name=name)
        tasking.thread.start()

    def _work(self, tasking: Tasking, done: Callable[[Tasking, Attempted], None]) -> None:
        def waiting() -> None:
            self._change(
                tasking, reason="Pending", waits="other runs have all places of this machine"
            )

        def ready() -> None:
            self._change(tasking, reason="Running", waits="")

        try:
            with self.places.taken(tasking.stop, waiting, ready):
                found = self._attempts(tasking)
        except BaseException as exc:  # noqa: BLE001  raised where decisions are made
            failure = exc
            self.hand(lambda: _raise(failure))
        else:
            self.hand(lambda: done(tasking, found))

    def _change(self, tasking: Tasking, **changes: Any) -> None:
        name = tasking.node.name
        self.hand(lambda: self.standing.change(name, **changes))

    def _attempts(self, tasking: Tasking) -> Attempted:
        done = Attempted(Phase.CANCELLED, "TaskRunCancelled", "it was stopped before it began")
        earlier: tuple[TaskState, ...] = ()
        for number in range(1, tasking.node.task.retries + 2):
            if tasking.stop.set:
                break
            begun = self.standing.now()
            self._change(tasking, attempts=number, earlier=earlier)
            done = self._attempt(tasking, number)
            if done.phase is not Phase.FAILED:
                break
            state = TaskState(tasking.node.name, done.phase, done.reason, done.message, begun)
            ended = replace(
                state,
                finished=self.standing.now(),
                attempts=number,
                runtime=done.runtime,
                network=done.network,
                steps=done.steps,
                results=done.results,
            )
            earlier = (*earlier, ended)
        return done

    def _attempt(self, tasking: Tasking, number: int) -> Attempted:
        def tell(steps: tuple[StepState, ...]) -> None:
            self._change(tasking, steps=steps)

        counted: dict[Parts, Value] = {("context", "task", "retry-count"): str(number - 1)}
        work = Work(
            self.run,
            tasking.node.task,
            tasking.node.name,
            number,
            replace(tasking.scope, values={**tasking.scope.values, **counted}),
            self.directory,
            self.runtimes,
            Hearing(self.audience.log, tell, self.standing.now),
            tasking.stop,
        )
        return Attempt(work, tasking.inside).run()


def _raise(failure: BaseException) -> None:
    raise failure
