"""How long another side asks us to wait."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime


def seconds(retry_after: str) -> float:
    """Seconds that a Retry-After asks for (RFC 9110, 10.2.3); 0 where it says nothing."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0
