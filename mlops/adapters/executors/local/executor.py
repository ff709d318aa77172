"""The local executor: carries Tekton PipelineRun documents out on this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlops import documents
from mlops.adapters.executors.local import beforehand, places, resolving, scope
from mlops.adapters.executors.local.audience import Audience
from mlops.adapters.executors.local.carrying import Carrying, Limits
from mlops.adapters.executors.local.places import Places
from mlops.adapters.executors.local.record import control, following, standby
from mlops.adapters.executors.local.record.rundir import RunDirectory
from mlops.adapters.executors.local.runtime.host import HostTool
from mlops.adapters.executors.local.runtime.runtimes import Runtimes
from mlops.domain.imagename import ImageMap, ImageName
from mlops.domain.run import Ending, LogLine, Phase, RunResult
from mlops.errors import ConfigError, ExecutorError, RefusedError, UsageError
from mlops.ports import ImageStore, RunObserver
from mlops.tekton import bundle, names, runs, status, substitution
from mlops.tekton.document import PipelineRun
from mlops.tekton.place import Place
from mlops.tekton.pod import Claim, Container


class LocalExecutor:
    """Meets `ports.Executor`. `root` keeps a directory for each run, `cache` unpacked layers.

    `runtime` is one of `runtimes.SETTINGS`, `auto` being the sandbox where it works, else `process`;
    `tool` names the image whose steps the installed mlops carries out itself; `mapping` says which
    images stand for others; `ours` is the host of the project's own registry; `jobs` is how many
    tasks of a run work at once, 0 the usual number. Raises UsageError on another runtime.
    """

    name = "local"
    lasting = False

    def __init__(
        self,
        root: Path,
        images: ImageStore,
        runtime: str = "auto",
        cache: Path = Path(".mlops/cache"),
        tool: HostTool | None = None,
        jobs: int = 0,
        mapping: ImageMap = ImageMap(),  # noqa: B008  frozen
        *,
        ours: str = "",
    ) -> None:
        self.interrupted = False  # whether a signal ended what was carried out last
        self._root = root.absolute()
        jobs = jobs or places.usual()
        machine = Places(cache.absolute() / "places", max(jobs, places.usual()))
        self._limits = Limits(jobs, machine)
        self._runtimes = Runtimes(
            images, cache.absolute(), self._root, runtime, tool, mapping, ours=ours
        )

    def probe(self) -> tuple[str, ...]:
        """Why the sandbox is not available here; empty where it is."""
        return self._runtimes.probe.reasons

    def run(self, document: Mapping[str, Any], observer: RunObserver) -> RunResult:
        """Carry one self-contained document out and wait; otherwise as `submit`."""
        return self.submit(runs.of_document(document), observer)

    def submit(
        self,
        run: PipelineRun,
        observer: RunObserver,
        *,
        new: bool = False,
        keep: Callable[[Path], None] = lambda _: None,
    ) -> RunResult:
        """Carry a run out and wait; with `new`, UsageError is raised where there is one of its name.

        `keep` writes into the run's directory what belongs to it besides, once the name is ours.

        In the main thread, SIGINT and SIGTERM cancel: everything is killed, `finally` is left out,
        the phase is Cancelled; the second one kills at once. A run whose `status` is
        PipelineRunPending is kept, and Pending until `start`. Raises ConfigError with the place of a
        field that is not supported or wrong, before anything runs; ExecutorError where the run goes
        on elsewhere, or this machine cannot carry it out.
        """
        pending = run.status == standby.PENDING
        notes = () if pending else self._check(run)
        directory = self._directory(run.name)
        if new and directory.alive():
            raise _taken(run.name)
        with directory.held() as token:
            if new and directory.document.exists():  # decided while nobody else can decide it
                raise _taken(run.name)
            keep(directory.path)
            directory.begin(run.documents)
            if pending:
                return standby.pend(directory, run)
            return self._carry(run, notes, directory, token, observer, None)

    def attend(self, run: str, observer: RunObserver) -> RunResult:  # noqa: ARG002
        """A run ends with the process that carries it out: there is nothing to follow. Raises
        RefusedError."""
        raise RefusedError(f"run {run} ended with its process", hint=f"mlops runs retry {run}")

    def start(self, run: str, observer: RunObserver) -> RunResult:
        """Carry out a run that is Pending. Raises RefusedError where it is not."""
        directory = self._existing(run)
        with directory.held() as token:
            before = self._stands(directory)
            if before.phase is not Phase.PENDING:
                raise RefusedError(f"run {run} is not pending: {before.phase}")
            return self._again(directory, token, observer, None)

    def retry(self, run: str, observer: RunObserver) -> RunResult:
        """Go on with a run that ended before its end: what succeeded in it is not run again, its
        results and workspaces stand; `finally` runs again. Raises RefusedError where it succeeded.
        """
        directory = self._existing(run)
        with directory.held() as token:
            before = self._stands(directory)
            if before.phase is Phase.SUCCEEDED:
                raise RefusedError(f"run {run} succeeded: nothing of it is left to do")
            if before.phase is Phase.PENDING:
                hint = f"Start it: mlops runs start {run}"
                raise RefusedError(f"run {run} is pending, and has not begun", hint=hint)
            return self._again(directory, token, observer, before)

    def _again(
        self,
        directory: RunDirectory,
        token: str,
        observer: RunObserver,
        before: RunResult | None,
    ) -> RunResult:
        """Carry out what was laid down before, whatever status it was to begin with."""
        found = bundle.read(directory.asked())
        if len(found.runs) != 1:
            raise ExecutorError(f"{directory.document} holds no run")
        run = dataclasses.replace(runs.program(found, found.runs[0]), status="")
        notes = self._check(run)
        directory.begin(run.documents)
        return self._carry(run, notes, directory, token, observer, before)

    def remove(self, run: str) -> None:
        """Remove a run that is over or pending, with its logs and workspaces. Raises RefusedError
        where somebody carries it out."""
        directory = self._existing(run)
        if directory.alive():
            hint = f"End it first: mlops runs cancel {run}"
            raise RefusedError(f"run {run} is being carried out", hint=hint)
        with directory.held(briefly=True):
            directory.end_processes()
            directory.remove()

    def cancel(self, run: str, ending: Ending) -> bool:
        """End a run, whoever carries it out; whether somebody does, and was asked.

        A run that nobody carries out, for its executor was killed or it is pending, is Cancelled at
        once. Raises RefusedError where it is over.
        """
        directory = self._existing(run)
        if directory.alive():
            control.request(directory, ending)
            return True
        with directory.held(briefly=True):
            standby.cancel(directory, self._stands(directory))
        return False

    def _carry(
        self,
        run: PipelineRun,
        notes: Sequence[str],
        directory: RunDirectory,
        token: str,
        observer: RunObserver,
        before: RunResult | None,
    ) -> RunResult:
        carrying = Carrying(
            run, directory, self._runtimes.of_run(), Audience(observer), notes, self._limits, before
        )
        with (
            control.listening(directory, token, carrying.cancel),
            self._cancelling(carrying.cancel, directory.end_processes),
        ):
            result = carrying.carry()
        if result.phase is Phase.SUCCEEDED:
            directory.forget_secrets()
        return result

    def status(self, run: str) -> RunResult | None:
        """How a run went or stands; None where there is none of that name.

        A run whose executor was killed is Failed, for the reason ExecutorDied.
        """
        directory = self._known(run)
        if directory is None:
            return None
        alive = directory.alive()
        result = directory.read()  # after `alive`: else it might have ended in between
        return result if alive else standby.left(directory, result)

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

    def logs(self, run: str, task: str = "", step: str = "") -> Iterator[LogLine]:
        """The lines that a run's steps wrote, one step after the other as they began; of one task or
        step, or of all."""
        directory = self._known(run)
        if directory is not None:
            yield from following.written(directory, following.Wanted(task, step))

    def follow(self, run: str, task: str = "", step: str = "") -> Iterator[LogLine]:
        """The same, and what comes until the run is over, or nobody carries it out any more."""
        directory = self._known(run)
        if directory is not None:
            yield from following.followed(directory, following.Wanted(task, step))

    def watch(self, run: str, seconds: float = math.inf) -> Iterator[RunResult]:
        """How a run stands, now and at each change, until it is over or so much time has passed."""
        directory = self._known(run)
        if directory is not None:
            yield from following.watched(directory, seconds)

    def endings(self, runs: Sequence[str]) -> Iterator[RunResult]:
        """The runs as they end, in the order of their names: all are over by the time it is told."""
        for run in runs:
            *_, last = self.watch(run)
            yield last

    def names(self) -> tuple[str, ...]:
        """The names of all runs, sorted."""
        found = self._root.iterdir() if self._root.is_dir() else ()
        return tuple(sorted(each.name for each in found if self._known(each.name) is not None))

    def documents(self, run: str) -> tuple[Mapping[str, Any], ...]:
        """The run as it was asked for, and whatever it refers to."""
        files = self._existing(run).asked()
        found = [
            each.value
            for name, text in files
            for each in documents.load_all(text, name, limit=bundle.LIMIT)
        ]
        return tuple(each for each in found if isinstance(each, Mapping))

    def steps(self, run: str) -> tuple[str, ...]:
        """The names of the steps and sidecars of a run, those that wrote something too."""
        stands = self.status(run)
        named = [step.name for task in (stands.tasks if stands else ()) for step in task.steps]
        logged = sorted(path.stem for path in self.path(run).glob("logs/*/*.log"))
        return tuple(dict.fromkeys([*named, *logged]))

    def objects(
        self, found: Sequence[RunResult], *, with_taskruns: bool = False
    ) -> Mapping[str, Any]:
        """Runs with their status in Tekton's own form: one as it is, several as a v1 List."""
        told = [(self.documents(run.name), run) for run in found]
        return status.of_runs(told, with_taskruns=with_taskruns)

    @contextlib.contextmanager
    def _cancelling(self, cancel: Callable[[], None], kill: Callable[[], None]) -> Iterator[None]:
        """In the main thread, let SIGINT and SIGTERM cancel, and the second of them kill; elsewhere
        whoever has the main thread decides."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self.interrupted = False

        def heed(*_: object) -> None:
            cancel()
            if self.interrupted:
                kill()
            self.interrupted = True

        before = {number: signal.signal(number, heed) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def path(self, run: str) -> Path:
        """Where a run is kept, or would be."""
        return self._directory(run).path

    def _existing(self, run: str) -> RunDirectory:
        directory = self._known(run)
        if directory is None:
            raise UsageError(f"no run {run!r} on this machine", hint="List them: mlops runs")
        return directory

    def _stands(self, directory: RunDirectory) -> RunResult:
        """How a run that nobody carries out stands."""
        result = standby.left(directory, directory.read())
        if result is None:
            raise UsageError(f"{directory.path} is no run")
        return result

    def _directory(self, run: str) -> RunDirectory:
        return RunDirectory(self._root / run)

    def _known(self, run: str) -> RunDirectory | None:
        directory = self._directory(run)
        return directory if names.is_object(run) and directory.path.is_dir() else None

    def _check(self, run: PipelineRun) -> tuple[str, ...]:
        """Hold what is known beforehand against this machine: images, fixed paths, claims.

        Gives what is to be said to the user.
        """
        self._check_claims(run)
        sandboxed = False
        named: dict[str, Place] = {}
        known = scope.of_run(run, "")
        for task in run.all_tasks:
            values = scope.of_task(task, run, known, "", partial=True).values
            for container in task.spec.containers:
                name = _image(container, values)
                ref = name.ref if name is not None else None
                if name is not None:
                    named.setdefault(str(name), container.at / "image")
                is_tool = ref is not None and self._runtimes.is_tool(ref)
                sandboxed = sandboxed or not is_tool
                if is_tool or self._runtimes.name == "process":
                    resolving.check_host(container)
        notes = tuple(self._runtimes.notes()) if sandboxed else ()
        beforehand.check_images(self._runtimes, named)
        return (*run.notes, *notes)

    def _check_claims(self, run: PipelineRun) -> None:
        """A claim with a name is one of the files, or was in an earlier run on this machine."""
        directory = self._directory(run.name)
        for bound in run.bound.values():
            if not isinstance(bound.source, Claim) or not bound.source.name:
                continue
            name = bound.source.name
            if name not in run.claims and not directory.claim(name).is_dir():
                raise bound.at.error(
                    f"there is no claim {name!r}",
                    "Put the PersistentVolumeClaim among the files: it becomes a directory that stays",
                )


def _image(container: Container, values: substitution.Scope) -> ImageName | None:
    """A container's image, None where a result or a matrix will tell. Raises ConfigError without a
    digest."""
    try:
        return ImageName.parse(resolving.image_of(container, values))
    except substitution.UnresolvedError:
        return None
    except UsageError as exc:
        raise ConfigError((container.at / "image").complaint(exc.message), hint=exc.hint) from exc


def _taken(name: str) -> UsageError:
    hint = f"Look at it: mlops runs show {name}; or choose another name: --name"
    return UsageError(f"there is a run {name} already", hint=hint)
