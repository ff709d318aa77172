"""Waiting for what must come."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(what: Callable[[], bool], seconds: float = 90.0) -> None:
    """Ask again and again until the answer is yes; the test fails where it is not, for so long."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.1)
