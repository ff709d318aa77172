"""References: how people name a release, an environment or a time; text → frozen values.

`spam@sha256:9f2c41`, `spam@prod`, `spam@prod~1`, `spam@prod@{2019-07-16T12:00:00Z}`,
`spam@prod@{2019-07-16}`, and `prod` alone where an environment is allowed. The text comes from
strangers: only plain ASCII of the forms above passes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mlops.errors import UsageError

MIN_PREFIX = 6
_LONGEST = 300  # characters: two names, a digest, punctuation
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?"
_FORM = re.compile(
    rf"(?P<model>{_NAME})@(?:sha256:(?P<hex>[0-9a-f]{{{MIN_PREFIX},64}})"
    rf"|(?P<environment>{_NAME})(?:~(?P<back>[0-9]{{1,6}})|@\{{(?P<when>[^{{}}]+)\}})?)",
    re.ASCII,
)
_ALONE = re.compile(_NAME, re.ASCII)
_SHORT = re.compile(rf"{_NAME}@sha256:[0-9a-f]{{0,{MIN_PREFIX - 1}}}", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?"
    r"(?:Z|[+-][0-9]{2}:?[0-9]{2})?",
    re.ASCII,
)
_OFFSET = re.compile(r"([+-])([0-9]{2}):?([0-9]{2})", re.ASCII)
_SPAN = re.compile(r"([0-9]{1,6})(min|[smhdw])", re.ASCII)
_SPANS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}  # unit → seconds
_FORMS = "It looks like spam@sha256:9f2c41, spam@prod, spam@prod~1 or spam@prod@{2019-07-16}"


@dataclass(frozen=True, slots=True)
class Instant:
    """A point in time, aware, in UTC."""

    at: datetime

    def __str__(self) -> str:
        return self.at.isoformat().replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Day:
    """A whole day somewhere: from `start` up to, but not including, `end` (aware, UTC)."""

    day: date
    start: datetime
    end: datetime

    def __str__(self) -> str:
        return self.day.isoformat()


When = Instant | Day


@dataclass(frozen=True, slots=True)
class DigestReference:
    """A release by the first 6 to 64 hex digits of its digest."""

    model: str
    prefix: str

    def __str__(self) -> str:
        return f"{self.model}@sha256:{self.prefix}"


@dataclass(frozen=True, slots=True)
class PinReference:
    """What an environment pins now (`back` 0), or pinned `back` promotions ago."""

    model: str
    environment: str
    back: int = 0

    def __str__(self) -> str:
        return f"{self.model}@{self.environment}" + (f"~{self.back}" if self.back else "")


@dataclass(frozen=True, slots=True)
class TimeReference:
    """What an environment pinned at an instant, or on a day."""

    model: str
    environment: str
    when: When

    def __str__(self) -> str:
        return f"{self.model}@{self.environment}@{{{self.when}}}"


@dataclass(frozen=True, slots=True)
class EnvironmentReference:
    """An environment as a whole: all that it pins."""

    environment: str

    def __str__(self) -> str:
        return self.environment


ReleaseReference = DigestReference | PinReference | TimeReference
Reference = ReleaseReference | EnvironmentReference


def parse(text: str, zone: tzinfo = UTC) -> Reference:
    """Read any reference. Raises UsageError on anything else; days and bare times are in `zone`."""
    if _ALONE.fullmatch(text):
        return EnvironmentReference(text)
    return parse_release(text, zone)


def parse_release(text: str, zone: tzinfo = UTC) -> ReleaseReference:
    """Read a reference to a release. Raises UsageError on anything else."""
    match = _FORM.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise UsageError(f"{_shown(text)} names no release", hint=_hint(text))
    model, environment = match["model"], match["environment"]
    if environment is None:
        return DigestReference(model, match["hex"])
    if match["when"] is not None:
        return TimeReference(model, environment, parse_when(match["when"], zone))
    return PinReference(model, environment, int(match["back"] or 0))


def _hint(text: str) -> str:
    """How a release is named, with the words of `text` where they can be told."""
    if _ALONE.fullmatch(text):
        return f"Of a model {text}: {text}@staging, {text}@prod~1 or {text}@sha256:9f2c41"
    if _SHORT.fullmatch(text):
        return f"A digest is named by at least {MIN_PREFIX} of its digits, as in spam@sha256:9f2c41"
    return _FORMS


def parse_when(text: str, zone: tzinfo = UTC) -> When:
    """Read an RFC 3339 time or a bare day; what names no zone is in `zone`. Raises UsageError."""
    try:
        if _DAY.fullmatch(text):
            day = date.fromisoformat(text)
            return Day(day, _midnight(day, zone), _midnight(day + timedelta(days=1), zone))
        if _TIME.fullmatch(text):
            found = datetime.fromisoformat(text)
            aware = found if found.tzinfo else found.replace(tzinfo=zone)
            return Instant(aware.astimezone(UTC))
    except (ValueError, OverflowError):
        pass
    raise UsageError(
        f"{_shown(text)} is no time", hint="It looks like 2019-07-16T12:00:00Z or 2019-07-16"
    )


def parse_until(text: str, now: datetime, zone: tzinfo = UTC) -> datetime:
    """Read when something ends: a time, a day (its first moment), or a span from now (`90min`,
    `4h`, `2d`). Raises UsageError where it is none of these, or has passed."""
    span = _SPAN.fullmatch(text)
    try:
        if span is not None:
            end = now + timedelta(seconds=int(span[1]) * _SPANS[span[2]])
        else:
            when = parse_when(text, zone)
            end = when.at if isinstance(when, Instant) else when.start
    except OverflowError as exc:
        raise UsageError(f"{text} is too long", hint="Name a time, as in 2019-07-16") from exc
    except UsageError as exc:
        raise UsageError(
            exc.message, hint="It looks like 2019-07-16T12:00:00Z, 2019-07-16, 4h or 2d"
        ) from exc
    if end <= now:
        raise UsageError(f"{text} has passed", hint="Name a time that is still to come")
    return end


def parse_zone(text: str) -> tzinfo:
    """Read a time zone: `UTC`, an offset (`+02:00`) or an IANA name. Raises UsageError."""
    if text in ("", "UTC", "Z"):
        return UTC
    offset = _OFFSET.fullmatch(text)
    try:
        if offset is not None:
            span = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
            return timezone(-span if offset[1] == "-" else span)
        return ZoneInfo(text)
    except (ValueError, OSError, ZoneInfoNotFoundError) as exc:
        raise UsageError(
            f"{_shown(text)} is no time zone", hint="It looks like UTC, +02:00 or Europe/Vienna"
        ) from exc


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 80 else text[:80] + "...")
