"""Where an environment goes back to, and the hold that keeps it there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.environment import Hold, QuarantineEntry
from mlops.domain.history import EDIT, ROLLBACK, PinRow
from mlops.domain.release import ReleaseRecord
from mlops.policy.quarantine import quarantined, why
from mlops.policy.refusal import Ground, Refusal


@dataclass(frozen=True, slots=True)
class Situation:
    """What an environment is in, for one model.

    `rows` are its pins, newest first; `record` gives the record of a digest, None where there is
    none; `hold` is the model's own hold.
    """

    environment: str
    model: str
    current: Digest | None
    rows: tuple[PinRow, ...]
    record: Callable[[Digest], ReleaseRecord | None]
    quarantine: tuple[QuarantineEntry, ...] = ()
    hold: Hold | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What a person asks for: so many steps back, one release, or what stood at an instant."""

    actor: str
    reason: str
    now: datetime
    steps: int = 1
    to: Digest | None = None
    at: datetime | None = None
    incident: str | None = None
    hold: bool = True


@dataclass(frozen=True, slots=True)
class Rollback:
    """The pin moves from `previous` to `release`; `hold` replaces the model's own (None: `--no-hold`).

    `unchanged` where this incident's rollback was done before: nothing is to be written.
    """

    environment: str
    release: ReleaseId
    previous: Digest
    hold: Hold | None
    unchanged: bool = False


def predecessors(
    rows: Iterable[PinRow], current: Digest | None, usable: Callable[[Digest], bool]
) -> tuple[Digest, ...]:
    """`~1`, `~2` …: what was pinned before the promotion that brought `current`, and so on back.

    `rows` newest first. Left out is what a rollback ever left, what `usable` denies, `current`, and
    what was named already. A rollback brings back what an earlier promotion brought: after A, B,
    rollback to A, `~1` is what stood before A. A hand edit to a digest that was pinned before (a
    `git revert`) is such a return too.
    """
    listed = tuple(rows)
    barred = {row.previous for row in listed if row.action == ROLLBACK} | {current}
    passed: list[Digest] = []
    at = current
    for row, returned in zip(listed, _returns(listed), strict=True):
        if at is None:  # the pin was taken out for a while: what stood before that
            at = row.digest
            passed.append(at)
        if row.digest != at or returned:
            continue
        if row.cut:
            break  # what came before lies beyond the end of a shallow clone
        at = row.previous
        if at is not None:
            passed.append(at)
    return tuple(d for d in dict.fromkeys(passed) if d not in barred and usable(d))


def _returns(rows: Sequence[PinRow]) -> list[bool]:
    """For each row whether it brought back what an older one had brought."""
    seen: set[Digest] = set()
    found = []
    for row in reversed(rows):
        found.append(row.action == ROLLBACK or (row.action == EDIT and row.digest in seen))
        seen.add(row.digest)
    return found[::-1]


def decide(situation: Situation, order: Order) -> Rollback | Refusal:
    """The rollback, or why there is none. Repeating one with the same incident changes nothing."""
    environment, model = situation.environment, situation.model
    if situation.current is None:
        reason = (
            f"{environment} pins no {model} now"
            if situation.rows
            else f"{environment} has never pinned {model}"
        )
        return Refusal(Ground.HISTORY, reason, f"See: mlops history {environment}")
    if _done(situation, order):
        release = ReleaseId(model, situation.current)
        last = situation.rows[0].previous if situation.rows else None
        return Rollback(
            environment, release, last or situation.current, situation.hold, unchanged=True
        )
    target = _target(situation, order)
    if isinstance(target, Refusal):
        return target
    hold = _hold(situation, order, target) if order.hold else None
    return Rollback(environment, ReleaseId(model, target), situation.current, hold)


def _done(situation: Situation, order: Order) -> bool:
    """Whether this incident's rollback stands already: the last move was it, or its hold is there
    and what it keeps out is out. Another explicit target is another rollback."""
    if not order.incident or (order.to is not None and order.to != situation.current):
        return False
    last = situation.rows[0] if situation.rows else None
    if last is not None and last.action == ROLLBACK and last.incident == order.incident:
        return last.digest == situation.current
    hold = situation.hold
    if hold is None or order.incident not in incidents(hold) or not hold.avoid:
        return False
    return situation.current not in hold.avoid


def incidents(hold: Hold) -> tuple[str, ...]:
    """The incidents that a hold belongs to: several where rollbacks met, or followed each other."""
    return tuple(hold.incident.split(", ")) if hold.incident else ()


def _target(situation: Situation, order: Order) -> Digest | Refusal:
    if order.to is not None:
        return _checked(situation, order.to)
    if order.at is not None:
        return _at(situation, order.at)
    return _back(situation, order.steps)


def _back(situation: Situation, steps: int) -> Digest | Refusal:
    environment, model = situation.environment, situation.model
    found = predecessors(
        situation.rows, situation.current, lambda d: _unusable(situation, d) is None
    )
    if steps >= 1 and len(found) >= steps:
        return found[steps - 1]
    current = ReleaseId(model, situation.current).short if situation.current else model
    hint = f"See: mlops history {environment} {model}"
    if found:
        told = (
            f"{environment} pinned {len(found)} good release{'s' * (len(found) != 1)} of {model} "
        )
        return Refusal(Ground.HISTORY, f"{told}before {current}, not {steps}", hint)
    barred = next((text for text in _barred(situation) if text), "")
    good = "nothing good" if barred else "nothing"
    reason = f"{environment} has pinned {good} before {current}"
    return Refusal(Ground.HISTORY, f"{reason}: {barred}" if barred else reason, hint)


def _barred(situation: Situation) -> Iterable[str]:
    """Why earlier pins cannot be gone back to."""
    everything = predecessors(situation.rows, situation.current, lambda _: True)
    for digest in everything:
        refused = _unusable(situation, digest)
        yield refused or ""
    for row in situation.rows:
        if row.action == ROLLBACK and row.previous:
            yield f"{ReleaseId(situation.model, row.previous).short} was rolled back from"


def _at(situation: Situation, when: datetime) -> Digest | Refusal:
    row = next((row for row in situation.rows if row.since <= when), None)
    if row is None or (row.until is not None and row.until <= when):
        text = f"{situation.environment} pinned no {situation.model} at {when:%Y-%m-%dT%H:%M:%SZ}"
        return Refusal(
            Ground.HISTORY, text, f"See: mlops history {situation.environment} {situation.model}"
        )
    return _checked(situation, row.digest)


def _checked(situation: Situation, digest: Digest) -> Digest | Refusal:
    """An explicit target: had here before, not pinned now, not rolled back from, and sound."""
    environment, model = situation.environment, situation.model
    name = ReleaseId(model, digest).short
    if digest == situation.current:
        return Refusal(Ground.TARGET, f"{environment} pins {name} already")
    move = f"mlops promote {ReleaseId(model, digest)} --to {environment}"
    if not any(digest in (row.digest, row.previous) for row in situation.rows):
        hint = f"A rollback goes back to what was there; else: {move}"
        return Refusal(Ground.TARGET, f"{environment} has never pinned {name}", hint)
    if any(row.action == ROLLBACK and row.previous == digest for row in situation.rows):
        hint = f"If it is good after all: {move} --despite-hold"
        return Refusal(Ground.TARGET, f"{environment} was rolled back from {name}", hint)
    refused = _unusable(situation, digest)
    return digest if refused is None else Refusal(Ground.TARGET, refused)


def _unusable(situation: Situation, digest: Digest) -> str | None:
    """Why nobody can be sent back to a release; None where they can."""
    name = ReleaseId(situation.model, digest).short
    record = situation.record(digest)
    entry = quarantined(digest, record.artifact if record else None, situation.quarantine)
    if entry is not None:
        return f"{name} is {why(entry, digest)}"
    return f"{name} has no release record" if record is None else None


def _hold(situation: Situation, order: Order, target: Digest) -> Hold:
    """What was rolled back from joins what the model's hold keeps out already."""
    before = situation.hold.avoid if situation.hold else ()
    joined = incidents(situation.hold) if situation.hold else ()
    belongs = dict.fromkeys([*joined, *([order.incident] if order.incident else [])])
    current = (situation.current,) if situation.current else ()
    avoid = tuple(d for d in dict.fromkeys((*before, *current)) if d != target)
    return Hold(
        model=situation.model,
        since=order.now,
        actor=order.actor,
        reason=order.reason,
        digest=target,
        incident=", ".join(belongs) or None,
        avoid=avoid,
    )
