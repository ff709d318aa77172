"""The watcher: every observed tip is decided once, for each model, by claims that are queued on the remote.

How it is called (the commands `watch --once` and the long-lived process do the same): `look()` once for each
interval or webhook, then `waiting()`, and for each of those that is due one run, by `mlops run SOURCE --model M`
in a process of its own or by `engine.run.Runner.carry_out(Order(model, source, patient=True))` in this one. Both
take the queued claim over, so that it does not matter how many watchers see the same queue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mlops.domain.source import Commit
from mlops.domain.watching import Choice, Seen, Tip, Tracked, Waiting
from mlops.engine import claiming
from mlops.engine.claiming import Decision, Holder
from mlops.errors import MlopsError, UsageError
from mlops.policy import backoff
from mlops.ports import Claims, Clock, SourceReader, Tips

Models = Callable[[Commit], Sequence[str]]
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Watcher:
    """Looks at one repository; made once, and kept: it knows what the last look answered.

    `models` tells the models of mlops.yaml at a source, and raises MlopsError where that cannot be read;
    `transparent` is the directory whose commits are our own. Not for several threads at once.
    """

    tips: Tips
    claims: Claims
    reader: SourceReader
    models: Models
    tracked: Tracked
    transparent: str
    holder: Holder
    now: Clock
    actor: str = ""
    _known: dict[str, Decision] = field(default_factory=dict)  # by claiming.subject
    _seen: tuple[Seen, ...] = ()
    _sources: dict[Commit, Any] = field(
        default_factory=dict
    )  # what the tips of the last look lead to
    _complete: bool = True  # whether the last look decided all that it saw

    def look(self) -> tuple[Seen, ...]:
        """Look at the remote once, and decide every tip that is new: its claims are on the remote, in state
        `queued`, when this returns. All tips of the look come back, what was decided before marked as not fresh.

        One exchange where nothing changed since the last look. Raises GitError where the remote cannot be asked,
        or takes no claims; what was won until then is decided.
        """
        sight = self.tips.look(self.tracked)
        if not sight.fresh and self._complete:
            self._seen = tuple(_stale(seen) for seen in self._seen)
            return self._seen
        self._complete = False
        self._known = claiming.decisions(sight.claims)
        looked = [(tip, *self._judged(tip)) for tip in sight.tips]
        wanted = {
            claiming.subject(model, source): (model, source, tip)
            for tip, source, models, _ in looked
            for model in models
        }
        fresh = self._queue(wanted)
        self._seen = tuple(
            Seen(tip, tuple(self._choices(source, models, fresh)), trouble)
            for tip, source, models, trouble in looked
        )
        self._sources = {tip.commit: judged for tip, *judged in looked if not judged[2]}
        self._complete = all(subject in self._known for subject in wanted)
        return self._seen

    def waiting(self) -> tuple[Waiting, ...]:
        """The decisions of the last look that nobody carries out, oldest first, those that are not due among them.

        Ask after every look: what somebody else began, or ended, shows only then.
        """
        found = [self._waiting(each) for each in self._known.values() if self._left(each)]
        return tuple(sorted(filter(None, found), key=lambda each: (each.since, each.run)))

    def working(self) -> tuple[Waiting, ...]:
        """The decisions of the last look that somebody carries out, as far as is known, oldest first."""
        begun = (claiming.CLAIMED, claiming.SUBMITTED)
        busy = [
            each for each in self._known.values() if each.state in begun and not self._left(each)
        ]
        found = [self._waiting(each) for each in busy]
        return tuple(sorted(filter(None, found), key=lambda each: (each.since, each.run)))

    def decision(self, waiting: Waiting) -> Decision | None:
        """What the last look knew of it."""
        return self._known.get(claiming.subject(waiting.model, waiting.source))

    def _judged(self, tip: Tip) -> tuple[Commit, Sequence[str], str]:
        """The source of a tip, its models, and why it has none."""
        if tip.commit in self._sources:
            source, models, _ = self._sources[tip.commit]
            return source, models, ""
        try:
            source = self.reader.source_of(tip.commit, self.transparent)
            return source, self.models(source), ""
        except MlopsError as exc:  # one bad branch must not keep the others waiting
            return tip.commit, (), f"{tip.commit.short} is not decided: {exc}"

    def _queue(self, wanted: Mapping[str, tuple[str, Commit, Tip]]) -> set[str]:
        """Claim what nobody decided yet; the subjects that this look decided."""
        documents: dict[str, dict[str, Any]] = {}
        start = self.now()
        for subject, (model, source, tip) in wanted.items():
            if subject in self._known:
                continue
            # their order is the order in which they were decided
            since = start + timedelta(microseconds=len(documents))
            why = f"{tip.name} is at {tip.commit.short}"
            name, document = claiming.queue(model, source, tip, why, self.actor, since)
            documents[name] = document
        won: set[str] = set()
        for name, claim in (self.claims.create(documents) if documents else {}).items():
            found = claim or self.claims.read(name)
            if found is None:
                continue  # somebody made and removed it meanwhile: the next look tells
            decided = claiming.decisions([found])
            self._known |= decided
            won |= set(decided) if claim is not None else set()
        return won

    def _choices(self, source: Commit, models: Sequence[str], fresh: set[str]) -> Iterator[Choice]:
        for model in models:
            subject = claiming.subject(model, source)
            decision = self._known.get(subject)
            if decision is not None:
                why = decision.reason or str(decision.claim.document.get("why", ""))
                is_fresh = subject in fresh
                run, stands = decision.run, decision.stands
                yield Choice(model, source, run, stands, why, is_fresh, decision.release)

    def _left(self, decision: Decision) -> bool:
        """Whether a decision waits for somebody to carry it out."""
        if decision.queued or decision.outcome == claiming.INTERRUPTED:
            return True
        begun = decision.state in (claiming.CLAIMED, claiming.SUBMITTED)
        return begun and (self.holder.dead(decision.holder) or decision.expired(self.now()))

    def _waiting(self, decision: Decision) -> Waiting | None:
        """None where the claim does not say enough to be carried out, or nobody watches for it."""
        document = decision.claim.document
        try:
            source = Commit.parse(str(document.get("source")))
            tip = Tip(
                str(document.get("ref") or ""), Commit.parse(str(document.get("tip") or source))
            )
        except UsageError:
            return None
        asked = not tip.ref and not any(source == c.source for s in self._seen for c in s.choices)
        if asked or not self.reader.has(source):
            return None
        model, since = str(document.get("model", "")), decision.since or _LONG_AGO
        due = backoff.due(decision.after, self.now())
        return Waiting(decision.run, model, source, tip, since, due)


def _stale(seen: Seen) -> Seen:
    return replace(seen, choices=tuple(replace(choice, fresh=False) for choice in seen.choices))
