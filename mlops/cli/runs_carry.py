"""Carrying a run out before somebody's eyes: the live tree, what came of it, the exit code."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from mlops.cli import options, render, runs_show
from mlops.cli.livetree import LiveTree, PlainLines, live
from mlops.domain.run import Phase, RunResult, TaskState
from mlops.errors import RunInterruptedError
from mlops.ports import RunObserver
from mlops.tekton import status

if TYPE_CHECKING:
    from mlops.adapters.executors.local import LocalExecutor

_TAIL = 20  # lines of a failed task that are shown


class Shown:
    """A RunObserver that draws or prints, and remembers the last lines of each task."""

    def __init__(self, name: str, *, logs: bool) -> None:
        self.name = name
        self._logs = logs
        self._inner: LiveTree | PlainLines = (
            LiveTree(name, logs=logs) if live() else PlainLines(logs=logs)
        )
        self._last: dict[str, deque[str]] = {}

    def task(self, state: TaskState) -> None:
        self._inner.task(state)

    def log(self, task: str, step: str, line: str) -> None:
        self._last.setdefault(task, deque(maxlen=_TAIL)).append(line)
        self._inner.log(task, step, line)

    @contextlib.contextmanager
    def drawn(self, kept: LocalExecutor) -> Iterator[None]:
        """Show what goes on while the block runs."""
        tree = self._inner
        if not isinstance(tree, LiveTree):
            yield
            return
        over = threading.Event()
        looking = threading.Thread(target=_learn, args=(kept, self.name, tree, over))
        with tree.shown():
            looking.start()
            try:
                yield
            finally:
                over.set()
                looking.join()

    def tell_failures(self, run: RunResult) -> None:
        """The last lines of the tasks that failed, on stderr."""
        for task in run.tasks:
            if task.phase is not Phase.FAILED:
                continue
            render.fail(f"{task.name}: {render.safe(task.message or task.reason)}")
            if not self._logs:
                for line in self._last.get(task.name, ()):
                    render.note(f"  {render.safe(line)}")


def _learn(kept: LocalExecutor, name: str, tree: LiveTree, over: threading.Event) -> None:
    """Tell the tree of the tasks that the run has, once it has begun."""
    while not over.wait(0.1):
        run = kept.status(name)
        if run is not None and run.phase is Phase.RUNNING:
            tree.known(run.tasks)
            return


def shown(name: str, *, logs: bool) -> Shown:
    return Shown(name, logs=logs)


def told(
    kept: LocalExecutor,
    seen: Shown,
    carry: Callable[[RunObserver], RunResult],
    output: options.Output,
    *,
    with_taskruns: bool = False,
) -> int:
    """Carry a run out, print what came of it (as JSON: in Tekton's own form), give the exit code.

    Raises RunInterruptedError where a signal ended it.
    """
    with seen.drawn(kept):
        run = carry(seen)
    seen.tell_failures(run)
    render.answer(
        _tekton(kept, run, output, with_taskruns=with_taskruns),
        output,
        lambda: runs_show.summary(run),
    )
    if run.phase not in (Phase.FAILED, Phase.CANCELLED):
        return 0
    go_on = f"Its logs: mlops runs logs {run.name}; go on with it: mlops runs retry {run.name}"
    if run.phase is Phase.CANCELLED and kept.interrupted:
        raise RunInterruptedError(f"run {run.name} was interrupted", hint=go_on)
    render.note(go_on)
    return 1


def _tekton(
    kept: LocalExecutor, run: RunResult, output: options.Output, *, with_taskruns: bool
) -> Any:
    if output is options.Output.TEXT:
        return None
    form = status.with_taskruns if with_taskruns else status.of_run
    return form(kept.documents(run.name), run)
