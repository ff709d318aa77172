"""Meets `ports.Leader`: of several watchers of one project on a machine, one leads."""

from __future__ import annotations

import os
from pathlib import Path

from mlops.adapters import filelock
from mlops.errors import OutsideError


class FileLeader:
    """Leads while it holds the lock of a file, which the kernel takes back from a process that ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def other(self) -> str:
        """Who leads, where that is another process; empty where it is this one, from now on."""
        if self._descriptor is not None:
            return ""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise OutsideError(f"cannot make {self._path.parent}: {exc.strerror}") from exc
        found = filelock.taken(self._path, what="the watch of this project", error=OutsideError)
        if isinstance(found, str):
            return found
        self._descriptor = found
        return ""

    def resign(self) -> None:
        """Let another one lead."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
