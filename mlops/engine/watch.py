"""The watcher's one look: every tracked tip is decided, at most one run for each model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mlops.domain.source import Commit
from mlops.engine.outcome import Outcome
from mlops.engine.run import Order, Runner
from mlops.errors import MlopsError, RefusedError
from mlops.ports import SourceReader

Models = Callable[[Commit], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Watcher:
    """Looks at tips; what is decided already (a claim or a record says so) is left alone."""

    reader: SourceReader
    runner: Callable[[Commit], Runner]
    transparent: str
    actor: str

    def look(self, tips: Sequence[Commit], models: Models) -> tuple[Outcome, ...]:
        """Decide each tip's source for each of its models, one after the other.

        A refusal of one (data missing, somebody else is at it) does not keep the others waiting.
        """
        outcomes: list[Outcome] = []
        for tip in tips:
            try:
                source = self.reader.source_of(tip, self.transparent)
                named = models(source)
            except MlopsError as exc:  # one bad branch must not keep the others waiting
                outcomes.append(
                    Outcome("", "", "", f"{tip.short} is not decided: {exc}", failed=True)
                )
                continue
            outcomes.extend(self._decide(source, model) for model in named)
        return tuple(outcomes)

    def _decide(self, source: Commit, model: str) -> Outcome:
        try:
            return self.runner(source).carry_out(
                Order(model, source, actor=self.actor, patient=True)
            )
        except RefusedError as exc:
            return Outcome(model, "", "", str(exc), failed=True)
        except MlopsError as exc:
            return Outcome(model, "", "", f"{source.short} is not decided: {exc}", failed=True)
