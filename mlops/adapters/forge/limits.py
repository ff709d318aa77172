"""What a forge says of its rate limits, and of why it refuses.

GitHub: x-ratelimit-remaining and -reset, retry-after, and secondary limits without either (REST API, "Rate
limits"). GitLab: RateLimit-Remaining and -Reset. Gitea and Forgejo: whatever stands before them, mostly 429.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mlops.adapters import retryafter

LONGEST = 3600.0  # seconds: no forge is left alone longer, whatever its clock says
_SHORTEST = 1.0
_UNSAID = 60.0  # seconds: what GitHub asks to wait at least where it does not say
_TOO_MANY, _DENIED = 429, 403


def spent(code: int, headers: Mapping[str, str], body: bytes, now: float) -> float | None:
    """Until when (seconds since the epoch) nothing is to be asked, where an answer says that a limit
    is reached; None where it says no such thing."""
    if code not in (_TOO_MANY, _DENIED):
        return None
    asked = retryafter.seconds(headers.get("Retry-After", ""))
    if asked:
        return now + min(LONGEST, asked)
    until = after(headers, now)
    if until is not None:
        return until
    if code == _TOO_MANY or "rate limit" in words(body).lower():
        return now + _UNSAID
    return None


def after(headers: Mapping[str, str], now: float) -> float | None:
    """Until when a limit is reached, where none is left of it."""
    for prefix in ("x-ratelimit-", "ratelimit-"):
        if headers.get(prefix + "remaining", "").strip() == "0":
            text = headers.get(prefix + "reset", "").strip()
            reset = float(text) if text.isascii() and text.isdigit() and len(text) < 13 else 0.0
            return now + min(LONGEST, max(_SHORTEST, reset - now))
    return None


def words(body: bytes) -> str:
    """The forge's own words for a refusal; empty where it has none."""
    try:
        found = json.loads(body[: 64 << 10])
    except (ValueError, RecursionError):
        return ""
    return said(found)


def said(found: Any) -> str:
    """The words in a document."""
    if not isinstance(found, dict):
        return ""
    parts = [_said(found.get(key)) for key in ("message", "error")]
    errors = found.get("errors")
    parts += [_said(each) for each in errors[:3]] if isinstance(errors, list) else []
    return "; ".join(filter(None, parts))


def _said(found: Any) -> str:
    if isinstance(found, dict):
        found = found.get("message")
    if isinstance(found, list):
        return ", ".join(each for each in found[:3] if isinstance(each, str))
    return found if isinstance(found, str) else ""
