"""A step's plain lines: whoever follows the run reads them as they come."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Write one line (or a few) to stdout, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
