"""`mlops run`: plan, claim, execute, release. One decision for each commit and model."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from mlops.domain.plan import Plan
from mlops.domain.release import ReleaseRecord
from mlops.domain.run import Phase, RunResult
from mlops.domain.source import Commit
from mlops.engine import baseline as baselines
from mlops.engine import claiming, comparing, retrying
from mlops.engine.claiming import Decision, Holder
from mlops.engine.outcome import Complaints, Outcome, failed_outside
from mlops.engine.planning import Planned, Planner, retrained
from mlops.engine.pullruns import of_pull
from mlops.errors import ClusterError, GitError, MlopsError, RefusedError, RunInterruptedError
from mlops.manifests.pipelinerun import generate
from mlops.ports import Claim, Claims, Clock, Executor, GitOps, RunObserver

Say = Callable[[str], None]
_ANSWERS = ("failed", "nothing")
# what nobody asked for is not made again, whatever became of its release
_FINAL = (*_ANSWERS, "succeeded", claiming.SKIPPED, claiming.SUPERSEDED)
_SLACK = 1800.0  # seconds that a run may take beside what its timeouts allow


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for: one commit, one model."""

    model: str
    source: Commit
    again: bool = False
    pin: bool = True
    actor: str = ""
    patient: bool = False  # nobody asks for it just now: attempts after failures wait their time
    trigger: str = ""  # what asked for another attempt, as its queued claim says

    @property
    def anew(self) -> bool:
        """Whether it is another attempt at what may have run already."""
        return self.again or bool(self.trigger)


@dataclass(frozen=True, slots=True)
class Runner:
    """The use case, with the ports it needs."""

    planner: Planner
    gitops: GitOps
    claims: Claims
    executor: Executor
    holder: Holder
    now: Clock
    observer: RunObserver
    say: Say

    def carry_out(self, order: Order) -> Outcome:
        """Answer an order: from what ran before, or by a run.

        Raises RefusedError where data is missing on the remote or somebody else is at it.
        """
        if order.pin and of_pull(self.planner.reader, order.source):
            order = replace(order, pin=False)
        tip = self.gitops.refresh()
        known = baselines.records(self.gitops, tip, order.model)
        last = self._newest(order)
        if last is not None and last.open and not order.again:
            order = replace(order, trigger=last.trigger)
        if not order.again:
            answered = None if order.trigger else self._answered(order, known, last)
            if answered is not None:
                return answered
            waiting = retrying.kept_back(order.model, order.source, last, self.now())
            if order.patient and waiting is not None:
                return waiting
        attempt = self._attempt(order, last)
        try:
            planned = self._planned(order, known, tip)
        except MlopsError as exc:
            self._put_off(order, last, str(exc))
            raise
        if planned.plan.nothing and not order.again:
            return self._nothing(order, planned, attempt, last)
        outcome = self._execute(order, planned, attempt, last)
        return self._compared(order, known, outcome) if order.anew else outcome

    def _planned(
        self, order: Order, known: tuple[ReleaseRecord, ...], tip: Commit | None
    ) -> Planned:
        """The plan, and where it has anything to do all that it needs. Raises RefusedError."""
        planned = self.planner.plan(order.model, order.source, known)
        if order.trigger:
            planned = retrained(planned, order.trigger)
        if planned.plan.nothing and not order.again:
            return planned
        if planned.plan.kept:
            self.say(f"{order.model}: {planned.plan.kept}")
        self.planner.require_locks(planned, self.say if order.again else None)
        if order.pin:
            self.planner.require_overlay(planned, self.gitops, tip)
        self.planner.require_data(planned)
        return planned

    def _put_off(self, order: Order, last: Decision | None, reason: str) -> None:
        """Write into what is queued why its run cannot begin, and when that is tried again."""
        if order.patient and last is not None and last.queued:
            more = retrying.refused(last, reason, self.now(), random.random())  # noqa: S311
            self._move(last.claim, claiming.QUEUED, **more)

    def _compared(
        self, order: Order, known: tuple[ReleaseRecord, ...], outcome: Outcome
    ) -> Outcome:
        """With what another attempt gave, against the releases of the same commit before it."""
        before = [record for record in known if record.source == order.source]
        if not outcome.release or not before:
            return outcome
        after = baselines.records(self.gitops, self.gitops.tip(), order.model)
        now = next((each for each in after if str(each.release) == outcome.release), None)
        told = comparing.told(outcome.release, before, now)
        return replace(outcome, note="; ".join(filter(None, (outcome.note, told))))

    def _newest(self, order: Order) -> Decision | None:
        try:
            return claiming.newest(self.claims, order.model, order.source)
        except GitError as exc:
            if exc.retryable:
                raise
            self.say(f"warning: claims cannot be read: {exc}")
            return None

    def _attempt(self, order: Order, last: Decision | None) -> int:
        if last is None:
            return 1
        if last.queued:
            return last.attempt
        if not last.open:
            return last.attempt + 1
        if last.state == claiming.SETTLED:
            return last.attempt + int(self.executor.lasting)  # the old run is there, and over
        name = claiming.run_name(order.model, order.source, last.attempt)
        if self.executor.lasting and self.executor.status(name) is not None:
            return last.attempt  # it goes on without whoever began it: to be followed
        holder, living = last.holder, self.executor.alive(name)
        if not living and (self.holder.dead(holder) or last.expired(self.now())):
            return last.attempt
        told = f"run {name} is being carried out by process {holder.get('pid')} on {holder.get('host')}"
        if holder.get("host") == self.holder.me().get("host"):
            raise RefusedError(told, hint=f"Follow it: mlops runs logs {name}")
        if not order.again:
            until = last.claim.document.get("expires", "it ends")
            raise RefusedError(
                told,
                hint=f"Wait until {until}, or make another attempt if that machine is gone: mlops run --again",
            )
        self.say(f"warning: {told}, as far as is known; this is another attempt")
        return last.attempt + 1

    def _answered(
        self, order: Order, known: tuple[ReleaseRecord, ...], last: Decision | None
    ) -> Outcome | None:
        """What an earlier run of this very commit answers; None where there is none."""
        record = baselines.of_source(known, order.source)
        if record is not None:
            self._settle(last, "succeeded", str(record.release))
            note = f"{order.source.short} ran already: {record.run}"
            return Outcome(order.model, record.run, str(record.release), note, fresh=False)
        if last is None or last.outcome not in (_FINAL if order.patient else _ANSWERS):
            return None
        name = claiming.run_name(order.model, order.source, last.attempt)
        failed = last.outcome == "failed"
        note = (
            f"{order.source.short} ran already and failed: {last.reason}" if failed else last.reason
        )
        return Outcome(order.model, name, last.release, note, failed=failed, fresh=False)

    def _settle(self, last: Decision | None, outcome: str, release: str) -> None:
        """Finish a claim whose holder died between the release and its outcome, or that waits for a run which
        was made already."""
        if last is None or last.state == claiming.SETTLED:
            return
        if not last.queued and not self.holder.dead(last.holder):
            return
        self._move(last.claim, claiming.SETTLED, outcome=outcome, release=release, reason="")

    def _nothing(
        self, order: Order, planned: Planned, attempt: int, last: Decision | None
    ) -> Outcome:
        name = claiming.run_name(order.model, order.source, attempt)
        release = str(planned.baseline.release) if planned.baseline else ""
        claim = self._claim(order, planned.plan, name, last, _SLACK)
        if claim is not None:
            summary = planned.plan.summary
            self._move(claim, claiming.SETTLED, outcome="nothing", reason=summary, release=release)
        return Outcome(order.model, name, release, planned.plan.summary)

    def _execute(
        self, order: Order, planned: Planned, attempt: int, last: Decision | None
    ) -> Outcome:
        name = claiming.run_name(order.model, order.source, attempt)
        spec = replace(
            self.planner.spec(planned, name, attempt),
            pin=order.pin,
            actor=order.actor,
            rebuild=order.again,
            retrain=bool(order.trigger),
        )
        document = generate(spec)
        lasts = max(spec.timeout, spec.train_timeout) + 2 * _SLACK
        claim = self._claim(order, planned.plan, name, last, lasts)
        if claim is not None:
            claim = self._move(claim, claiming.SUBMITTED, executor=self.executor.name)
            gone = self._taken_back(order, claim)
            if gone is not None:
                return gone
        complaints = Complaints(self.observer)
        try:
            result = self._attend(name, complaints) or self.executor.run(document, complaints)
        except (MlopsError, KeyboardInterrupt) as exc:
            if not self._goes_on(exc):
                counted = isinstance(exc, MlopsError) and not isinstance(exc, RunInterruptedError)
                self._interrupted(claim, str(exc) or claiming.INTERRUPTED, counted=counted)
            raise
        return self._finish(order, claim, result, complaints)

    def _taken_back(self, order: Order, claim: Claim | None) -> Outcome | None:
        """The answer where something newer was decided before the run began; None where it is still wanted."""
        if claim is None or claim.document.get("state") == claiming.SUBMITTED:
            return None
        name = claim.ref.removeprefix("refs/mlops/runs/")
        try:
            found = self.claims.read(name)
        except GitError:
            return None
        last = Decision(0, found) if found is not None else None
        if last is None or last.outcome != claiming.SUPERSEDED:
            return None
        return Outcome(order.model, name, "", last.reason)

    def _interrupted(self, claim: Claim | None, reason: str, *, counted: bool) -> Decision | None:
        """Settle what says nothing about the commit: failures of outside systems are counted."""
        more = retrying.settled(claim, reason, self.now(), random.random()) if counted else {}  # noqa: S311
        outcome = {"outcome": claiming.INTERRUPTED, "reason": reason, **more}
        moved = self._move(claim, claiming.SETTLED, **outcome)
        return Decision(0, moved) if moved is not None else None

    def _goes_on(self, exc: BaseException) -> bool:
        """Whether the run may go on although we lost sight of it: the next `mlops run` looks."""
        return self.executor.lasting and isinstance(exc, ClusterError) and exc.retryable

    def _attend(self, name: str, observer: RunObserver) -> RunResult | None:
        """Follow a run that is there already: whoever began it is gone; None where there is none."""
        if not self.executor.lasting or self.executor.status(name) is None:
            return None
        self.say(f"run {name} is there already: following it")
        return self.executor.attend(name, observer)

    def _finish(
        self, order: Order, claim: Claim | None, result: RunResult, complaints: Complaints
    ) -> Outcome:
        if result.phase is Phase.CANCELLED:
            self._interrupted(claim, claiming.INTERRUPTED, counted=False)
            raise KeyboardInterrupt
        self.gitops.refresh()
        if result.phase is Phase.SUCCEEDED:
            release = result.text("release")
            self._move(claim, claiming.SETTLED, outcome="succeeded", release=release, reason="")
            return Outcome(order.model, result.name, release, result.text("note"))
        reason = complaints.first_of(result) or result.message or result.reason
        if not failed_outside(result):
            self._move(claim, claiming.SETTLED, outcome="failed", reason=reason)
            return Outcome(order.model, result.name, "", reason, failed=True)
        kept = self._interrupted(claim, reason, counted=True)
        note, due = (kept.reason, kept.after) if kept is not None else (reason, None)
        return Outcome(order.model, result.name, "", note, failed=True, outside=True, due=due)

    def _claim(
        self, order: Order, plan: Plan, name: str, last: Decision | None, lasts: float
    ) -> Claim | None:
        """Win the claim, or say who has it. None where the remote takes no such refs."""
        taken = last is not None and last.open and last.claim.ref.endswith(f"/{name}")
        dead = last.claim if last is not None and taken else None
        fresh = claiming.document(
            name, order.model, order.source, plan.summary, self.holder, self.now, order.actor, lasts
        )
        fresh |= claiming.inherited(last) | ({} if order.again else retrying.carried(last))
        try:
            won = self.claims.put(name, fresh, dead)
        except GitError as exc:
            if exc.retryable:
                raise
            self.say(f"warning: the claim could not be written, two runs are possible: {exc}")
            return None
        if won is None:
            raise RefusedError(
                f"somebody else has just claimed {name}",
                hint="Run the command again to see how it went",
            )
        return won

    def _move(self, claim: Claim | None, state: str, **more: Any) -> Claim | None:
        """Move a claim on; one that was taken from us stays as it is."""
        if claim is None:
            return None
        try:
            run = claim.ref.removeprefix("refs/mlops/runs/")
            moved = self.claims.put(run, claiming.moved(claim, state, **more), claim)
        except GitError as exc:
            self.say(f"warning: the claim {claim.ref} could not be moved to {state}: {exc}")
            return claim
        return moved if moved is not None else claim
