"""Carrying a run out before somebody's eyes: the live tree, what came of it, the exit code."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from mlops.cli import options, render, runs_show
from mlops.cli.livetree import LiveTree, PlainLines, live, said
from mlops.cli.runs_kept import Kept
from mlops.domain.run import Phase, RunResult, TaskState
from mlops.errors import RunInterruptedError
from mlops.ports import RunObserver

_TAIL = 20  # lines of a failed step that are shown


class Silent:
    """A RunObserver that nobody listens to."""

    def task(self, state: TaskState) -> None: ...
    def log(self, task: str, step: str, line: str) -> None: ...


class Shown:
    """A RunObserver that draws or prints, and remembers the last lines of each step."""

    def __init__(self, name: str, *, logs: bool) -> None:
        self.name = name
        self._logs = logs
        self._inner: LiveTree | PlainLines = (
            LiveTree(logs=logs) if live() else PlainLines(logs=logs)
        )
        self._last: dict[tuple[str, str], deque[str]] = {}

    def task(self, state: TaskState) -> None:
        self._inner.task(state)

    def log(self, task: str, step: str, line: str) -> None:
        self._last.setdefault((task, step), deque(maxlen=_TAIL)).append(line)
        self._inner.log(task, step, line)

    @contextlib.contextmanager
    def drawn(self, kept: Kept) -> Iterator[None]:
        """Show what goes on while the block runs."""
        tree = self._inner
        if not isinstance(tree, LiveTree):
            yield
            return
        over = threading.Event()
        looking = threading.Thread(target=_learn, args=(kept, self.name, tree, over))
        with tree.shown(self.name):
            looking.start()
            try:
                yield
            finally:
                over.set()
                looking.join()

    def tell_failures(self, run: RunResult) -> None:
        """The last lines of the steps that failed, on stderr."""
        for task in run.tasks:
            if task.phase is not Phase.FAILED or task.ignored:
                continue
            render.fail(f"{task.name}: {render.words(task.message or task.reason)}")
            if not self._logs:
                for step in task.steps:
                    if step.phase is Phase.FAILED:
                        self._tell_last(task.name, step.name)

    def _tell_last(self, task: str, step: str) -> None:
        for line in self._last.get((task, step), ()):
            render.note(f"  {said(line)}")


def _learn(kept: Kept, name: str, tree: LiveTree, over: threading.Event) -> None:
    """Tell the tree of the tasks that the run has, once it has begun."""
    while not over.wait(0.1):
        run = kept.status(name)
        if run is not None and run.phase is Phase.RUNNING:
            tree.known(run.tasks)
            return


def carry_out(
    kept: Kept, name: str, carry: Callable[[RunObserver], RunResult], *, logs: bool
) -> RunResult:
    """Carry a run out before somebody's eyes; on stderr, what failed and why."""
    seen = Shown(name, logs=logs)
    with seen.drawn(kept):
        run = carry(seen)
    seen.tell_failures(run)
    return run


def answer(
    kept: Kept,
    found: Sequence[RunResult],
    output: options.Output,
    *,
    with_taskruns: bool = False,
) -> int:
    """Print what came of runs, for programs in Tekton's own form; give the exit code.

    Raises RunInterruptedError where a signal ended the last of them.
    """

    def text() -> None:
        for run in found:
            runs_show.summary(run)

    if output is options.Output.TEXT:
        text()
    else:
        render.answer(kept.objects(found, with_taskruns=with_taskruns), output, text)
    return _code(kept, found)


def _code(kept: Kept, found: Sequence[RunResult]) -> int:
    bad = [run for run in found if run.phase in (Phase.FAILED, Phase.CANCELLED)]
    for run in bad:
        logs, retry = f"mlops runs logs {run.name}", f"mlops runs retry {run.name}"
        if run.phase is Phase.CANCELLED and kept.interrupted:
            hint = f"Its logs: {logs}; go on with it: {retry}"
            raise RunInterruptedError(f"run {run.name} was interrupted", hint=hint)
        render.note(f"the logs of {run.name}: {logs}; go on with it: {retry}")
    return int(bool(bad))
