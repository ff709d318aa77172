"""Deliveries, handed on: each asks for a look at the repositories that it concerns, and is done after it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from mlops.ports import Deliveries, Pending

LOOKED = "looked"
NOBODY = "no such repository"
FAILED = "look failed"  # the watcher tries again by itself, and looks at all when it starts
JOINED = "joined others"  # that wait for the same look
MOST = 1000  # deliveries that wait for looks at one project: more tell nothing new
_PATIENCE = 1.0  # seconds until it is asked again whether it is to end

Ask = Callable[[str, Callable[[bool], None]], None]


class Relay:
    """A thread of its own, from `start` to `stop`.

    `ask(name, then)` wants a look at a project now, and calls `then` once one that began later ended, with
    whether it succeeded; `urls` are by what deliveries may call the repository of each project.
    """

    def __init__(
        self, deliveries: Deliveries, ask: Ask, urls: Callable[[], Mapping[str, Sequence[str]]]
    ) -> None:
        self._deliveries = deliveries
        self._ask = ask
        self._urls = urls
        self._after = 0
        self._lock = threading.Lock()
        self._open: dict[int, set[str]] = {}  # delivery → projects whose look is awaited
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End; what was not looked for is pending at the next start."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.is_set():
            if self._deliveries.wait(_PATIENCE):
                self.hand_on()

    def hand_on(self) -> None:
        """Ask for what the deliveries that came since the last time tell of."""
        pending = self._deliveries.pending(self._after)
        if not pending:
            return
        self._after = pending[-1].number
        concerned = self._concerned(pending)
        nobodys = [each.number for each in pending if each.number not in concerned]
        self._deliveries.done(nobodys, NOBODY)
        for name in sorted({name for names in concerned.values() for name in names}):
            self._look(name, [number for number, names in concerned.items() if name in names])

    def _concerned(self, pending: Sequence[Pending]) -> dict[int, set[str]]:
        """The projects that each delivery is about, where there are any."""
        urls = self._urls()
        found = {}
        for each in pending:
            names = {name for name, own in urls.items() if any(map(each.delivery.concerns, own))}
            if names:
                found[each.number] = names
        return found

    def _look(self, name: str, numbers: Sequence[int]) -> None:
        with self._lock:
            room = MOST - sum(name in names for names in self._open.values())
            awaited, joined = numbers[: max(room, 0)], numbers[max(room, 0) :]
            for number in awaited:
                self._open.setdefault(number, set()).add(name)
        self._deliveries.done([n for n in joined if n not in self._open], JOINED)
        self._ask(name, lambda succeeded: self._looked(name, awaited, succeeded=succeeded))

    def _looked(self, name: str, numbers: Sequence[int], *, succeeded: bool) -> None:
        finished = []
        with self._lock:
            for number in numbers:
                names = self._open.get(number, set())
                names.discard(name)
                if not names:
                    self._open.pop(number, None)
                    finished.append(number)
        self._deliveries.done(finished, LOOKED if succeeded else FAILED)
