"""The upkeep of a project under watch: sources of data and locks, looked at beside the watcher.

Bringing data in may take hours, which nothing else is to wait for: it is done by `mlops triggers --ask`, in a
process of its own; only `watch --once` does it itself.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlops.adapters.children import FiledChild, Nursery
from mlops.cli import triggers, wiring_triggers
from mlops.cli.wiring import Opened
from mlops.engine.triggers import Asked
from mlops.errors import MlopsError

_EVERY = 300.0  # seconds from one look at sources to the next
_NAME = "triggers"


@dataclass
class Upkeeping:
    """`logs` is where the output of that process goes."""

    place: Path
    logs: Path
    once: bool
    _child: FiledChild | None = None
    _began: float = field(default=float("-inf"))

    def look(self, opened: Opened, branches: Sequence[str]) -> tuple[Asked, ...]:
        """Begin it where it is time, or see it through; what there is to tell."""
        if self.once:
            return triggers.keep(opened, branches)
        try:
            return self._begin(opened, branches)
        except MlopsError as exc:
            return (Asked("", "", f"no source is looked at: {exc}", failed=True),)

    def _begin(self, opened: Opened, branches: Sequence[str]) -> tuple[Asked, ...]:
        child = self._child
        if (child is not None and child.code is None) or time.monotonic() - self._began < _EVERY:
            return ()
        found = wiring_triggers.trunk(opened, branches)
        if found is None or not wiring_triggers.wants_upkeep(found[0]):
            return ()
        told: tuple[Asked, ...] = ()
        if child is not None and child.code:
            note = f"triggers could not all be looked at: see {child.log}"
            told = (Asked("", "", note, failed=True),)
        argv = [sys.executable, "-m", "mlops", "triggers", "--ask", "--output", "json"]
        self._child = Nursery(self.logs).start(_NAME, [*argv, "--repo", str(self.place)])
        self._began = time.monotonic()
        return told
