"""Whether data that changed at its source is to be brought in: once it stands still, and not too often."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from mlops.domain.trigger import Data


@dataclass(frozen=True, slots=True)
class Known:
    """What is remembered of a source: the fingerprint that was `seen` last where it differed, and when first;
    the one that was `handled` last, and when. Empty and None where there was none."""

    seen: str = ""
    since: datetime | None = None
    handled: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Same:
    """The source has what git names, or what was brought in already."""


@dataclass(frozen=True, slots=True)
class Changed:
    """It differs from what was seen last: from now on it is to stand still."""


@dataclass(frozen=True, slots=True)
class Waits:
    """It differs, and is brought in at `until` at the earliest."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Arrived:
    """It is to be brought in now."""


def decide(
    now: datetime, committed: str, upstream: str, known: Known, trigger: Data
) -> Same | Changed | Waits | Arrived:
    """Compare the fingerprints of a source: as git names it, and as it is now. All times are aware. A clock
    that was put back waits anew, and repeats nothing."""
    if upstream in (committed, known.handled):
        return Same()
    if upstream != known.seen or known.since is None or known.since > now:
        return Changed()
    until = known.since + timedelta(seconds=trigger.settle)
    if known.at is not None and known.at <= now:
        until = max(until, known.at + timedelta(seconds=trigger.cool_down))
    return Arrived() if until <= now else Waits(until)
