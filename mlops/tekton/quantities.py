"""Durations and quantities as Kubernetes writes them: `1h30m`, `512Mi`."""

from __future__ import annotations

import re
from decimal import Decimal

_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_QUANTITY = re.compile(
    r"(\d{1,18}(?:\.\d{0,9})?)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE]\d{1,2})?\Z"
)
_SCALE = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("0.001"),
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", start=1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)},
}


def is_duration(text: str) -> bool:
    """Whether a text is a Go duration that is not negative."""
    return _seconds(text) is not None


def seconds(text: str) -> float:
    """A Go duration (`time.ParseDuration`, not negative) in seconds: `1h30m`, `90s`, `0`.

    Raises ValueError on anything else.
    """
    found = _seconds(text)
    if found is None:
        raise ValueError(f"{text!r} is no duration")
    return found


def _seconds(text: str) -> float | None:
    if text == "0":
        return 0.0
    total, end = 0.0, 0
    for part in _DURATION_PART.finditer(text):
        if part.start() != end:
            break
        total += float(part[1]) * _SECONDS[part[2]]
        end = part.end()
    return total if text and end == len(text) else None


def duration(seconds: float) -> str:
    """Seconds as Go prints a duration: `1h0m0s`, `90s` → `1m30s`."""
    whole = round(seconds, 3)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    tail = f"{left:g}s"
    if hours:
        return f"{hours:.0f}h{minutes:.0f}m{tail}"
    return f"{minutes:.0f}m{tail}" if minutes else tail


def is_quantity(text: str) -> bool:
    """Whether a text is a Kubernetes quantity that is not negative."""
    return _QUANTITY.match(text) is not None


def size(text: str) -> int:
    """A Kubernetes quantity in bytes, rounded down: `4Gi`, `512M`, `1e9`.

    Raises ValueError on anything else.
    """
    return int(amount(text))


def amount(text: str) -> Decimal:
    """A Kubernetes quantity as a number: `500m` is 0.5. Raises ValueError on anything else."""
    match = _QUANTITY.match(text)
    if match is None:
        raise ValueError(f"{text!r} is no quantity")
    number, suffix = Decimal(match[1]), match[2] or ""
    if suffix[:1] in {"e", "E"} and len(suffix) > 1 and suffix != "Ei":
        return number * Decimal(10) ** int(suffix[1:])
    return number * _SCALE[suffix]
