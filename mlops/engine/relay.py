"""Deliveries, handed on: each asks for a look at the repositories that it concerns, and is done after it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

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
        self,
        deliveries: Deliveries,
        ask: Ask,
        urls: Callable[[], Mapping[str, Sequence[str]]],
        looked: Callable[[datetime], None] = lambda _: None,
        leads: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """`looked` hears when a delivery was received whose looks have succeeded; `leads` says of a project, after a
        look, whether this watcher leads: where it does not, who does has the same journal, and the delivery is that
        one's to finish."""
        self._deliveries = deliveries
        self._ask = ask
        self._urls = urls
        self._heard = looked
        self._leads = leads
        self._left = False  # whether some were left to another watcher
        self._again = False  # whether to begin anew with what is pending
        self._received: dict[int, datetime] = {}
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
        with self._lock:
            after, self._again = 0 if self._again else self._after, False
        given = self._deliveries.pending(after)
        self._after = given[-1].number if given else after
        with self._lock:
            pending = [each for each in given if each.number not in self._open]
        concerned = self._concerned(pending)
        with self._lock:
            self._received |= {
                each.number: each.delivery.received for each in pending if each.number in concerned
            }
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
            let_go = [number for number in joined if number not in self._open]
            for number in let_go:
                self._received.pop(number, None)
        self._deliveries.done(let_go, JOINED)
        self._ask(name, lambda succeeded: self._looked(name, awaited, succeeded=succeeded))

    def _looked(self, name: str, numbers: Sequence[int], *, succeeded: bool) -> None:
        finished = {}
        leads = self._leads(name)
        with self._lock:
            if leads and self._left:  # whoever led has ended: what it left is looked at again
                self._again, self._left = True, False
            self._left = self._left or not leads
            for number in numbers:
                names = self._open.get(number, set())
                names.discard(name)
                if not names:
                    self._open.pop(number, None)
                    finished[number] = self._received.pop(number, None)
        if not leads:
            return
        self._deliveries.done(list(finished), LOOKED if succeeded else FAILED)
        for received in finished.values():
            if succeeded and received is not None:
                self._heard(received)
