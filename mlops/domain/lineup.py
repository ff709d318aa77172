"""Runs that a watcher decided on: those that wait for their turn, and those at work."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mlops.domain.source import Commit

Subject = tuple[str, Commit]  # a model, and a source of it


@dataclass(frozen=True, slots=True)
class Queued:
    """One decided run of one project: which commit, for which model, seen at which ref (full name), decided
    when (aware)."""

    project: str
    run: str
    model: str
    source: Commit
    ref: str
    since: datetime

    @property
    def subject(self) -> Subject:
        """What was decided on, whichever attempt at it this is."""
        return self.model, self.source


@dataclass(frozen=True, slots=True)
class Limits:
    """How many runs at once, and what becomes of an older run as a newer tip of its ref is decided."""

    runs: int = 1
    superseding: bool = False
