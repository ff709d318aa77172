"""Where documents are carried out: what a target must be able to do, and what it answers.

The suite knows no more of a target than this. A real cluster is another one: it creates the documents in a namespace
of their own, waits, and reads the status of the last PipelineRun or TaskRun.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Refused:
    """Not admitted: nothing ran."""

    message: str


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """`phase` is Succeeded, Failed, Skipped or Cancelled."""

    phase: str
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the run went. A task of a matrix has as many ends as combinations, in their order."""

    phase: str
    reason: str
    message: str
    results: Mapping[str, Any] = field(default_factory=dict)
    tasks: Mapping[str, Sequence[TaskEnd]] = field(default_factory=dict)


class Target(Protocol):
    """`name` is `local` or `cluster`: it decides which of two expectations holds where a case has two."""

    name: str

    def submit(self, text: str) -> Refused | list[Ended]:
        """Carry out the runs that the documents hold, one after the other, each to its end."""
