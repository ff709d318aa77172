"""What the listener says for people: each kind of thing once in a while, however often strangers cause it."""

from __future__ import annotations

import time
from collections.abc import Callable

_PAUSE = 10.0  # seconds between two lines of one kind


class Telling:
    """Lines by kind; what was left out meanwhile is counted in the next."""

    def __init__(
        self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say
        self._clock = clock
        self._last: dict[str, float] = {}
        self._left: dict[str, int] = {}

    def tell(self, kind: str, text: str) -> None:
        """Say it, unless something of its kind was said a moment ago."""
        now = self._clock()
        if now - self._last.get(kind, -_PAUSE) < _PAUSE:
            self._left[kind] = self._left.get(kind, 0) + 1
            return
        self._last[kind] = now
        left = self._left.pop(kind, 0)
        self._say(f"{text} ({left} more like it before)" if left else text)
