"""Deliveries of webhooks become looks: each repository that one may concern is looked at, now."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Protocol

from mlops.ports import Clock, Deliveries, Pending

NONE = "no such repository"
_PAUSE = 1.0  # seconds after which `stop` is noticed at the latest

Ask = Callable[[str, Callable[[bool], None]], None]


class Heard(Protocol):
    """Who is told what became of deliveries."""

    def heeded(self, outcome: str, seconds: float) -> None:
        """One was answered so many seconds after it came: `looked`, `failed` or `no such repository`."""


@dataclass
class Heeding:
    """Asks for looks (`ask`, see `Daemon.ask`) as deliveries come, and marks them done after those.

    `urls` tells by what each project's repository is known, name → URLs or paths. Nothing of a delivery is
    believed but which repository to look at. A look that failed is an answer too: the watcher tries again
    by itself, later and later.
    """

    deliveries: Deliveries
    ask: Ask
    urls: Callable[[], Mapping[str, Sequence[str]]]
    now: Clock
    heard: Heard
    _open: dict[int, _Open] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ending: threading.Event = field(default_factory=threading.Event)

    def start(self) -> threading.Thread:
        """Heed in a thread of its own, until `stop`."""
        thread = threading.Thread(target=self.run, name="deliveries", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        self._ending.set()

    def run(self) -> None:
        """Heed until `stop`. What is pending from before begins it."""
        self.heed()
        while not self._ending.is_set():
            if self.deliveries.wait(_PAUSE):
                self.heed()

    def heed(self) -> None:
        """Ask for what the pending deliveries want, each once."""
        urls = self.urls()
        wanted: dict[str, list[int]] = {}
        strange: list[Pending] = []
        for each in self.deliveries.pending():
            if each.number in self._open:
                continue
            names = [
                name for name, known in urls.items() if any(map(each.delivery.concerns, known))
            ]
            if not names:
                strange.append(each)
                continue
            with self._lock:
                self._open[each.number] = _Open(each.delivery.received, len(names))
            for name in names:
                wanted.setdefault(name, []).append(each.number)
        self._finish(
            [each.number for each in strange], NONE, [each.delivery.received for each in strange]
        )
        for name, numbers in wanted.items():
            self.ask(name, partial(self._looked, tuple(numbers)))

    def _looked(self, numbers: Sequence[int], well: bool) -> None:
        over: dict[str, list[int]] = {}
        received: dict[int, datetime] = {}
        with self._lock:
            for number in numbers:
                left = self._open[number]
                left.looks -= 1
                left.failed |= not well
                if left.looks == 0:
                    over.setdefault("failed" if left.failed else "looked", []).append(number)
                    received[number] = self._open.pop(number).received
        for outcome, done in over.items():
            self._finish(done, outcome, [received[number] for number in done])

    def _finish(self, numbers: Sequence[int], outcome: str, received: Sequence[datetime]) -> None:
        self.deliveries.done(numbers, outcome)
        for each in received:
            self.heard.heeded(outcome, (self.now() - each).total_seconds())


@dataclass
class _Open:
    """A delivery that is asked for: how many looks are to come."""

    received: datetime
    looks: int
    failed: bool = False
