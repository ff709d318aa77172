"""What the steps of a run write, read from their pods: once, or as it comes.

A container's log is read with the kubelet's times; a connection that breaks goes on from the last
time that was seen, and lines of that instant that came before are not told twice.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlops.adapters.cluster.backoff import Backoff
from mlops.adapters.cluster.cluster import AnsweredError, Cluster
from mlops.domain.run import LogLine, RunResult
from mlops.errors import ClusterError

Json = Mapping[str, Any]
_AT_ONCE = 16  # logs
_PATIENCE = 60.0  # seconds that a log may not be had
_LONGEST = 1 << 16  # bytes of a line that is told in one piece


@dataclass(frozen=True, slots=True)
class Source:
    """One container of a task's pod; `step` is how people call it."""

    task: str
    step: str
    pod: str
    container: str
    over: bool


def sources(result: RunResult, taskruns: Mapping[str, Json]) -> Iterator[Source]:
    """The containers of a run that have begun, in the order of its tasks and of their attempts."""
    for task in result.tasks:
        status = (taskruns.get(task.taskrun) or {}).get("status") or {}
        for attempt in (*(status.get("retriesStatus") or ()), status):
            pod = str(attempt.get("podName") or "")
            for step in attempt.get("steps") or () if pod else ():
                if not ("running" in step or "terminated" in step):
                    continue
                container = str(step.get("container") or f"step-{step.get('name')}")
                over = "terminated" in step
                yield Source(task.name, str(step.get("name")), pod, container, over)
            for side in attempt.get("sidecars") or () if pod else ():
                if not ("running" in side or "terminated" in side):
                    continue
                container = str(side.get("container") or f"sidecar-{side.get('name')}")
                yield Source(task.name, str(side.get("name")), pod, container, "terminated" in side)


def read(cluster: Cluster, source: Source, *, follow: bool = False) -> Iterator[LogLine]:
    """The lines of a container's log; with `follow`, until the container ends.

    What cannot be had is told in a line of its own: a pod that is gone took its log with it.
    """
    backoff = Backoff(_PATIENCE)
    since, again = "", 0  # the last time, and how many lines of it were told
    while True:
        skip = again
        second = f"{since[:19]}Z" if since else ""
        try:
            for raw in cluster.log(source.pod, source.container, since=second, follow=follow):
                backoff.reset(_PATIENCE)
                time, text = _parted(raw)
                if time < since:
                    continue
                if time == since and skip:
                    skip -= 1
                    continue
                since, again = time, again + 1 if time == since else 1
                skip = 0
                yield from _lines(source, time, text)
            return
        except AnsweredError as exc:
            if exc.answer.code == 404:
                yield _remark(source, f"its pod {source.pod} is gone, and its log with it")
                return
            if not backoff.wait():
                yield _remark(source, f"its log cannot be had: {exc.answer.message}")
                return
        except ClusterError as exc:
            if not backoff.wait():
                yield _remark(source, f"its log breaks off: {exc.message}")
                return


def _remark(source: Source, text: str) -> LogLine:
    return LogLine(None, source.task, source.step, f"({text})")


def _parted(raw: bytes) -> tuple[str, bytes]:
    time, _, text = raw.partition(b" ")
    return time.decode("ascii", "replace"), text


def _lines(source: Source, time: str, text: bytes) -> Iterator[LogLine]:
    try:
        moment: datetime | None = datetime.fromisoformat(f"{time[:26].rstrip('Z')}Z")
    except ValueError:
        moment = None
    while len(text) > _LONGEST:
        piece, text = text[:_LONGEST], text[_LONGEST:]
        yield LogLine(moment, source.task, source.step, _text(piece), partial=True)
    yield LogLine(moment, source.task, source.step, _text(text))


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


class Streams:
    """The logs of a run's containers, each followed by a thread as soon as it is there.

    Lines wait in a queue for whoever carries the run out, who tells them from his own thread; a
    queue that is full makes the threads wait, so a log of any length takes little memory. A thread
    that reads cannot be broken off: all of them end with the process.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._room = threading.Semaphore(_AT_ONCE)
        self._lines: queue.Queue[LogLine] = queue.Queue(10_000)
        self._known: set[tuple[str, str]] = set()
        self._open = 0
        self._lock = threading.Lock()

    def begin(self, source: Source) -> None:
        """Follow a container, where it is not followed already."""
        key = (source.pod, source.container)
        if key in self._known:
            return
        self._known.add(key)
        with self._lock:
            self._open += 1
        threading.Thread(target=self._follow, args=(source,), daemon=True).start()

    def _follow(self, source: Source) -> None:
        try:
            with self._room:
                for line in read(self._cluster, source, follow=True):
                    self._lines.put(line)
        finally:
            with self._lock:
                self._open -= 1

    @property
    def busy(self) -> bool:
        """Whether some log is not at its end, or some line not told."""
        with self._lock:
            return self._open > 0 or not self._lines.empty()

    def lines(self) -> Iterator[LogLine]:
        """The lines that wait right now."""
        while True:
            try:
                yield self._lines.get_nowait()
            except queue.Empty:
                return
