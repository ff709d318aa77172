"""No, with a reason that a person can act on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Ground(StrEnum):
    """What a refusal rests on: automation passes over some of them in silence."""

    RECORD = "record"
    QUARANTINE = "quarantine"
    SOURCE = "source"  # the release was not where it must come from
    SOAK = "soak"
    GATE = "gate"
    REQUIREMENT = "requirement"
    HELD = "held"
    SUPERSEDED = "superseded"
    HISTORY = "history"  # the environment's past has nothing to go back to
    TARGET = "target"  # what was asked for cannot be gone back to


@dataclass(frozen=True, slots=True)
class Refusal:
    """`reason` completes an error line, `hint` is the next step; `until` is in the reason where
    waiting helps."""

    ground: Ground
    reason: str
    hint: str = ""
