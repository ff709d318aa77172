"""Places for tasks on this machine, shared by all runs: so many tasks work at once.

A place is a file that is locked (flock) while a task works; a killed process gives its places back.
A task takes one place and waits for nothing while it has it, its sidecars belong to it: no two tasks
can wait for each other. Who waits stands in line for one more lock, so that only one looks for a
place at a time, and those of a run with a thousand tasks are in line with those of a run with one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mlops.adapters.executors.local.runtime import proctree
from mlops.adapters.executors.local.runtime.running import Stop
from mlops.errors import ExecutorError

_EACH_CORE = 8  # tasks for each core, where nobody says otherwise
_LOOK = 0.05  # seconds between looks
_MOMENTS, _MOMENT = (
    10,
    0.002,
)  # how often, and after how many seconds, we look whether it is our turn


def usual() -> int:
    """How many tasks work at once where nobody says otherwise."""
    return _EACH_CORE * (os.cpu_count() or 1)


class Places:
    """`count` places in `directory`. A run inside a task of another has the place of that task."""

    def __init__(self, directory: Path, count: int) -> None:
        self._directory = directory
        self._count = 0 if proctree.MARK in os.environ else count
        self._next = 0

    @contextlib.contextmanager
    def taken(
        self, stop: Stop, waiting: Callable[[], None], ready: Callable[[], None]
    ) -> Iterator[None]:
        """Hold a place; `waiting` is called where there is none yet, and `ready` when there is.

        Comes back without one once `stop` is told. Raises ExecutorError where the directory cannot
        be written.
        """
        if not self._count:
            yield
            return
        place = None
        try:
            place = self._take(stop, waiting, ready)
            yield
        finally:
            if place is not None:
                os.close(place)

    def _take(
        self, stop: Stop, waiting: Callable[[], None], ready: Callable[[], None]
    ) -> int | None:
        line = self._open("line")
        try:
            for _ in range(_MOMENTS):
                if _locked(line):
                    break
                time.sleep(_MOMENT)  # somebody takes a place: that is soon over
            place = self._look(line)
            if place is not None:
                return place
            waiting()
            while place is None and not _told(stop):
                place = self._look(line)
            ready()
            return place
        finally:
            os.close(line)

    def _look(self, line: int) -> int | None:
        """A free place, if it is our turn and there is one."""
        if not _locked(line):
            return None
        for number in range(self._count):
            place = self._open(f"place-{(self._next + number) % self._count}")
            if _locked(place):
                self._next += number + 1
                return place
            os.close(place)
        return None

    def _open(self, name: str) -> int:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            return os.open(self._directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise ExecutorError(f"cannot write to {self._directory}: {exc.strerror}") from exc


def _told(stop: Stop) -> bool:
    """Whether a stop was told; waits a moment for it."""
    poll = select.poll()
    poll.register(stop.fd, select.POLLIN | select.POLLHUP)
    return bool(poll.poll(_LOOK * 1000))


def _locked(descriptor: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
