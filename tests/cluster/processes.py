"""The programs of a node: started, watched, started again when they end, as an init system does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.layout import Layout


class StartError(Exception):
    """A part of the cluster did not come up."""


def say(line: str) -> None:
    """A line of the node's log."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def reap(main: Callable[[], int]) -> int:
    """Be the first process of a namespace: run `main` in a child, wait for whoever ends, end with it.

    When this process ends, the kernel ends all others in the namespace.
    """
    child = os.fork()
    if child == 0:
        os._exit(main())
    # of the first process of a namespace no signal is deadly unless it handles it
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda sent, _: os.kill(child, sent))
    while True:
        ended, status = os.wait()
        if ended == child:
            return os.waitstatus_to_exitcode(status)


@dataclass(slots=True)
class Programs:
    """What runs on the node."""

    layout: Layout
    environment: Mapping[str, str]
    _commands: dict[str, Sequence[str]] = field(default_factory=dict)
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *command: str | Path) -> None:
        """Start a program under a name; its output goes to log/NAME."""
        self._commands[name] = [str(part) for part in command]
        self._start(name)

    def _start(self, name: str) -> None:
        with (self.layout.log / name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                self._commands[name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self.environment),
                cwd="/",
            )
        (self.layout.pids / name).write_text(f"{self._running[name].pid}\n")

    def mend(self) -> None:
        """Start again what has ended."""
        for name, process in list(self._running.items()):
            if process.poll() is not None:
                say(f"{name} ended with {process.returncode}; started again")
                self._start(name)

    def wait(self, name: str, ready: Callable[[], bool], seconds: float = 120) -> None:
        """Until `ready` says yes. Raises StartError, with the end of the log, when `name` ends or takes too long."""
        end = time.monotonic() + seconds
        while not ready():
            ended = name in self._running and self._running[name].poll() is not None
            if ended or time.monotonic() > end:
                why = "ended" if ended else f"is not ready after {seconds:.0f} s"
                raise StartError(f"{name} {why}:\n{self.tail(name)}")
            time.sleep(0.1)

    def tail(self, name: str, lines: int = 20) -> str:
        """The end of a program's log."""
        try:
            text = (self.layout.log / name).read_text(errors="replace")
        except OSError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:])
