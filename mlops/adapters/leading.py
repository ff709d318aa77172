"""Meets `ports.Leader`: of several watchers of one project on a machine, one leads."""

from __future__ import annotations

import math
import os
from pathlib import Path

from mlops.adapters import filelock
from mlops.errors import OutsideError

_WHAT = "the watch of this project"
_ONCE = " (--once)"


class FileLeader:
    """Leads while it holds the lock of a file, which the kernel takes back from a process that ends.

    `once`: this one comes for one look, and not to stay.
    """

    def __init__(self, path: Path, *, once: bool = False) -> None:
        self._path = path
        self._once = once
        self._descriptor: int | None = None

    def other(self) -> str:
        """Who leads, where that is another process; empty where it is this one, from now on."""
        return self._take(0.0)

    def succeed(self) -> str:
        """Wait for one that came for one look to end, and lead then: empty. Whoever stays is not waited for, nor
        waits a second one in vain: the first looks for it. Then it is told who leads."""
        leads = self.other()
        if not leads.endswith(_ONCE):
            return leads
        next_one = self._path.with_name(f"{self._path.name}-next")
        waits = filelock.taken(next_one, what=_WHAT, error=OutsideError)
        if isinstance(waits, str):
            return f"{waits}, after {leads},"
        try:
            return self._take(math.inf)
        finally:
            os.close(waits)  # before anything is looked at: who comes from now on waits again

    def resign(self) -> None:
        """Let another one lead."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _take(self, patience: float) -> str:
        if self._descriptor is not None:
            return ""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise OutsideError(f"cannot make {self._path.parent}: {exc.strerror}") from exc
        found = filelock.taken(
            self._path,
            what=_WHAT,
            error=OutsideError,
            patience=patience,
            remark=_ONCE if self._once else "",
        )
        if isinstance(found, str):
            return found
        self._descriptor = found
        return ""
