"""Cron expressions: moments in time, in a time zone.

Expressions are those of Debian's cron (crontab(5)): five fields, names of months and days, lists, ranges and
steps; beside that `L` and `#`. Where clocks are put forward, a fixed time that the night lacks comes right
after the gap; where they are put back, a fixed time comes once, at its first passing. An expression whose
minute or hour begins with `*` follows elapsed time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_LONGEST = 200  # characters of an expression
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Cron:
    """An expression of five fields, and the IANA name of the time zone that it is read in."""

    expression: str
    timezone: str = "UTC"

    def __str__(self) -> str:
        zone = "" if self.timezone == "UTC" else f" ({self.timezone})"
        return f"cron {self.expression}{zone}"


def check(expression: str) -> str:
    """The expression itself. Raises ValueError where it is none, or never comes."""
    if len(expression) > _LONGEST or len(expression.split()) != 5:
        raise ValueError("expected a cron expression of five fields, such as `0 3 * * 1`")
    try:
        found = next(CronSim(expression, _EPOCH), None)
    except (CronSimError, AssertionError, ValueError, TypeError, IndexError) as exc:
        told = str(exc).removeprefix("Bad ") if isinstance(exc, CronSimError) else ""
        where = f"; the {told} field is wrong" if told else ""
        raise ValueError(
            f"expected a cron expression of five fields, such as `0 3 * * 1`{where}"
        ) from exc
    if found is None:
        raise ValueError("expected a cron expression that comes at some time; this one never does")
    return expression


def check_zone(name: str) -> str:
    """The name itself. Raises ValueError where the IANA database has no such time zone."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError) as exc:
        raise ValueError("expected a time zone such as Europe/Berlin or UTC") from exc
    return name


def moments(cron: Cron, after: datetime) -> Iterator[datetime]:
    """The moments after one, in UTC, each once, in order."""
    last = after
    for each in CronSim(cron.expression, after.astimezone(ZoneInfo(cron.timezone))):
        found = each.astimezone(UTC)
        if found > last:  # a fixed time in the hour that is repeated has passed already
            yield found
            last = found
