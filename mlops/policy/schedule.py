"""When a cron expression asks for something: the newest moment that nobody handled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from mlops.domain.cron import Cron, moments

_AHEAD = timedelta(days=1)  # clocks of one project are not further apart than this
_FIRST_WINDOW = timedelta(hours=1)
_WIDER = 8


@dataclass(frozen=True, slots=True)
class Due:
    """A moment has come that nobody handled, the newest of them; earlier ones are made up by it."""

    moment: datetime


@dataclass(frozen=True, slots=True)
class NotDue:
    """`next` is the next moment, in UTC. `ahead`: the last one handled lies in the future, as the clock of
    whoever handled it was wrong; nothing is due until then."""

    next: datetime | None
    ahead: bool = False


def decide(now: datetime, since: datetime, handled: datetime | None, cron: Cron) -> Due | NotDue:
    """Whether a moment after `since` (when the trigger was first seen) and after the last one `handled`, up
    to `now`, waits to be handled. All times are aware. A clock that was put back repeats nothing."""
    after = max(since, handled) if handled is not None else since
    latest = _latest(cron, after, now)
    if latest is not None:
        return Due(latest)
    ahead = after > now + _AHEAD
    return NotDue(next(moments(cron, max(after, now)), None), ahead)


def _latest(cron: Cron, after: datetime, now: datetime) -> datetime | None:
    """The last moment in (after, now]: looked for in the last hour, then further and further back, as there
    may be one every minute for a year, or one in ten years."""
    window = _FIRST_WINDOW
    while after < now:
        start = max(after, now - window)
        found = None
        for each in moments(cron, start):
            if each > now:
                break
            found = each
        if found is not None or start == after:
            return found
        window *= _WIDER
    return None
