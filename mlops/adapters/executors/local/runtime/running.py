"""One container while it runs: its output, its limits, its end.

A container is one process that we start and all that come of it. One thread attends to it, asleep
in `poll` until there is output, an end, a stop, or a moment to look at time and memory.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from mlops.adapters import process
from mlops.adapters.executors.local.runtime import proctree
from mlops.adapters.executors.local.runtime.disk import Disk
from mlops.adapters.executors.local.runtime.launch import Launch
from mlops.adapters.executors.local.runtime.wards import Ward, Wards
from mlops.errors import ExecutorError, OutsideError

GRACE = 2.0  # seconds between SIGTERM and SIGKILL
_LAST = 10.0  # seconds that a killed tree may take to be gone
_LAST_OF_ENGINE = 60.0  # seconds that an engine may take to remove a container
_LOOK = 0.02  # seconds between looks at memory
_CHUNK = 1 << 20
_PIPE = 1 << 20
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ, linux/fcntl.h


class Sink(Protocol):
    """Takes what a container writes, and what we say about it."""

    def write(self, chunk: bytes) -> None: ...
    def note(self, text: str) -> None: ...
    def close(self) -> None: ...
    @property
    def last(self) -> str:
        """The last line, for messages."""
        ...


class Cause(StrEnum):
    """Why a container was ended before its own time."""

    NONE = ""
    DISK = "Evicted"
    TIMEOUT = "TimedOut"
    STOPPED = "Cancelled"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a container ended. `code` is 0 to 255 (128 + a signal's number); `oom` tells that we
    killed a process of it for its memory; `started` is False where the container never came up."""

    code: int
    cause: Cause = Cause.NONE
    oom: bool = False
    started: bool = True


class Stop:
    """Tells every thread that waits on `fd` to end what it attends to; once told, it stays so."""

    def __init__(self) -> None:
        self.fd, self._told = os.pipe()
        self._lock = threading.RLock()  # a signal handler may come in between
        self.set = False

    def tell(self) -> None:
        with self._lock:
            if not self.set:
                self.set = True
                os.close(self._told)  # the reading end becomes readable, for all at once

    def close(self) -> None:
        self.tell()
        os.close(self.fd)


@dataclass(slots=True)
class Running:
    """A started container. `attend` waits for its end; all methods belong to one thread."""

    launch: Launch
    wards: Wards
    log: Sink
    stop: Stop
    deadline: float | None = None  # of time.monotonic
    memory: int | None = None
    disk: Disk | None = None
    grace: float = GRACE
    _ward: Ward = field(init=False)
    _poll: select.poll = field(init=False, default_factory=select.poll)
    _told: Told = field(init=False)
    _cause: Cause = Cause.NONE
    _killed: set[int] = field(init=False, default_factory=set)
    _kill_at: float | None = None
    _give_up_at: float | None = None
    _lifeline: int = -1

    @property
    def out_of_memory(self) -> bool:
        """Whether a process of it was killed for its memory."""
        return bool(self._killed)

    def start(self) -> None:
        """Start it. Raises ExecutorError where the warden does not start."""
        if self.launch.ask:
            self.memory = None  # the engine holds it
        self._ward = self.wards.start(self.launch)
        self._lifeline = self._ward.lifeline
        self._told = Told(self._ward.status)

    def execute(self, argv: Sequence[str], seconds: float) -> int:
        """Run a command in the container, from any thread while it runs; gives its exit code, -1 where
        it could not be run or took longer than `seconds`."""
        command, env, cwd = self._command(argv)
        try:
            return process.run(
                command, doing="executing a probe", env=env, cwd=cwd, timeout=seconds, check=False
            ).code
        except OutsideError:
            return -1

    def _command(self, argv: Sequence[str]) -> tuple[list[str], dict[str, str], Path]:
        if self.launch.status is None:
            return [*self.launch.enter, *argv], dict(self.launch.env), self.launch.cwd
        inner = proctree.descendants(self._told.first)[:1] if self._told.first else []
        target = str(inner[0] if inner else self._told.first)
        entered = [*self.launch.enter, "--target", target, "--", *argv]
        return entered, proctree.environment(int(target)), Path("/")

    def attend(self) -> Ended:
        """Wait for the end, whatever brings it. Nothing of the container is left then."""
        output = self._ward.output
        with contextlib.suppress(OSError):
            fcntl.fcntl(output, _SET_PIPE_SIZE, _PIPE)
        for descriptor in (output, self._ward.status, self.stop.fd):
            self._poll.register(descriptor, select.POLLIN | select.POLLHUP)
        try:
            while not self._told.over:
                for descriptor, _ in self._poll.poll(self._patience()):
                    self._heed(descriptor, output)
                self._look()
            self._finish(output)
            return self._ended()
        finally:
            self._close()

    def _patience(self) -> float | None:
        """Milliseconds until there is something to look at; None without end."""
        moments = [each for each in (self.deadline, self._kill_at, self._give_up_at) if each]
        if self.disk is not None and self._cause is Cause.NONE:
            moments.append(self.disk.next_look)
        seconds = [moment - time.monotonic() for moment in moments]
        if self.memory is not None:
            seconds.append(_LOOK)
        return max(0.0, min(seconds)) * 1000 + 1 if seconds else None

    def _heed(self, descriptor: int, output: int) -> None:
        if descriptor == output:
            chunk = os.read(output, _CHUNK)
            if chunk:
                self.log.write(chunk)
            else:
                self._poll.unregister(output)  # closed; the container may well go on
        elif descriptor == self.stop.fd:
            self._poll.unregister(self.stop.fd)
            self._end(Cause.STOPPED)
        else:
            self._told.read()

    def _look(self) -> None:
        """What only time brings: a limit passed, a grace that ended."""
        now = time.monotonic()
        if self.deadline is not None and now >= self.deadline:
            self.deadline = None
            self._end(Cause.TIMEOUT)
        if self._kill_at is not None and now >= self._kill_at:
            self._kill_at = None
            self._kill()
        if self._give_up_at is not None and now >= self._give_up_at:
            pid = self._told.first or self._told.pid
            raise ExecutorError(
                f"process {pid} cannot be killed"
                if pid
                else "the warden does not tell what it starts",
                hint="It waits for the kernel: a disk or a network file system does not answer",
            )
        if self.memory is not None:
            self._hold_memory(self.memory)
        if self.disk is not None and self._cause is Cause.NONE:
            self._hold_disk(self.disk)

    def _hold_disk(self, disk: Disk) -> None:
        """Stop it at once where it takes too much: each second of grace could be a gigabyte."""
        complaint = disk.complaint()
        if complaint:
            self.log.note(f"stopped: {complaint}")
            self._end(Cause.DISK)
            self._kill_at = time.monotonic()

    def _end(self, cause: Cause) -> None:
        if self._cause is not Cause.NONE:
            return
        self._cause = cause
        self._kill_at = time.monotonic() + self.grace
        members = self._members()
        # an engine's own program hands the signal on to the container
        for pid in members[:1] if self.launch.ask else members:
            proctree.send(pid, signal.SIGTERM)
        if not members:  # not up yet: nothing there that could end in order
            self._kill_at = time.monotonic()

    def _members(self) -> list[int]:
        """The container's processes, without those that only hold it."""
        if self.launch.status is None:
            return proctree.descendants(self._told.pid) if self._told.pid else []
        return proctree.descendants(self._told.first) if self._told.first else []

    def _kill(self) -> None:
        now = time.monotonic()
        if not self._told.pid:  # the warden is just starting it
            self._kill_at = now + _LOOK
            self._give_up_at = self._give_up_at or now + _LAST
            return
        self._give_up_at = now + (_LAST_OF_ENGINE if self.launch.ask else _LAST)
        if self.launch.status is None:
            self._close_lifeline()
        else:
            proctree.send(self._told.first or self._told.pid, signal.SIGKILL)

    def _hold_memory(self, limit: int) -> None:
        """Kill the largest process where all of them together hold too much, as a kernel would."""
        members = [pid for pid in self._members() if pid not in self._killed]
        if sum(map(proctree.memory, members)) <= limit:
            return
        held = {pid: proctree.memory(pid, exact=True) for pid in members}
        if sum(held.values()) <= limit:
            return
        largest = max(held, key=lambda pid: held[pid])
        self.log.note(
            f"killed process {proctree.name(largest)} ({held[largest] >> 20} MiB): "
            f"the container is over its memory limit of {limit >> 20} MiB"
        )
        proctree.send(largest, signal.SIGKILL)
        self._killed.add(largest)

    def _finish(self, output: int) -> None:
        """The process that was started is gone: take the others along, and the output's rest."""
        if self.launch.status is None:
            if self._told.ended == -signal.SIGKILL:  # somebody killed the watch itself
                proctree.kill_all(proctree.marked(self.launch.env[proctree.MARK]), _LAST)
        elif self._told.first and not proctree.gone(self._told.first, _LAST):
            raise ExecutorError(f"process {self._told.first} of a sandbox cannot be killed")
        os.set_blocking(output, False)
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(output, _CHUNK):
                self.log.write(chunk)

    def _ended(self) -> Ended:
        code = self._told.ended
        code = code if code >= 0 else 128 - code
        oom, started = bool(self._killed), self.launch.status is None or self._told.came_up
        if self._told.answer:
            oom, started = (
                self._told.answer[0] == "true",
                not self._told.answer[1].startswith("0001-"),
            )
        # a timeout or stop ends the container before it can say how
        return Ended(code, self._cause, oom, started or bool(self._cause))

    def _close_lifeline(self) -> None:
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def _close(self) -> None:
        self._close_lifeline()
        if not self._told.over and self._told.pid:  # an error above: never leave it running
            proctree.kill_all([self._told.pid], _LAST)
        os.close(self._ward.output)
        os.close(self._ward.status)


@dataclass(slots=True)
class Told:
    """What the warden and bubblewrap told so far, a line of JSON each.

    `pid` is the topmost process, `first` the sandbox's own first one, 0 before they are known;
    `came_up` tells that the sandbox's command was started; `answer` is what an engine says of its
    container: whether it was killed for its memory, and when it started. `ended` counts once it is
    `over`.
    """

    status: int
    pid: int = 0
    first: int = 0
    came_up: bool = False
    answer: tuple[str, str] | None = None
    ended: int = 0
    over: bool = False
    _rest: bytes = b""

    def read(self) -> None:
        """Take what is there to be read, some of it."""
        chunk = os.read(self.status, _CHUNK)
        if not chunk:  # the warden is gone
            self.over, self.ended = True, -signal.SIGKILL
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError, TypeError, AttributeError):
                self._take(json.loads(line))

    def _take(self, what: dict[str, Any]) -> None:
        self.pid = int(what.get("pid") or self.pid)
        self.first = int(what.get("child-pid") or self.first)
        self.came_up = self.came_up or "exit-code" in what
        if "answer" in what:
            oom, _, started = str(what["answer"]).partition(" ")
            self.answer = oom, started or "0001-"
        if "ended" in what and not self.over:
            self.ended, self.over = int(what["ended"]), True
