"""What the steps of a run write, read from their pods: once, or as it comes.

A connection that breaks goes on from the last second that was seen (see loglines). One that ends while
the container runs was broken too: so it is where the kubelet or the API server is started anew.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mlops.adapters.cluster.backoff import Backoff
from mlops.adapters.cluster.cluster import AnsweredError, Cluster
from mlops.adapters.cluster.kinds import POD
from mlops.adapters.executors.tekton import loglines
from mlops.domain.run import LogLine, RunResult
from mlops.errors import ClusterError, ForbiddenError
from mlops.tekton import observed

Json = Mapping[str, Any]
_AT_ONCE = 16  # logs
_PATIENCE = 60.0  # seconds that a log may not be had
_WAITING = 32  # pieces of at most 64 KiB, each with its lines
_TURN = 0.5  # seconds for which lines are told before anything else is looked at
_PAUSE = 0.05  # seconds
_QUIET = 30.0  # seconds without a line, after the run's end, until the rest is given up
_QUIET_SIDECAR = 2.0  # the same for sidecars, which end when it pleases them


@dataclass(frozen=True, slots=True)
class Source:
    """One container of a task's pod; `step` is how people call it."""

    task: str
    step: str
    pod: str
    container: str
    over: bool
    started: datetime | None = None
    sidecar: bool = False

    def of(self, task: str, step: str) -> bool:
        """Whether it is of that task, or of one of its matrix, and that step; empty is any."""
        return step in ("", self.step) and task in ("", self.task, self.task.rpartition(".")[0])


def sources(result: RunResult, taskruns: Mapping[str, Json]) -> Iterator[Source]:
    """The containers of a run that have begun, in the order of its tasks and of their attempts."""
    for task in result.tasks:
        status = (taskruns.get(task.taskrun) or {}).get("status") or {}
        for attempt in (*(status.get("retriesStatus") or ()), status):
            pod = str(attempt.get("podName") or "")
            for part, prefix in (("steps", "step-"), ("sidecars", "sidecar-")):
                for each in attempt.get(part) or () if pod else ():
                    if "running" in each or "terminated" in each:
                        yield _source(task.name, pod, prefix, each)


def _source(task: str, pod: str, prefix: str, found: Json) -> Source:
    name, over = str(found.get("name")), "terminated" in found
    state = found.get("terminated") or found.get("running") or {}
    container = str(found.get("container") or f"{prefix}{name}")
    started = observed.instant(state.get("startedAt"))
    return Source(task, name, pod, container, over, started, prefix == "sidecar-")


def read(cluster: Cluster, source: Source, *, follow: bool = False) -> Iterator[LogLine]:
    """The lines of a container's log; with `follow`, until the container ends.

    What cannot be had is told in a line of its own: a pod that is gone took its log with it.
    """
    for lines in _told(cluster, source, follow=follow):
        yield from lines


def _told(cluster: Cluster, source: Source, *, follow: bool) -> Iterator[list[LogLine]]:
    """The batches of a log without what a sidecar's end leaves in it: Tekton puts an image without any
    file in the place of the sidecar's, and the runtime complains (its docs/tasks.md, "Sidecars")."""
    for lines in _batches(cluster, source, follow=follow):
        odd = [each for each in lines if source.sidecar and loglines.of_no_file(each.text)]
        over = observed.instant(_steps_over(cluster, source)) if odd else None
        after = [each for each in odd if over and each.time is not None and each.time >= over]
        if kept := [each for each in lines if each not in after]:
            yield kept


def _steps_over(cluster: Cluster, source: Source) -> str:
    """When the last step of a pod ended; empty where one has not, or nobody knows."""
    status = (_pod(cluster, source) or {}).get("status") or {}
    ended = [
        str(((each.get("state") or {}).get("terminated") or {}).get("finishedAt") or "")
        for each in status.get("containerStatuses") or ()
        if str(each.get("name")).startswith("step-")
    ]
    return max(ended) if ended and all(ended) else ""


def _batches(cluster: Cluster, source: Source, *, follow: bool) -> Iterator[list[LogLine]]:
    reading = loglines.Reading(source.task, source.step, source.started)
    backoff = Backoff(_PATIENCE)
    while True:
        try:
            for piece in cluster.log(
                source.pod, source.container, since=reading.since, follow=follow
            ):
                backoff.reset()
                if lines := reading.take(piece, datetime.now(UTC)):
                    yield lines
            runs = follow and _runs(cluster, source)
            if not runs and not (follow and reading.large):
                yield reading.end()
                return
            # at the end of a file that was rotated while it was read, the kubelet goes on to the next
            # only as long as the container runs: whether there is more is asked once again
            follow = runs and backoff.wait()
        except AnsweredError as exc:
            # a kubelet that has just begun answers so too, for a pod that it does not know yet
            if exc.answer.code == 404 and not _there(cluster, source):
                told = f"its pod {source.pod} is gone, and its log with it"
                yield [*reading.end(), reading.remark(told)]
                return
            if not backoff.wait():
                told = f"its log cannot be had: {exc.answer.message}"
                yield [*reading.end(), reading.remark(told)]
                return
        except ClusterError as exc:
            if not backoff.wait():
                yield [*reading.end(), reading.remark(f"its log breaks off: {exc.message}")]
                return
        reading.broken()


def _there(cluster: Cluster, source: Source) -> bool:
    return _pod(cluster, source) is not None


def _runs(cluster: Cluster, source: Source) -> bool:
    """Whether the container whose log ended has not."""
    status = (_pod(cluster, source) or {}).get("status") or {}
    return any(
        each.get("name") == source.container and "running" in (each.get("state") or {})
        for each in (status.get("containerStatuses") or ())
    )


def _pod(cluster: Cluster, source: Source) -> Json | None:
    """The pod; None where there is none, or it may not be asked for."""
    try:
        return cluster.get(POD, source.pod)
    except ForbiddenError:
        return None


class Streams:
    """The logs of a run's containers, each followed by a thread as soon as it is there.

    Lines wait in a queue for whoever carries the run out, who tells them from his own thread; a
    queue that is full makes the threads wait, so a log of any length takes little memory. A thread
    that reads cannot be broken off: all of them end with the process.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._room = threading.Semaphore(_AT_ONCE)
        self._lines: queue.Queue[list[LogLine]] = queue.Queue(_WAITING)
        self._known: set[tuple[str, str]] = set()
        self._open: dict[tuple[str, str], Source] = {}
        self._lock = threading.Lock()

    def begin(self, source: Source) -> None:
        """Follow a container, where it is not followed already."""
        key = (source.pod, source.container)
        if key in self._known:
            return
        self._known.add(key)
        with self._lock:
            self._open[key] = source
        threading.Thread(target=self._follow, args=(source,), daemon=True).start()

    def _follow(self, source: Source) -> None:
        try:
            with self._room:
                for lines in _told(self._cluster, source, follow=True):
                    self._lines.put(lines)
        finally:
            with self._lock:
                del self._open[(source.pod, source.container)]

    @property
    def waiting(self) -> bool:
        """Whether some line is not told."""
        return not self._lines.empty()

    def lines(self) -> Iterator[LogLine]:
        """The lines that wait right now; some of them, where more come than can be told."""
        until = time.monotonic() + _TURN
        while time.monotonic() < until:
            try:
                found = self._lines.get_nowait()
            except queue.Empty:
                return
            yield from found

    def rest(self) -> Iterator[LogLine]:
        """The lines that still come once the run is over: it may be so before its logs are read."""
        heard = time.monotonic()
        while True:
            with self._lock:
                left = list(self._open.values())
            steps = [each for each in left if not each.sidecar]
            try:
                found = self._lines.get(timeout=_PAUSE) if left else self._lines.get_nowait()
            except queue.Empty:
                if not left:
                    return
                if time.monotonic() - heard < (_QUIET if steps else _QUIET_SIDECAR):
                    continue
                for each in steps:
                    told = "the rest of its log did not come"
                    yield LogLine(None, each.task, each.step, f"({told})")
                return
            yield from found
            heard = time.monotonic()
