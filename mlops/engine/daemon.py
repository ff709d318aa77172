"""The long-lived watcher: looks at many repositories, and begins what is decided, never more at once than allowed.

One loop, in one thread, owns all of its state. Looks happen in threads of their own, runs in processes of their
own; both come back as events. What is decided stands in git: nothing here needs to outlive a crash.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mlops.domain.lineup import Limits, Queued, Subject
from mlops.engine.outcome import Outcome
from mlops.errors import MlopsError
from mlops.policy import lineup, timetable
from mlops.policy.timetable import Appointment
from mlops.ports.children import Child

AT_ONCE = (
    4  # looks that use a processor; those that wait for a remote longer than SLOW are not counted
)
SLOW = 5.0  # seconds
_USUAL = Limits()
_IDLE = 60.0  # seconds that the loop sleeps at most


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look found: `waiting` are decided and carried out by nobody, `working` by somebody.

    `outcomes` are of what is not carried out, and why. `leader` names the watcher that leads, where this one
    does not: nothing is begun then. `again` is in how many seconds there is something to do, at the latest.
    """

    waiting: tuple[Queued, ...] = ()
    working: tuple[Queued, ...] = ()
    limits: Limits = _USUAL
    outcomes: tuple[Outcome, ...] = ()
    leader: str = ""
    again: float | None = None


class Watched(Protocol):
    """One project under watch. `look` may block, in any thread, never two at once; the others do not block."""

    @property
    def name(self) -> str: ...
    @property
    def interval(self) -> float:
        """Seconds between two looks."""

    def look(self) -> Looked:
        """See what is there and decide it. Raises MlopsError."""

    def begin(self, queued: Queued) -> Child:
        """Start the process that carries out a run. Raises OutsideError."""

    def outcome(self, queued: Queued, code: int, child: Child) -> Outcome:
        """What a process that ended with `code` came to."""


class Listener(Protocol):
    """Who is told of what happens: people, metrics. Called by the loop alone, and never raises."""

    def looked(self, name: str, found: Looked | MlopsError, seconds: float) -> None: ...
    def began(self, queued: Queued, child: Child) -> None: ...
    def ended(self, queued: Queued, outcome: Outcome) -> None: ...
    def stands(self, waiting: int, working: int) -> None:
        """How many runs wait and work, over all projects."""


@dataclass(frozen=True, slots=True)
class _LookEnded:
    name: str
    found: Looked | MlopsError
    began: float


@dataclass(frozen=True, slots=True)
class _RunEnded:
    queued: Queued
    code: int
    child: Child


@dataclass(frozen=True, slots=True)
class _Asked:
    """Somebody wants a look at a project now; `then` is told of the first that began later whether it
    succeeded."""

    name: str
    then: Callable[[bool], None]


@dataclass(frozen=True, slots=True)
class _Stop:
    pass


@dataclass
class _Desk:
    """What the loop knows of one project."""

    watched: Watched
    appointment: Appointment
    looked: Looked = field(default_factory=Looked)
    began: float = 0.0
    children: dict[Subject, Queued] = field(
        default_factory=dict
    )  # run → what our child carries out
    over: dict[Subject, float] = field(default_factory=dict)  # run → when our child ended
    retries: dict[Subject, tuple[int, float]] = field(
        default_factory=dict
    )  # run → failures, not before
    asked: list[Callable[[bool], None]] = field(default_factory=list)
    answering: list[Callable[[bool], None]] = field(default_factory=list)

    def waiting(self, now: float) -> tuple[Queued, ...]:
        if self.looked.leader:
            return ()
        return tuple(
            each
            for each in self.looked.waiting
            if each.subject not in self.children
            and each.subject not in self.over
            and self.retries.get(each.subject, (0, 0.0))[1] <= now
        )

    @property
    def working(self) -> tuple[Queued, ...]:
        others = (each for each in self.looked.working if each.subject not in self.children)
        return (*self.children.values(), *others)


class Daemon:
    """The loop. `ask` and `stop` may be called by any thread, and `stop` by a signal handler."""

    def __init__(
        self,
        watched: Sequence[Watched],
        listener: Listener,
        total: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listener = listener
        self._total = total
        self._clock = clock
        self._inbox: queue.SimpleQueue[_LookEnded | _RunEnded | _Asked | _Stop] = (
            queue.SimpleQueue()
        )
        now = clock()
        self._desks: Mapping[str, _Desk] = {
            each.name: _Desk(
                each,
                timetable.first(each.interval, now, random.random(), len(watched)),  # noqa: S311
            )
            for each in watched
        }

    def ask(self, name: str, then: Callable[[bool], None] = lambda _: None) -> None:
        """Have a look at a project now; `then` is called by the loop once one that began after this ended, with
        whether it succeeded."""
        self._inbox.put(_Asked(name, then))

    def stop(self) -> None:
        """End `run`; children go on."""
        self._inbox.put(_Stop())

    def run(self) -> tuple[Queued, ...]:
        """Watch until `stop`; what children carry on with."""
        while self._turn(until=None):
            pass
        return self._children()

    def once(self) -> tuple[Queued, ...]:
        """Look at each project, see what is decided through to its end, look again until nothing comes of it, and
        come back; or at `stop`, with what children carry on with."""
        for desk in self._desks.values():
            desk.appointment = timetable.first(desk.watched.interval, self._clock(), 0.0, 1)
        looked = dict.fromkeys(self._desks, False)
        while self._turn(until=looked):
            pass
        return self._children()

    def _children(self) -> tuple[Queued, ...]:
        return tuple(each for desk in self._desks.values() for each in desk.children.values())

    def _turn(self, until: dict[str, bool] | None) -> bool:
        """One event, or the time for something; False where it is to end."""
        self._look(until)
        self._begin()
        if until is not None and all(until.values()) and not self._children():
            return False
        try:
            event = self._inbox.get(timeout=self._pause(until))
        except queue.Empty:
            return True
        match event:
            case _LookEnded():
                self._look_ended(event)
                if until is not None:
                    until[event.name] = True
            case _RunEnded():
                self._run_ended(event)
                if until is not None:  # what came meanwhile is nobody else's to see
                    until[event.queued.project] = False
            case _Asked():
                desk = self._desks[event.name]
                desk.asked.append(event.then)
                desk.appointment = desk.appointment.asked(self._clock())
            case _Stop():
                return False
        return True

    # -- looks

    def _look(self, until: dict[str, bool] | None) -> None:
        now = self._clock()
        room = AT_ONCE - sum(self._counts(desk, now) for desk in self._desks.values())
        due = [desk for desk in self._desks.values() if self._due(desk, now, until)]
        due.sort(key=lambda desk: desk.appointment.due)
        for desk in due[: max(room, 0)]:
            desk.appointment = desk.appointment.begun()
            desk.began = now
            desk.answering, desk.asked = desk.asked, []
            name = f"look {desk.watched.name}"
            threading.Thread(
                target=self._see, args=(desk.watched, now), name=name, daemon=True
            ).start()

    def _due(self, desk: _Desk, now: float, until: dict[str, bool] | None) -> bool:
        if desk.appointment.looking or (until is not None and until[desk.watched.name]):
            return False
        return desk.appointment.due <= now

    def _counts(self, desk: _Desk, now: float) -> bool:
        return desk.appointment.looking and now - desk.began < SLOW

    def _see(self, watched: Watched, began: float) -> None:
        try:
            found: Looked | MlopsError = watched.look()
        except MlopsError as exc:
            found = exc
        except Exception as exc:  # noqa: BLE001 - a bug in one look must not stop the watch of the others
            found = MlopsError(f"a bug in mlops: {type(exc).__name__}: {exc}")
        self._inbox.put(_LookEnded(watched.name, found, began))

    def _look_ended(self, event: _LookEnded) -> None:
        desk = self._desks[event.name]
        now = self._clock()
        failed = isinstance(event.found, MlopsError)
        again = None if isinstance(event.found, MlopsError) else event.found.again
        desk.appointment = desk.appointment.done(now, random.random(), failed=failed, again=again)  # noqa: S311
        self._listener.looked(event.name, event.found, now - event.began)
        answered, desk.answering = desk.answering, []
        for then in answered:
            then(not failed)
        if isinstance(event.found, MlopsError):
            return
        desk.looked = event.found
        # a look that began before a child ended saw what it left, perhaps, unfinished
        desk.over = {what: at for what, at in desk.over.items() if at >= event.began}
        left = {each.subject for each in event.found.waiting}
        desk.retries = {what: kept for what, kept in desk.retries.items() if what in left}

    # -- runs

    def _begin(self) -> None:
        now = self._clock()
        waiting = [each for desk in self._desks.values() for each in desk.waiting(now)]
        working = [each for desk in self._desks.values() for each in desk.working]
        limits = {name: desk.looked.limits for name, desk in self._desks.items()}
        begun = lineup.begin(waiting, working, limits, self._total)
        for each in begun:
            self._start(each)
        self._listener.stands(len(waiting) - len(begun), len(working) + len(begun))

    def _start(self, queued: Queued) -> None:
        desk = self._desks[queued.project]
        try:
            child = desk.watched.begin(queued)
        except MlopsError as exc:
            self._put_off(desk, queued.subject)
            outcome = Outcome(queued.model, queued.run, "", str(exc), failed=True)
            self._listener.ended(queued, outcome)
            return
        desk.children[queued.subject] = queued
        self._listener.began(queued, child)
        threading.Thread(
            target=lambda: self._inbox.put(_RunEnded(queued, child.wait(), child)),
            name=f"run {queued.run}",
            daemon=True,
        ).start()

    def _run_ended(self, event: _RunEnded) -> None:
        desk = self._desks[event.queued.project]
        subject = event.queued.subject
        desk.children.pop(subject, None)
        desk.over[subject] = self._clock()
        if event.code:
            self._put_off(desk, subject)
        desk.appointment = desk.appointment.asked(self._clock())
        outcome = desk.watched.outcome(event.queued, event.code, event.child)
        self._listener.ended(event.queued, outcome)

    def _put_off(self, desk: _Desk, subject: Subject) -> None:
        """A process that failed and left its claim as it was is not started again and again."""
        failures = desk.retries.get(subject, (0, 0.0))[0] + 1
        later = timetable.pause(desk.watched.interval, failures, random.random())  # noqa: S311
        desk.retries[subject] = (failures, self._clock() + later)

    def _pause(self, until: dict[str, bool] | None) -> float:
        """Seconds until something is due."""
        now = self._clock()
        times = [now + _IDLE]
        for desk in self._desks.values():
            if desk.appointment.looking:
                times.extend([desk.began + SLOW] if now - desk.began < SLOW else [])
            elif until is None or not until[desk.watched.name]:
                times.append(desk.appointment.due)
            times.extend(at for _, at in desk.retries.values() if at > now)
        # a look that is due and does not begin waits for another to end, which is an event
        return max(0.01, min(times) - now)
