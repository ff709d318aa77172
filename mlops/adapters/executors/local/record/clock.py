"""The times of a run: instants that never go back, however the machine's clock is set."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

# Goes on while the machine sleeps, where there is such a clock: a laptop's lid is closed in the middle.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock:
    """Gives this instant in UTC: the wall clock's time at the beginning, and what has passed since.

    `after` is an instant known to be past (the end of an earlier attempt): none before it is given.
    """

    def __init__(self, after: datetime | None = None) -> None:
        wall = datetime.fromtimestamp(time.time(), UTC)
        self._origin = wall if after is None else max(wall, after)
        self._begun = time.clock_gettime(_STEADY)

    def now(self) -> datetime:
        return self._origin + timedelta(seconds=time.clock_gettime(_STEADY) - self._begun)
