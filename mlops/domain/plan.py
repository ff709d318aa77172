"""Impact and plan: what a change touches, and the steps that it calls for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mlops.domain.source import Commit


class Kind(StrEnum):
    """What a change touches."""

    CODE = "code"
    DEPENDENCIES = "dependencies"
    DATA = "data"
    PARAMETERS = "parameters"
    PIPELINE = "pipeline"
    BASE = "base"
    CONFIGURATION = "configuration"
    FIRST = "first"  # nothing released yet: everything is new


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs; `old` and `new` are short texts for people, None where absent."""

    kind: Kind
    path: str
    old: str | None = None
    new: str | None = None

    @property
    def text(self) -> str:
        """`requirements.lock: scikit-learn 1.7.1 → 1.7.2`, `data/train.csv: 3f2a… → 91bc…`."""
        if self.kind is Kind.FIRST:
            return f"first release of {self.path}"
        if self.old is None and self.new is None:
            return f"{self.path} changed"
        if self.old is None:
            return f"{self.path}: {self.new} is new"
        if self.new is None:
            return f"{self.path}: {self.old} is gone"
        return f"{self.path}: {self.old} → {self.new}"


@dataclass(frozen=True, slots=True)
class Impact:
    """What lies between two sources for one model.

    `unrelated` lists changed paths that do not concern the model; `stale` names the DVC stages
    that must run, in execution order, each with the reason.
    """

    changes: tuple[Change, ...] = ()
    unrelated: tuple[str, ...] = ()
    stale: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One step of a plan, and why it stands there."""

    name: str  # build | train | validate | package | pin
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The ordered steps for one model at one source; no steps where there is nothing to do.

    `since` is the source of the release that the impact was taken against, None at the first. `kept`
    says of a model that stays where its environment changes how it would be trained anew.
    """

    model: str
    source: Commit
    since: Commit | None
    impact: Impact
    steps: tuple[PlanStep, ...]
    summary: str  # "nothing to do: only docs/ changed", or the first reasons in one line
    kept: str = ""

    @property
    def nothing(self) -> bool:
        return not self.steps

    def has(self, name: str) -> bool:
        return any(step.name == name for step in self.steps)
