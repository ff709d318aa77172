"""Following one run on a cluster to its end, and telling an observer what becomes of it."""

from __future__ import annotations

import time
from collections.abc import Iterator

from mlops.adapters.cluster.cluster import Cluster
from mlops.adapters.cluster.kinds import TASK_RUN, Kind
from mlops.adapters.cluster.watching import Watch, Watches
from mlops.adapters.executors.tekton import logs
from mlops.adapters.executors.tekton.standing import OF_RUN, Standing
from mlops.domain.run import RunResult, TaskState
from mlops.ports import RunObserver

_TICK = 0.1  # seconds between two looks at what the steps wrote
_LAST_LINES = 30.0  # seconds that logs may take after the run's end


class Following:
    """The changes of one run and of its TaskRuns; `standing` is what is known by now."""

    def __init__(self, cluster: Cluster, kind: Kind, run: str) -> None:
        self.standing = Standing(kind.name)
        own = Watch(cluster, kind, fields=f"metadata.name={run}")
        others = [] if kind is TASK_RUN else [Watch(cluster, TASK_RUN, f"{OF_RUN}={run}")]
        self._watches = Watches(own, *others)

    def ticks(self, seconds: float) -> Iterator[RunResult | None]:
        """How the run stands at each change, and None at least every tenth of a second, until it is
        over or so much time has passed. Raises ClusterError where the cluster stays away."""
        until = time.monotonic() + seconds
        told: RunResult | None = None
        try:
            while (told is None or not told.phase.done) and time.monotonic() < until:
                change = self._watches.next(_TICK)
                if change is None:
                    yield None
                    continue
                self.standing.take(change)
                result = self.standing.result()
                if result is not None and result != told:
                    told = result
                    yield result
        finally:
            self._watches.stop()


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
        for task in result.tasks:
            if self._told.get(task.name) != task:
                self._told[task.name] = task
                self._observer.task(task)

    def end(self) -> None:
        """Tell the last lines: a run may be over before its logs are read."""
        until = time.monotonic() + _LAST_LINES
        while self._streams.busy and time.monotonic() < until:
            self.lines()
            time.sleep(_TICK / 10)
        self.lines()
