"""`mlops gc`: which claims nobody needs any more."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mlops.domain.pulls import PULLS
from mlops.domain.source import Commit
from mlops.domain.watching import Tip
from mlops.engine import claiming
from mlops.engine.claiming import Decision
from mlops.engine.judging import Known
from mlops.errors import MlopsError
from mlops.ports import Claim, History, Sight, SourceReader


@dataclass(frozen=True, slots=True)
class Collector:
    """Tells the claims that can go. Where present tips stand, and what they are compared with, is kept: nothing
    that was decided may be decided again by a later look."""

    reader: SourceReader
    history: History
    transparent: str

    def old(
        self,
        sight: Sight,
        now: datetime,
        window: timedelta,
        proposed: Collection[str] = frozenset(),
    ) -> tuple[Claim, ...]:
        """The claims of decisions that have ended, whose commits and themselves are older than `window`, by name.
        `proposed` are the heads of pull requests: of those that stand nothing goes. Raises GitError."""
        decisions = claiming.decisions(sight.claims)
        kept = self._kept(sight.tips, Known(decisions))
        kept |= {what for what, each in decisions.items() if _of_pull(each, proposed)}
        gone = {
            subject
            for subject, decision in decisions.items()
            if subject not in kept and not decision.open and self._age(decision, now) > window
        }
        return tuple(claim for claim in sight.claims if claiming.subject_of(claim) in gone)

    def approved(
        self,
        made: Mapping[Commit, Commit],
        left: Iterable[Claim],
        proposed: Collection[str],
        now: datetime,
        window: timedelta,
    ) -> dict[Commit, Commit]:
        """Of what was run of the heads of pull requests (head → commit) that which is older than `window`, of no
        pull request that stands, and of no claim that is `left`."""
        used = {decision.source for decision in claiming.decisions(left).values()}
        return {
            head: commit
            for head, commit in made.items()
            if head.sha not in proposed
            and commit not in used
            and self.reader.has(commit)
            and now - self.reader.info(commit).committed > window
        }

    def _age(self, decision: Decision, now: datetime) -> timedelta:
        """Since the younger of the two: the commit, where it is here, and the decision."""
        times = [decision.since] if decision.since else []
        if decision.source is not None and self.reader.has(decision.source):
            times.append(self.reader.info(decision.source).committed)
        return now - max(times) if times else timedelta(0)

    def _kept(self, tips: Iterable[Tip], known: Known) -> set[str]:
        """The subjects that present tips lean on: with each, those that were decided down to the same floor."""
        models = {subject.rpartition("-")[0] for subject in known.decisions}
        kept = {subject for tip in tips for subject in self._leaned_on(tip, models, known)}
        floors = {(s.rpartition("-")[0], known.decisions[s].floor) for s in kept}
        return kept | {
            subject
            for subject, decision in known.decisions.items()
            if decision.floor and (subject.rpartition("-")[0], decision.floor) in floors
        }

    def _leaned_on(self, tip: Tip, models: Collection[str], known: Known) -> Iterator[str]:
        """Of each model the nearest decision on the line of a tip, of every kind that a look asks for."""
        pending = {(model, kind) for model in models for kind in ("any", "tried", "watched")}
        for commit in self._line(tip):
            for model, kind in tuple(pending):
                subject = claiming.subject(model, commit)
                decision = known.decisions.get(subject)
                if decision is not None and _is(decision, kind):
                    pending.remove((model, kind))
                    yield subject
            if not pending:
                return

    def _line(self, tip: Tip) -> Iterable[Commit]:
        try:
            self.reader.source_of(tip.commit, self.transparent)
        except MlopsError:
            return ()  # nothing can be decided of it either
        return self.history.line(tip.commit)


def _of_pull(decision: Decision, proposed: Collection[str]) -> bool:
    tip = decision.tip
    return tip is not None and tip.ref.startswith(PULLS) and tip.commit.sha in proposed


def _is(decision: Decision, kind: str) -> bool:
    if kind == "tried":
        return claiming.tried(decision)
    return kind == "any" or decision.tip is not None


def runs(claims: Sequence[Claim]) -> tuple[str, ...]:
    """The names of claims' runs."""
    return tuple(claim.ref.removeprefix("refs/mlops/runs/") for claim in claims)
