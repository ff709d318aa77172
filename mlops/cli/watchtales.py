"""What the runs of a watcher say on stderr, told on the watcher's own."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass, field

from mlops.adapters import pods
from mlops.cli import render
from mlops.ports.children import Child

_LAST = 10  # lines of a run that failed
_PATIENCE = 5.0  # seconds that the end waits for the last lines of a run that is over


def wanted(*, verbose: bool) -> bool:
    """Whether each line is told as it comes: where it is asked for, and as the first process of a container or in
    a pod, where nobody reads files and they go with it."""
    return verbose or os.getpid() == 1 or pods.inside()


@dataclass
class Tales:
    """With `follow` every line of a run, as it comes; else the last ones of a run that failed. Called by one thread."""

    follow: bool
    _children: dict[str, Child] = field(default_factory=dict)
    _threads: list[threading.Thread] = field(default_factory=list)

    def began(self, run: str, child: Child) -> None:
        if not self.follow:
            self._children[run] = child
            return
        self._threads = [each for each in self._threads if each.is_alive()]
        teller = threading.Thread(target=_tell, args=(run, child), name=f"tell {run}", daemon=True)
        self._threads.append(teller)
        teller.start()

    def ended(self, run: str, *, failed: bool) -> None:
        child = self._children.pop(run, None)
        for line in child.last(_LAST) if child is not None and failed else ():
            _say(run, line)

    def finish(self) -> None:
        """Wait, not for long, until the runs that are over are told to their end."""
        for each in self._threads:
            each.join(_PATIENCE)


def _tell(run: str, child: Child) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody reads on
        for line in child.lines():
            _say(run, line)


def _say(run: str, line: str) -> None:
    render.note(f"{run} | {render.safe(line)}")
