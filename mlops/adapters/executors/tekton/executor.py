"""Runs on a cluster: created once, watched, told, ended. The cluster is the source of truth.

Whoever watches may die: the run goes on, and is found again by its name.
"""

from __future__ import annotations

import contextlib
import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mlops.adapters.cluster.cluster import Cluster
from mlops.adapters.cluster.kinds import PIPELINE_RUN, TASK_RUN, Kind
from mlops.adapters.cluster.watching import Change
from mlops.adapters.executors.tekton import claims, logs, submitting
from mlops.adapters.executors.tekton.following import Following, Telling, endings
from mlops.adapters.executors.tekton.pending import Asking
from mlops.adapters.executors.tekton.standing import OF_RUN, Standing
from mlops.domain.run import Ending, LogLine, Phase, RunResult
from mlops.errors import ExecutorError, MlopsError, RefusedError, UsageError
from mlops.ports import RunObserver
from mlops.tekton import continuing, observed
from mlops.tekton.asked import Asked

Json = Mapping[str, Any]
_OURS = f"{submitting.MANAGED}=mlops"
_PENDING = "PipelineRunPending"
_EXPLAINED = 20  # runs of a list whose tasks are read, to say which failed


class TektonExecutor:
    """Meets `ports.Executor` on a cluster with Tekton Pipelines, in the cluster's namespace."""

    name = "tekton"
    lasting = True

    def __init__(self, cluster: Cluster) -> None:
        self.interrupted = False  # whether a signal ended what was carried out last
        self._cluster = cluster

    def run(self, document: Json, observer: RunObserver) -> RunResult:
        """Create one self-contained run, or find it created, and follow it to its end.

        In the main thread SIGINT cancels it; whatever else ends this process leaves it running.
        Raises ConfigError where the cluster does not admit it, RefusedError where there is another
        run of its name, ClusterError where the cluster is away.
        """
        kind = submitting.put(self._cluster, document)
        return self._follow(kind, str(document["metadata"]["name"]), observer)

    def submit(self, run: Asked, observer: RunObserver, *, new: bool = False) -> RunResult:
        """Create a run with all that it refers to, and follow it to its end; with `new`, UsageError is
        raised where there is one of its name. A run that is to be pending stays so: see `start`."""
        kind = self.create(run, new=new)
        if run.status == _PENDING:
            return self._existing(run.name)[1]
        return self._follow(kind, run.name, observer)

    def create(self, run: Asked, *, new: bool = True) -> Kind:
        """Create a run with all that it refers to, and leave it to the cluster."""
        asked, *others = run.documents
        submitting.put_others(self._cluster, others)
        return submitting.put(self._cluster, asked, new=new)

    def check(self, run: Asked) -> None:
        """Let the cluster's admission judge a run and what it refers to; nothing is created. Raises
        ConfigError where it says no."""
        asked, *others = run.documents
        submitting.put_others(self._cluster, others, dry_run=True)
        submitting.put(self._cluster, asked, dry_run=True)

    def attend(self, run: str, observer: RunObserver) -> RunResult:
        """Follow a run that is there to its end."""
        kind, _ = self._existing(run)
        return self._follow(kind, run, observer)

    def _follow(self, kind: Kind, name: str, observer: RunObserver) -> RunResult:
        following, telling = Following(self._cluster, kind, name), Telling(self._cluster, observer)
        found: RunResult | None = None
        with self._cancelling(lambda: self._end(kind, name, Ending.CANCELLED)):
            for result in following.ticks(math.inf, telling.busy):
                if result is None:
                    telling.lines()
                else:
                    found = result
                    telling.result(result, following.standing)
        telling.end()
        if found is None:
            raise ExecutorError(f"nothing was heard of run {name}")
        return found

    def start(self, run: str, observer: RunObserver) -> RunResult:
        """Let a pending run begin, and follow it. Raises RefusedError where it is not pending."""
        kind, before = self._existing(run)
        if before.phase is not Phase.PENDING:
            raise RefusedError(f"run {run} is not pending: {before.phase}")
        self._cluster.merge(kind, run, {"spec": {"status": None}})
        return self._follow(kind, run, observer)

    def retry(self, run: str, observer: RunObserver) -> RunResult:
        """Go on with a run that ended before its end, as a new run of the tasks that did not succeed:
        Tekton cannot resume. Raises RefusedError where it succeeded, or is not over."""
        kind, before = self._existing(run)
        if before.phase is Phase.SUCCEEDED:
            raise RefusedError(f"run {run} succeeded: nothing of it is left to do")
        if not before.phase.done:
            hint = f"End it first: mlops runs cancel {run}"
            raise RefusedError(f"run {run} is not over: {before.phase}", hint=hint)
        found, taskruns = self._objects(kind, run)
        document = continuing.document(found, taskruns, before, self._free(kind, run))
        submitting.put(self._cluster, document)
        claims.share(self._cluster, document)
        return self._follow(kind, str(document["metadata"]["name"]), observer)

    def _free(self, kind: Kind, run: str) -> str:
        """The first name for another try at a run that no object has."""
        number = 2
        while self._cluster.get(kind, continuing.name(run, number)) is not None:
            number += 1
        return continuing.name(run, number)

    def remove(self, run: str) -> None:
        """Remove a run that is over or pending, with its TaskRuns and pods. Raises RefusedError where
        it is being carried out."""
        kind, before = self._existing(run)
        if before.phase is Phase.RUNNING:
            hint = f"End it first: mlops runs cancel {run}"
            raise RefusedError(f"run {run} is being carried out", hint=hint)
        self._cluster.delete(kind, run)

    def cancel(self, run: str, ending: Ending) -> bool:
        """Ask for a run's end; whether somebody has to take notice. Raises RefusedError where it is
        over."""
        kind, before = self._existing(run)
        if before.phase.done:
            raise RefusedError(f"run {run} is over: {before.phase}")
        self._end(kind, run, ending)
        return True

    def _end(self, kind: Kind, run: str, ending: Ending) -> None:
        status = "TaskRunCancelled" if kind is TASK_RUN else str(ending)
        self._cluster.merge(kind, run, {"spec": {"status": status}})

    def status(self, run: str) -> RunResult | None:
        """How a run stands; None where there is none of that name."""
        found = self._find(run)
        return found[1] if found is not None else None

    def list(self) -> tuple[RunResult, ...]:
        """The runs of ours in the namespace, the one that began last first; the tasks of those of the
        newest that failed, of the others none. Raises ConfigError where there is no such namespace."""
        found = self._runs()
        names = [run.name for _, run in found if run.phase is Phase.FAILED][:_EXPLAINED]
        tasks: dict[str, list[Json]] = {name: [] for name in names}
        if names:
            picked = [("labelSelector", f"{OF_RUN} in ({','.join(names)})")]
            for each in self._cluster.list(TASK_RUN, picked)[0]:
                tasks[each["metadata"]["labels"][OF_RUN]].append(each)
        return tuple(
            observed.run(own, tasks[run.name]) if run.name in tasks else run for own, run in found
        )

    def _runs(self) -> Sequence[tuple[Json, RunResult]]:
        """The same as the cluster has them and without their tasks."""
        runs, _ = self._cluster.list(PIPELINE_RUN, [("labelSelector", _OURS)])
        singles, _ = self._cluster.list(TASK_RUN, [("labelSelector", f"{_OURS},!{OF_RUN}")])
        found = [(each, replace(observed.run(each), tasks=())) for each in (*runs, *singles)]
        if not found:
            self._cluster.require_namespace()
        found.sort(
            key=lambda each: (each[1].started is not None, each[1].started, each[1].name),
            reverse=True,
        )
        return found

    def names(self) -> tuple[str, ...]:
        """The names of those runs, sorted."""
        return tuple(sorted(run.name for _, run in self._runs()))

    def alive(self, run: str) -> bool:
        """Whether the cluster carries the run out right now."""
        found = self.status(run)
        return found is not None and not found.phase.done

    def logs(self, run: str, task: str = "", step: str = "") -> Iterator[LogLine]:
        """The lines that a run's steps and sidecars wrote, one after the other; of one task or step,
        or of all."""
        kind, result = self._existing(run)
        _, taskruns = self._objects(kind, run)
        for source in logs.sources(result, taskruns):
            if source.of(task, step):
                yield from logs.read(self._cluster, source)

    def follow(self, run: str, task: str = "", step: str = "") -> Iterator[LogLine]:
        """The same as they come, until the run is over."""
        kind, _ = self._existing(run)
        following, streams = Following(self._cluster, kind, run), logs.Streams(self._cluster)
        for result in following.ticks(math.inf, lambda: streams.waiting):
            if result is not None:
                for source in logs.sources(result, following.standing.taskruns):
                    if source.of(task, step):
                        streams.begin(source)
            yield from streams.lines()
        yield from streams.rest()

    def watch(self, run: str, seconds: float = math.inf) -> Iterator[RunResult]:
        """How a run stands, now and at each change, until it is over or so much time has passed."""
        kind, _ = self._existing(run)
        for result in Following(self._cluster, kind, run).ticks(seconds):
            if result is not None:
                yield result

    def endings(self, runs: Sequence[str]) -> Iterator[RunResult]:
        """The runs as they end, each once: those of ours by one watch for all, however many they are."""
        wanted = frozenset(runs)
        ours = {run.name: run for _, run in self._runs() if run.name in wanted}
        for result in endings(self._cluster, _OURS, ours):
            whole = self.status(result.name) if result.phase is not Phase.SUCCEEDED else None
            yield whole or result
        for run in runs:
            if run not in ours:
                *_, last = self.watch(run)
                yield last

    def steps(self, run: str) -> tuple[str, ...]:
        """The names of the steps and sidecars of a run."""
        kind, result = self._existing(run)
        _, taskruns = self._objects(kind, run)
        named = [step.name for task in result.tasks for step in task.steps]
        logged = [source.step for source in logs.sources(result, taskruns)]
        return tuple(dict.fromkeys([*named, *logged]))

    def objects(self, found: Sequence[RunResult], *, with_taskruns: bool = False) -> Json:
        """Runs as the cluster has them: one as it is, several as a v1 List."""
        items: list[Json] = []
        for run in found:
            kind, _ = self._existing(run.name)
            own, taskruns = self._objects(kind, run.name)
            items.append(own)
            if with_taskruns and kind is PIPELINE_RUN:
                items += taskruns.values()
        if len(found) == 1 and not with_taskruns:
            return items[0]
        return {"apiVersion": "v1", "kind": "List", "items": items}

    def _existing(self, run: str) -> tuple[Kind, RunResult]:
        found = self._find(run)
        if found is None:
            self._cluster.require_namespace()
            raise UsageError(
                f"no run {run!r} in namespace {self._cluster.namespace}",
                hint="List them: mlops runs",
            )
        return found

    def _find(self, run: str) -> tuple[Kind, RunResult] | None:
        for kind in (PIPELINE_RUN, TASK_RUN):
            found = self._cluster.get(kind, run)
            if found is not None:
                standing = Standing(kind.name, found)
                if kind is PIPELINE_RUN:
                    for each in self._taskruns(run).values():
                        standing.take(Change(TASK_RUN, each))
                Asking(self._cluster).again(standing, silent=0.0)
                result = standing.result()
                return (kind, result) if result is not None else None
        return None

    def _objects(self, kind: Kind, run: str) -> tuple[Json, Mapping[str, Json]]:
        found = self._cluster.get(kind, run)
        if found is None:
            raise UsageError(f"run {run} was removed from the cluster")
        return found, {run: found} if kind is TASK_RUN else self._taskruns(run)

    def _taskruns(self, run: str) -> Mapping[str, Json]:
        found, _ = self._cluster.list(TASK_RUN, [("labelSelector", f"{OF_RUN}={run}")])
        return {each["metadata"]["name"]: each for each in found}

    @contextlib.contextmanager
    def _cancelling(self, cancel: Callable[[], None]) -> Iterator[None]:
        """In the main thread, let SIGINT cancel, and the second one leave; elsewhere whoever has the
        main thread decides."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self.interrupted = False

        def heed(*_: object) -> None:
            if self.interrupted:
                raise KeyboardInterrupt
            self.interrupted = True
            threading.Thread(target=asked, daemon=True).start()

        def asked() -> None:
            with contextlib.suppress(MlopsError):  # it has just ended, or the cluster is away
                cancel()

        before = signal.signal(signal.SIGINT, heed)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
