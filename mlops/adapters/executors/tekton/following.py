"""Following one run on a cluster to its end, and telling an observer what becomes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from mlops.adapters.cluster.cluster import Cluster
from mlops.adapters.cluster.kinds import PIPELINE_RUN, TASK_RUN, Kind
from mlops.adapters.cluster.watching import Change, Watch, Watches
from mlops.adapters.executors.tekton import logs
from mlops.adapters.executors.tekton.pending import Asking
from mlops.adapters.executors.tekton.standing import OF_RUN, Standing
from mlops.domain.run import Phase, RunResult, TaskState
from mlops.ports import RunObserver
from mlops.tekton import observed

_TICK = 0.1  # seconds between two looks at what the steps wrote
_SETTLES = 10.0  # seconds in which the tasks of a run that is over end


class Following:
    """The changes of one run and of its TaskRuns; `standing` is what is known by now."""

    def __init__(self, cluster: Cluster, kind: Kind, run: str) -> None:
        self.standing = Standing(kind.name)
        self._cluster, self._run = cluster, run
        self._asking = Asking(cluster)
        own = Watch(cluster, kind, fields=f"metadata.name={run}")
        others = [] if kind is TASK_RUN else [Watch(cluster, TASK_RUN, f"{OF_RUN}={run}")]
        self._watches = Watches(own, *others)

    def ticks(
        self, seconds: float, busy: Callable[[], bool] = lambda: False
    ) -> Iterator[RunResult | None]:
        """How the run stands at each change, and None at least every tenth of a second, at once where
        whoever asks is `busy`, until it is over or so much time has passed. Raises ClusterError where
        the cluster stays away."""
        until = time.monotonic() + seconds
        told: RunResult | None = None
        try:
            while (told is None or not told.phase.done) and time.monotonic() < until:
                change = self._watches.next(0.0 if busy() else _TICK)
                if change is not None:
                    self.standing.take(change)
                if not self._asking.again(self.standing) and change is None:
                    yield None
                    continue
                result = self.standing.result()
                if result is not None and result.phase.done:
                    result = self._whole()
                if result is not None and result != told:
                    told = result
                    yield result
        finally:
            self._watches.stop()

    def _whole(self) -> RunResult | None:
        """How a run stands that is over: what became of its TaskRuns may not have come yet, and of a
        cancelled run they end after it."""
        if self.standing.kind == TASK_RUN.name:
            return self.standing.result()
        picked = [("labelSelector", f"{OF_RUN}={self._run}")]
        until = time.monotonic() + _SETTLES
        while True:
            for each in self._cluster.list(TASK_RUN, picked)[0]:
                self.standing.take(Change(TASK_RUN, each))
            result = self.standing.result()
            if result is None or all(task.phase.done for task in result.tasks):
                return result
            if time.monotonic() > until:
                return result
            time.sleep(_TICK)


def endings(cluster: Cluster, selector: str, runs: Mapping[str, RunResult]) -> Iterator[RunResult]:
    """Runs, and TaskRuns of no run, that the selector of labels picks, as they end, without their
    tasks. `runs` are they as they were found; one that went since ended too."""
    left = dict(runs)
    standings = {name: Standing(run.kind) for name, run in runs.items()}
    watches = Watches(
        _known(Watch(cluster, PIPELINE_RUN, selector), runs.values()),
        _known(Watch(cluster, TASK_RUN, f"{selector},!{OF_RUN}"), runs.values()),
    )
    try:
        while left:
            change = watches.next(_TICK)
            if change is None or change.name not in left:
                continue
            standing = standings[change.name]
            standing.take(change)
            result = standing.result()
            if result is None and change.gone:
                result = observed.gone(left[change.name])
            if result is not None and result.phase.done:
                del left[change.name], standings[change.name]
                yield result
    finally:
        watches.stop()


def _known(watch: Watch, runs: Iterable[RunResult]) -> Watch:
    """The watch, which tells of those that are there no longer when it begins."""
    watch.expect(run.name for run in runs if run.kind == watch.kind.name)
    return watch


class Telling:
    """Tells an observer what becomes of a run: each task as it changes, each line as it comes."""

    def __init__(self, cluster: Cluster, observer: RunObserver) -> None:
        self._streams = logs.Streams(cluster)
        self._observer = observer
        self._told: dict[str, TaskState] = {}

    def lines(self) -> None:
        """Tell the lines that wait."""
        for line in self._streams.lines():
            self._observer.log(line.task, line.step, line.text)

    def result(self, result: RunResult, standing: Standing) -> None:
        """Tell what changed, and follow the logs of what has begun."""
        for source in logs.sources(result, standing.taskruns):
            self._streams.begin(source)
        self.lines()
        # what failed comes first: others were not begun for that
        for task in sorted(result.tasks, key=lambda each: each.phase is not Phase.FAILED):
            if self._told.get(task.name) != task:
                self._told[task.name] = task
                self._observer.task(task)

    def busy(self) -> bool:
        """Whether lines wait to be told."""
        return self._streams.waiting

    def end(self) -> None:
        """Tell the last lines: a run may be over before its logs are read."""
        for line in self._streams.rest():
            self._observer.log(line.task, line.step, line.text)
