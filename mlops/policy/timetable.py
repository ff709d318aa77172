"""When a watched repository is looked at next: by its interval, jittered, and later and later while it fails."""

from __future__ import annotations

from dataclasses import dataclass, replace

SPREAD = 0.1  # of an interval, to either side: repositories that began together drift apart
FEW = 8  # repositories that are all looked at as the watcher starts
LONGEST = (
    600.0  # seconds until a repository that fails is asked again, unless its interval is longer
)


@dataclass(frozen=True, slots=True)
class Appointment:
    """One repository's place in the timetable; times are seconds of a clock that only goes forward.

    `again`: somebody asked for a look while one is going on, which may have seen too little.
    """

    interval: float
    due: float
    failures: int = 0
    looking: bool = False
    again: bool = False

    def begun(self) -> Appointment:
        """A look begins."""
        return replace(self, looking=True, again=False)

    def asked(self, now: float) -> Appointment:
        """Somebody asks for a look at once: another one after the one that is going on."""
        return replace(self, again=True) if self.looking else replace(self, due=min(self.due, now))

    def done(
        self, now: float, luck: float, *, failed: bool, again: float | None = None
    ) -> Appointment:
        """A look ended; `luck` from 0 to 1 spreads the next one, which comes within `again` seconds."""
        failures = self.failures + 1 if failed else 0
        later = pause(self.interval, failures, luck)
        if not failed and self.again:
            later = 0.0
        elif again is not None:
            later = min(later, max(again, 0.0))
        return Appointment(self.interval, now + later, failures)


def first(interval: float, now: float, luck: float, several: int) -> Appointment:
    """The first look: at once where there are few, else spread over an interval."""
    return Appointment(interval, now + (0.0 if several <= FEW else interval * _inside(luck)))


def pause(interval: float, failures: int, luck: float) -> float:
    """Seconds until the next look: doubling with each failure in a row, capped, and spread."""
    longest = max(interval, LONGEST)
    usual = min(interval * 2.0 ** min(failures, 30), longest)
    return usual * (1 - SPREAD + 2 * SPREAD * _inside(luck))


def _inside(luck: float) -> float:
    return min(max(luck, 0.0), 1.0)
