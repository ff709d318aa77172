"""Waiting before the next try: doubling, capped, with full jitter, until patience is over."""

from __future__ import annotations

import random
import time

_FIRST, _LONGEST = 0.2, 5.0  # seconds


class Backoff:
    """Waits for one call that is tried again and again, `patience` seconds in all."""

    def __init__(self, patience: float) -> None:
        self._until = time.monotonic() + patience
        self._next = _FIRST

    def wait(self) -> bool:
        """Wait; False, at once, where patience is over."""
        left = self._until - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(left, random.uniform(0, self._next)))  # noqa: S311  no secret
        self._next = min(self._next * 2, _LONGEST)
        return True

    def reset(self, patience: float) -> None:
        """Begin anew: what was tried went well."""
        self._until = time.monotonic() + patience
        self._next = _FIRST
