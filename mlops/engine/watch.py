"""The watcher: every observed tip is decided once, for each model, by claims that are queued on the remote.

How it is called (the commands `watch --once` and the long-lived process do the same): `look()` once for each
interval or webhook, then `waiting()`, and for each of those that is due one run, by `mlops run SOURCE --model M`
in a process of its own or by `engine.run.Runner.carry_out(Order(model, source, patient=True))` in this one. Both
take the queued claim over, so that it does not matter how many watchers see the same queue.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mlops.domain.source import Commit
from mlops.domain.watching import HEADS, TAGS, Choice, Seen, Tip, Tracked, Waiting
from mlops.engine import claiming
from mlops.engine.claiming import Decision, Holder
from mlops.engine.judging import Judge, Judged, Known, Verdict
from mlops.policy import backoff
from mlops.ports import Claims, Clock, SourceReader, Tips

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Watcher:
    """Looks at one repository; made once, and kept: it knows what the last look answered.

    A new one decides the same, as all that counts is on the remote. Not for several threads at once.
    """

    tips: Tips
    claims: Claims
    reader: SourceReader
    judge: Judge
    tracked: Tracked
    holder: Holder
    now: Clock
    actor: str = ""
    _known: dict[str, Decision] = field(default_factory=dict)  # by claiming.subject
    _seen: tuple[Seen, ...] = ()
    _verdicts: dict[Tip, Verdict] = field(default_factory=dict)
    _complete: bool = True  # whether the last look decided all that it saw

    def look(self) -> tuple[Seen, ...]:
        """Look at the remote once, and decide every tip that is new: its claims are on the remote, in state
        `queued`, when this returns. All tips of the look come back, what was decided before marked as not fresh.

        One exchange where nothing changed since the last look. Raises GitError where the remote cannot be asked,
        or takes no claims; what was won until then is decided.
        """
        self.claims.settle()
        sight = self.tips.look(self.tracked)
        if not sight.fresh and self._complete:
            self._seen = tuple(_stale(seen) for seen in self._seen)
            return self._seen
        self._complete = False
        self._known = claiming.decisions(sight.claims)
        self._verdicts = self._judged(sight.tips)
        self._supersede(sight.tips)
        fresh, complete = self._decide()
        self._seen = tuple(
            Seen(tip, tuple(self._choices(verdict, fresh)), verdict.trouble)
            for tip, verdict in self._verdicts.items()
        )
        self._complete = complete
        for tip, verdict in self._verdicts.items():
            if complete and not verdict.trouble:
                self.judge.told(tip)
        return self._seen

    def waiting(self) -> tuple[Waiting, ...]:
        """The decisions of the last look that nobody carries out, oldest first, those that are not due among them.

        Ask after every look: what somebody else began, or ended, shows only then.
        """
        left = [each for each in self._known.values() if self._left(each) or self._goes_on(each)]
        found = [self._waiting(each) for each in left]
        return tuple(sorted(filter(None, found), key=lambda each: (each.since, each.run)))

    def working(self) -> tuple[Waiting, ...]:
        """The decisions of the last look that somebody carries out, as far as is known, oldest first."""
        begun = (claiming.CLAIMED, claiming.SUBMITTED)
        busy = [
            each
            for each in self._known.values()
            if each.state in begun and not self._left(each) and not self._goes_on(each)
        ]
        found = [self._waiting(each) for each in busy]
        return tuple(sorted(filter(None, found), key=lambda each: (each.since, each.run)))

    def decisions(self) -> tuple[Decision, ...]:
        """Every decision that the last look knew of: the last attempt at each commit and model."""
        return tuple(self._known.values())

    def decision(self, waiting: Waiting) -> Decision | None:
        """What the last look knew of it."""
        return self._known.get(claiming.subject(waiting.model, waiting.source))

    def heed(self, other: Watcher) -> None:
        """Go by the settings of another one, of the same repository, from the next look on."""
        self.tracked = other.tracked
        self.judge.config = other.judge.config
        self.judge.transparent = other.judge.transparent

    def supersede(self, reasons: Mapping[str, str], *, begun: bool = False) -> frozenset[str]:
        """Take decisions back that nobody began (run → why), as something newer was decided; which ones it was not
        too late for. With `begun` those that somebody is at, too: end their runs. Raises GitError."""
        found = {each.run: each for each in self._known.values() if each.run in reasons}
        documents = {
            run: claiming.moved(
                each.claim, claiming.SETTLED, outcome=claiming.SUPERSEDED, reason=reasons[run]
            )
            for run, each in found.items()
            if self._left(each) or (begun and each.state != claiming.SETTLED)
        }
        moved = self.claims.put_each(documents, {run: found[run].claim for run in documents})
        won = [claim for claim in moved.values() if claim is not None]
        self._known |= claiming.decisions(won)
        return frozenset(run for run, claim in moved.items() if claim is not None)

    def _judged(self, tips: Sequence[Tip]) -> dict[Tip, Verdict]:
        """What each tip calls for; a tip that stands where it stood calls for the same."""
        kept = {t: v for t in tips if (v := self._verdicts.get(t)) is not None and not v.trouble}
        fresh = [tip for tip in tips if tip not in kept]
        steps = self.judge.history.changed([tip.commit for tip in fresh])
        known = Known(self._known)
        self.judge.forget({tip.ref for tip in tips})
        judged = {
            tip: self.judge.judge(tip, step, known) for tip, step in zip(fresh, steps, strict=True)
        }
        return {tip: kept.get(tip) or judged[tip] for tip in tips}

    def _decide(self) -> tuple[set[str], bool]:
        """Write down what nobody decided yet; the subjects that this look decided, and whether that is all."""
        documents = self._documents()
        won: set[str] = set()
        complete = True
        previous = {d.run: d.claim for d in self._known.values() if d.run in documents}
        moved = self.claims.put_each(documents, previous) if documents else {}
        for name, claim in moved.items():
            found = claim or self.claims.read(name)
            if found is None:  # somebody made and removed it meanwhile
                complete = False
                continue
            decided = claiming.decisions([found])
            self._known |= decided
            won |= set(decided) if claim is not None and name not in previous else set()
        return won, complete

    def _documents(self) -> dict[str, dict[str, Any]]:
        """Run → the claim that is to be written."""
        found: dict[str, dict[str, Any]] = {}
        start = self.now()
        for tip, verdict in self._verdicts.items():
            for judged in verdict.judged:
                known = self._known.get(claiming.subject(judged.model, judged.source))
                run = known.run if known else claiming.run_name(judged.model, judged.source, 1)
                # their order is the order in which they were decided
                since = start + timedelta(microseconds=len(found))
                document = self._document(tip, judged, known, since)
                if document is not None:
                    found.setdefault(run, document)
        return found

    def _document(
        self, tip: Tip, judged: Judged, known: Decision | None, since: datetime
    ) -> dict[str, Any] | None:
        """What is to be written down; None where nothing is."""
        why = f"{tip.name} is at {tip.commit.short}"
        if known is not None:
            # somebody ran it by hand: from here on the branch is watched
            begins = judged.kept and known.state == claiming.SETTLED and known.tip is None
            place = {"ref": tip.ref, "tip": tip.commit.sha, "why": why}
            return claiming.moved(known.claim, claiming.SETTLED, **place) if begins else None
        if judged.skip and not judged.kept:
            return None
        queued = claiming.queue(judged.model, judged.source, tip, why, self.actor, since)
        floor = {"floor": judged.floor} if judged.floor else {}
        if not judged.skip:
            return {**queued, **floor}
        skipped = {"outcome": claiming.SKIPPED, "reason": judged.skip}
        return {**queued, **floor, "state": claiming.SETTLED, **skipped}

    def _choices(self, verdict: Verdict, fresh: set[str]) -> Iterator[Choice]:
        for judged in verdict.judged:
            subject = claiming.subject(judged.model, judged.source)
            decision = self._known.get(subject)
            model, source = judged.model, judged.source
            if decision is not None:
                why = decision.reason or decision.why
                run, stands, is_fresh = decision.run, decision.stands, subject in fresh
                yield Choice(model, source, run, stands, why, is_fresh, decision.release)
            else:
                yield Choice(model, source, "", claiming.SKIPPED, judged.skip, fresh=False)

    def _supersede(self, tips: Sequence[Tip]) -> None:
        """Take back what was decided, and not begun, of commits that no tracked ref holds any more."""
        at = {tip.ref: tip for tip in tips}
        moved: dict[str, tuple[Commit, Tip]] = {}
        for each in self._known.values():
            source, tip = each.source, each.tip
            if source is None or tip is None or at.get(tip.ref) == tip or not self._left(each):
                continue
            begun = each.state in (claiming.CLAIMED, claiming.SUBMITTED)
            taken_over = begun and self.reader.has(source)
            if tip.ref.startswith((HEADS, TAGS)) and not taken_over:
                moved[each.run] = source, tip
        commits = {tip.commit for tip in tips}
        gone = self.judge.history.unreached([source for source, _ in moved.values()], commits)
        reasons = {
            run: f"{tip.name} {'no longer holds it' if tip.ref in at else 'is gone'}"
            for run, (source, tip) in moved.items()
            if source in gone
        }
        if reasons:
            self.supersede(reasons)

    def _left(self, decision: Decision) -> bool:
        """Whether a decision waits for somebody to carry it out."""
        if decision.queued or decision.outcome == claiming.INTERRUPTED:
            return True
        begun = decision.state in (claiming.CLAIMED, claiming.SUBMITTED)
        return begun and (self.holder.dead(decision.holder) or decision.expired(self.now()))

    def _goes_on(self, decision: Decision) -> bool:
        """Whether a run is on a cluster, begun from another machine or pod: of that nothing is known, and the run
        needs no one. Whoever follows it, one or several, writes down how it ended."""
        on_cluster = decision.claim.document.get("executor") == "tekton"
        there = decision.state == claiming.SUBMITTED and on_cluster
        return there and decision.holder.get("host") != self.holder.me().get("host")

    def _waiting(self, decision: Decision) -> Waiting | None:
        """None where the claim does not say enough to be carried out, or nobody watches for it."""
        source, tip = decision.source, decision.tip
        if source is None or not self.reader.has(source):
            return None
        if tip is None and not any(source == c.source for s in self._seen for c in s.choices):
            return None
        model, since = str(decision.claim.document.get("model", "")), decision.since or _LONG_AGO
        due = backoff.due(decision.after, self.now())
        return Waiting(decision.run, model, source, tip or Tip("", source), since, due)


def _stale(seen: Seen) -> Seen:
    return replace(seen, choices=tuple(replace(choice, fresh=False) for choice in seen.choices))
