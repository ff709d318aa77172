"""What a person waits for: a line on stderr where the remote takes its time, on a terminal only."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from mlops.adapters.git import GitOpsBranch
from mlops.cli import render
from mlops.domain.source import Commit
from mlops.ports import LostRace, Proposed, Published

_PATIENCE = 1.0  # seconds that pass in silence
_NO_REFS: Mapping[str, Commit] = MappingProxyType({})


class ToldBranch(GitOpsBranch):
    """The GitOps branch, which says so when a fetch or a push takes long."""

    def refresh(self) -> Commit | None:
        with told(f"fetching {self.branch} from {self.remote}", when=self.remote is not None):
            return super().refresh()

    def publish(
        self,
        base: Commit | None,
        changes: Mapping[str, bytes | None],
        message: str,
        refs: Mapping[str, Commit] = _NO_REFS,
    ) -> Published | LostRace:
        with told(f"pushing {self.branch} to {self.remote}", when=self.remote is not None):
            return super().publish(base, changes, message, refs)

    def propose(
        self,
        base: Commit,
        changes: Mapping[str, bytes | None],
        message: str,
        topic: str,
        refs: Mapping[str, Commit] = _NO_REFS,
    ) -> Proposed | LostRace:
        with told(f"pushing a proposal to {self.remote}", when=self.remote is not None):
            return super().propose(base, changes, message, topic, refs)


@contextmanager
def told(doing: str, *, when: bool = True, patience: float = _PATIENCE) -> Iterator[None]:
    """Note `doing` on stderr after `patience` seconds, where somebody sits before a terminal."""
    if not (when and sys.stderr.isatty()):
        yield
        return
    timer = threading.Timer(patience, render.note, [f"{doing} …"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
