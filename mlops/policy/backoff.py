"""When a run that an outside system failed may be made again without anybody asking for it.

Such a failure says nothing about the commit, so it is tried again; an outside system that stays away is not
asked every minute for ever.
"""

from __future__ import annotations

from datetime import datetime, timedelta

MOST = 8  # attempts in a row after which nobody tries by themselves any more
FIRST = timedelta(minutes=1)
LONGEST = timedelta(hours=1)
_SPREAD = 0.25  # of a pause, to either side: what one outage failed does not come back all at once


def pause(failures: int, luck: float) -> timedelta:
    """The pause after so many failures in a row (from 1): doubling, capped; `luck` from 0 to 1 spreads it."""
    doubled = FIRST * float(2 ** min(max(failures, 1) - 1, 16))
    return min(doubled, LONGEST) * (1 - _SPREAD + 2 * _SPREAD * min(max(luck, 0.0), 1.0))


def given_up(failures: int) -> bool:
    """Whether so many failures in a row are the last of what is tried by itself."""
    return failures >= MOST


def due(after: datetime | None, now: datetime) -> datetime | None:
    """When the next attempt may be made; None for at once.

    A time further away than any pause is of a wrong clock, and keeps nothing back.
    """
    if after is None or after <= now or after - now > LONGEST * (1 + _SPREAD):
        return None
    return after
