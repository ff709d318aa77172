"""Durations and quantities as Kubernetes writes them: `1h30m`, `512Mi`."""

from __future__ import annotations

import re
from decimal import Decimal

from mlops.errors import ConfigError

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
_QUANTITY = re.compile(r"(\d{1,18}(?:\.\d{0,9})?)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE]\d{1,2})?\Z")
_SCALE = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", start=1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)},
}


def seconds(text: str, path: str) -> float:
    """A Go duration (`time.ParseDuration`, not negative) in seconds: `1h30m`, `90s`, `0`.

    Raises ConfigError naming `path`.
    """
    if text == "0":
        return 0.0
    total, end = 0.0, 0
    for part in _DURATION_PART.finditer(text):
        if part.start() != end:
            break
        total += float(part[1]) * _SECONDS[part[2]]
        end = part.end()
    if not text or end != len(text):
        raise ConfigError(f"{path}: {text!r} is no duration", hint="It looks like 1h30m or 90s")
    return total


def size(text: str, path: str) -> int:
    """A Kubernetes quantity in bytes, rounded down: `4Gi`, `512M`, `1e9`.

    Raises ConfigError naming `path`.
    """
    match = _QUANTITY.match(text)
    if match is None:
        raise ConfigError(f"{path}: {text!r} is no quantity", hint="It looks like 512Mi or 4Gi")
    number, suffix = Decimal(match[1]), match[2] or ""
    if suffix[:1] in {"e", "E"} and len(suffix) > 1 and suffix != "Ei":
        return int(number * Decimal(10) ** int(suffix[1:]))
    return int(number * _SCALE[suffix])
