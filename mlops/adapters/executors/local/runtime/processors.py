"""Which processors a container may use, where its limit can be held so: whole ones."""

from __future__ import annotations

import math
import os
import random


def processors(limit: float | None) -> tuple[int, ...]:
    """As many as the limit asks for, rounded up, any of ours; empty where it takes none away."""
    if limit is None or not hasattr(os, "sched_getaffinity"):
        return ()
    ours = sorted(os.sched_getaffinity(0))
    count = max(1, math.ceil(limit))
    if count >= len(ours):
        return ()
    return tuple(sorted(random.sample(ours, count)))


def note(limit: float | None) -> str:
    """What is to be said where the limit cannot be held as it is; empty where it can."""
    if limit is None or limit == int(limit):
        return ""
    if not hasattr(os, "sched_getaffinity"):
        return "limits of processors are not held here"
    return f"the limit of {limit:g} processors is held as {max(1, math.ceil(limit))}: whole ones alone can be held"
