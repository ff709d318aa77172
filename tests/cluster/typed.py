"""mlops as a user types it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Typed:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str


def mlops(*arguments: str, timeout: float = 300.0) -> Typed:
    """Type a command and wait for its end."""
    found = subprocess.run(
        [sys.executable, "-m", "mlops", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return Typed(found.returncode, found.stdout, found.stderr)
