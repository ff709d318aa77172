"""The local executor: carries Tekton PipelineRun documents out on this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlops.adapters.executors.local import logs, resolving, scope
from mlops.adapters.executors.local.audience import Audience
from mlops.adapters.executors.local.carrying import Carrying
from mlops.adapters.executors.local.host import HostTool
from mlops.adapters.executors.local.rundir import RunDirectory
from mlops.adapters.executors.local.runtimes import Runtimes
from mlops.domain.digest import ImageRef
from mlops.domain.run import Phase, RunResult
from mlops.errors import ConfigError, UsageError
from mlops.ports import ImageStore, RunObserver
from mlops.tekton import parse, substitution, validate
from mlops.tekton.document import Container, PipelineRun

_DIED = "ExecutorDied"


class LocalExecutor:
    """Meets `ports.Executor`. `root` keeps a directory for each run, `cache` unpacked layers.

    `runtime` is `sandbox`, `process` or `auto` (the sandbox where it works); `tool` names the image
    whose steps the installed mlops carries out itself. Raises ExecutorError on another runtime.
    """

    name = "local"

    def __init__(
        self,
        root: Path,
        images: ImageStore,
        runtime: str = "auto",
        cache: Path = Path(".mlops/cache"),
        tool: HostTool | None = None,
    ) -> None:
        self._root = root.absolute()
        self._runtimes = Runtimes(images, cache.absolute(), self._root, runtime, tool)

    def probe(self) -> tuple[str, ...]:
        """Why the sandbox is not available here; empty where it is."""
        return self._runtimes.probe.reasons

    def run(
        self, document: Mapping[str, Any], observer: RunObserver, *, fresh: bool = True
    ) -> RunResult:
        """Carry the document out and wait; `fresh` False keeps the workspaces of an earlier try.

        In the main thread, SIGINT and SIGTERM cancel: everything is killed, `finally` is left out,
        the phase is Cancelled. Raises ConfigError with the path of a field that is not supported
        or wrong, before anything runs; ExecutorError where the run goes on elsewhere, or this
        machine cannot carry it out.
        """
        run = parse.pipeline_run(document)
        waits = validate.validate(run)
        notes = (*run.notes, *self._check_images(run))
        directory = self._directory(run.name)
        with directory.held():
            directory.begin(document, fresh=fresh)
            audience = Audience(observer)
            carrying = Carrying(run, waits, directory, self._runtimes, audience, notes)
            with _cancelling(carrying.cancel):
                return carrying.carry()

    def status(self, run: str) -> RunResult | None:
        """How a run went or stands; None where there is none of that name.

        A run whose executor was killed is Failed, for the reason ExecutorDied.
        """
        directory = self._known(run)
        if directory is None:
            return None
        alive = directory.alive()
        result = directory.read()  # after `alive`: else it might have ended in between
        if result is None or result.phase.done or alive:
            return result
        return _died(result, directory.holder())

    def list(self) -> tuple[RunResult, ...]:
        """All runs, the one that began last coming first."""
        if not self._root.is_dir():
            return ()
        found = [self.status(entry.name) for entry in self._root.iterdir()]
        known = [result for result in found if result is not None]
        known.sort(
            key=lambda each: (each.started is not None, each.started, each.name), reverse=True
        )
        return tuple(known)

    def alive(self, run: str) -> bool:
        """Whether some process carries the run out right now."""
        directory = self._known(run)
        return directory is not None and directory.alive()

    def logs(self, run: str, task: str = "") -> Iterator[tuple[str, Iterator[str]]]:
        """`TASK/STEP` and the lines of its log, clean; of one task, or all in order of time."""
        directory = self._known(run)
        if directory is None or (task and not parse.is_label(task)):
            return
        for where, path in directory.logs(task):
            yield where, logs.lines(path)

    def log_path(self, run: str, task: str, step: str) -> Path:
        """Where a step's log is, or would be."""
        return self._directory(run).log(task, step)

    def _directory(self, run: str) -> RunDirectory:
        return RunDirectory(self._root / run)

    def _known(self, run: str) -> RunDirectory | None:
        directory = self._directory(run)
        return directory if parse.is_label(run) and directory.path.is_dir() else None

    def _check_images(self, run: PipelineRun) -> tuple[str, ...]:
        """Hold what is known beforehand against the runtimes: images by digest, fixed paths.

        Gives what is to be said about the runtime.
        """
        sandboxed = False
        known = scope.of_run(run, "")
        for task in run.all_tasks:
            values = scope.of_task(task, run, known, "", partial=True)
            for container in task.spec.containers:
                ref = _image(container, values)
                is_tool = ref is not None and self._runtimes.is_tool(ref)
                sandboxed = sandboxed or not is_tool
                if is_tool or self._runtimes.name == "process":
                    resolving.check_host(container)
        return tuple(self._runtimes.notes()) if sandboxed else ()


def _image(container: Container, values: substitution.Scope) -> ImageRef | None:
    """A container's image, None where a result will tell. Raises ConfigError without a digest."""
    try:
        return ImageRef.parse(resolving.image_of(container, values))
    except substitution.UnresolvedError:
        return None
    except UsageError as exc:
        raise ConfigError(f"{container.path}.image: {exc.message}", hint=exc.hint) from exc


def _died(result: RunResult, holder: str) -> RunResult:
    """A run that says it is running, and that nobody carries out."""
    message = f"process {holder}, which carried the run out, ended in the middle"
    tasks = tuple(
        dataclasses.replace(task, phase=Phase.FAILED, reason=_DIED)
        if task.phase is Phase.RUNNING
        else dataclasses.replace(task, phase=Phase.SKIPPED, reason=_DIED)
        if task.phase is Phase.PENDING
        else task
        for task in result.tasks
    )
    return dataclasses.replace(
        result, phase=Phase.FAILED, reason=_DIED, message=message, tasks=tasks
    )


@contextlib.contextmanager
def _cancelling(cancel: Callable[[], None]) -> Iterator[None]:
    """In the main thread, let SIGINT and SIGTERM cancel; elsewhere whoever has it decides."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, lambda *_: cancel())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
