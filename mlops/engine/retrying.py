"""Attempts that outside systems failed: counted in the claim, tried again later and later, then given up."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from mlops.domain.source import Commit
from mlops.engine.claiming import GIVEN_UP, INTERRUPTED, SETTLED, Decision, run_name
from mlops.engine.outcome import Outcome
from mlops.policy import backoff
from mlops.ports import Claim


def carried(last: Decision | None) -> dict[str, Any]:
    """What the claim of the next attempt keeps of the last one's: its count."""
    return {"failures": last.failures} if last is not None and last.open and last.failures else {}


def settled(claim: Claim | None, reason: str, now: datetime, luck: float) -> dict[str, Any]:
    """What one more failure adds to a claim: the count, and when the next attempt may be made, or that
    none is made any more."""
    if claim is None:
        return {}
    failures = Decision(0, claim).failures + 1
    if backoff.given_up(failures):
        why = (
            f"given up after {failures} attempts that outside systems failed, the last by: {reason}"
        )
        return {"failures": failures, "after": None, "outcome": GIVEN_UP, "reason": why}
    after = (now + backoff.pause(failures, luck)).isoformat(timespec="seconds")
    return {"failures": failures, "after": after}


def refused(last: Decision, reason: str, now: datetime, luck: float) -> dict[str, Any]:
    """What is added to a queued claim whose run could not begin: why, how often so far, and when that is tried
    again. It is never given up: what is missing may come without a commit. Whoever takes it over drops all three."""
    refusals = last.refusals + 1
    after = (now + backoff.pause(refusals, luck)).isoformat(timespec="seconds")
    return {"reason": reason, "refusals": refusals, "after": after}


def moment(when: datetime) -> str:
    """`2026-01-31 12:00:00 UTC`."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def kept_back(model: str, source: Commit, last: Decision | None, now: datetime) -> Outcome | None:
    """The answer where an attempt that nobody asked for is not made now; None where it may be."""
    if last is not None and last.queued:
        return _queued(model, source, last, now)
    if last is None or last.state != SETTLED:
        return None
    name = run_name(model, source, last.attempt)
    if last.outcome == GIVEN_UP:
        again = f"Another attempt: mlops run {source.short} --model {model} --again"
        note = f"{source.short} was {last.reason}. {again}"
        return Outcome(model, name, "", note, failed=True, fresh=False)
    due = backoff.due(last.after, now) if last.outcome == INTERRUPTED else None
    if due is None:
        return None
    note = (
        f"{source.short} waits until {moment(due)} for attempt {last.failures + 1} of {backoff.MOST}; "
        f"an outside system failed the last one: {last.reason}"
    )
    return Outcome(model, name, "", note, failed=True, fresh=False, due=due)


def _queued(model: str, source: Commit, last: Decision, now: datetime) -> Outcome | None:
    due = backoff.due(last.after, now)
    if due is None:
        return None
    note = (
        f"{source.short} is tried again at {moment(due)}, or at once by: mlops run {source.short} --model {model}; "
        f"its run could not begin: {last.reason}"
    )
    return Outcome(model, last.run, "", note, failed=True, fresh=False, due=due)
