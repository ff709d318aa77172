"""Waiting before the next try: doubling, capped, with full jitter, until patience is over."""

from __future__ import annotations

import random
import time

_FIRST, _LONGEST = 0.2, 5.0  # seconds


class Backoff:
    """Waits for one call that is tried again and again, `patience` seconds in all: from the first failure,
    or where it `began` just now, from there."""

    def __init__(self, patience: float, *, began: bool = False) -> None:
        self._patience = patience
        self._until = time.monotonic() + patience if began else None
        self._next = _FIRST

    def wait(self) -> bool:
        """Wait; False, at once, where patience is over."""
        if self._until is None:
            self._until = time.monotonic() + self._patience
        left = self._until - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(left, random.uniform(0, self._next)))  # noqa: S311  no secret
        self._next = min(self._next * 2, _LONGEST)
        return True

    def reset(self) -> None:
        """Begin anew: what was tried went well, and may go well for hours before it fails."""
        self._until, self._next = None, _FIRST
