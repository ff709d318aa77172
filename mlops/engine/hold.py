"""Hold and resume: stop and restart automation in an environment, or for one model in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.environment import Hold
from mlops.domain.message import MODEL, REASON, one_line
from mlops.engine.publishing import Change, Publisher, Settled, topic
from mlops.engine.state import Environments
from mlops.errors import UsageError
from mlops.manifests.overlay import dump_holds

EVERY = "*"


@dataclass(frozen=True, slots=True)
class Held:
    """The hold that stands now, and the one in force that it took the place of."""

    hold: Hold
    replaced: Hold | None = None


@dataclass(frozen=True, slots=True)
class Resumed:
    """What `resume` lifted, and the holds that still stop what was resumed."""

    lifted: tuple[Hold, ...]
    left: tuple[Hold, ...]


@dataclass(frozen=True, slots=True)
class HoldOrder:
    """What is to be held: one model, or `*`; `until` is aware, None for until somebody resumes."""

    environment: str
    model: str
    reason: str
    until: datetime | None = None


def hold(publisher: Publisher, order: HoldOrder, *, dry_run: bool = False) -> Settled[Held]:
    """Write the hold. One that stands already in the same words changes nothing.

    Raises UsageError without a reason, or where environment or model are unknown.
    """
    reason = required_reason(order.reason)

    def decide(environments: Environments) -> tuple[Held, Change | None]:
        state = environments.state(order.environment)
        if order.model != EVERY:
            environments.model(order.model)
        old = next((found for found in state.holds if found.model == order.model), None)
        fresh = Hold(
            model=order.model,
            since=environments.now.replace(microsecond=0),
            actor=one_line(publisher.actor),
            reason=reason,
            digest=state.pins.get(order.model),
            until=order.until,
            incident=old.incident if old else None,
            avoid=old.avoid if old else (),
        )
        standing = old if old and _in_force(old, environments.now) else None
        if standing and _same_words(standing, fresh):
            return Held(standing), None
        files = holds_file(environments, order.environment, (fresh,))
        pinned = state.pins.get(order.model)
        message = publisher.message(
            f"Hold {order.environment}{_of(order.model)}",
            "hold",
            [(MODEL, _named(order.model, pinned)), (REASON, reason)],
            order.environment,
        )
        about = topic("hold", [order.environment], _own(order.model))
        return Held(fresh, standing), Change(files, message, about, urgent=True)

    return publisher.settle(decide, dry_run=dry_run)


def resume(
    publisher: Publisher, environment: str, model: str = EVERY, *, dry_run: bool = False
) -> Settled[Resumed]:
    """Lift the hold of a model, or every hold of the environment (`*`)."""

    def decide(environments: Environments) -> tuple[Resumed, Change | None]:
        state = environments.state(environment)
        if model != EVERY:
            environments.model(model)
        lifted = tuple(hold for hold in state.holds if model in (EVERY, hold.model))
        left = tuple(hold for hold in state.holds if hold not in lifted)
        still = tuple(hold for hold in left if hold.covers(model, environments.now))
        if not lifted:
            return Resumed((), still), None
        content = _written(environments, environment, left)
        named = [(MODEL, _named(hold.model, hold.digest)) for hold in lifted]
        message = publisher.message(
            f"Resume {environment}{_of(model)}", "resume", named, environment
        )
        about = topic("resume", [environment], _own(model))
        return Resumed(lifted, still), Change(content, message, about)

    return publisher.settle(decide, dry_run=dry_run)


def holds_file(
    environments: Environments, environment: str, fresh: Iterable[Hold]
) -> dict[str, bytes | None]:
    """The environment's holds.yaml with `fresh` in place of their models' old holds, and without
    those whose time has passed; no file where there is nothing fresh to write."""
    new = {hold.model: hold for hold in fresh}
    if not new:
        return {}
    kept = [
        hold
        for hold in environments.state(environment).holds
        if hold.model not in new and _in_force(hold, environments.now)
    ]
    holds = sorted([*kept, *new.values()], key=lambda hold: hold.model)
    return _written(environments, environment, holds)


def kept_holds(
    environments: Environments, environment: str, to: Mapping[str, Digest]
) -> tuple[Hold, ...]:
    """The holds of pins that are moved in spite of them: kept, with the new digest written in.

    A hold of the whole environment has no place for a digest: the model gets its like beside it.
    """
    state = environments.state(environment)
    held = ((model, state.hold(model, environments.now)) for model in sorted(to))
    return tuple(
        replace(
            hold,
            model=model,
            digest=to[model],
            avoid=tuple(digest for digest in hold.avoid if digest != to[model]),
        )
        for model, hold in held
        if hold is not None
    )


def _written(
    environments: Environments, environment: str, holds: Iterable[Hold]
) -> dict[str, bytes | None]:
    path = environments.holds_path(environment)
    return {path: dump_holds(holds, environments.gitops.read(environments.tip, path))}


def required_reason(text: str) -> str:
    """The reason as one line. Raises UsageError where there is none."""
    reason = one_line(text)
    if not reason:
        raise UsageError("a reason is needed: it is kept in git", hint="Add --reason TEXT")
    return reason


def _in_force(hold: Hold, now: datetime) -> bool:
    return hold.until is None or now < hold.until


def _same_words(old: Hold, new: Hold) -> bool:
    return (old.reason, old.until) == (new.reason, new.until)


def _own(model: str) -> tuple[str, ...]:
    # never the empty part: a branch `hold/prod` would stand in the way of `hold/prod/spam`
    return ("every-model",) if model == EVERY else (model,)


def _of(model: str) -> str:
    return "" if model == EVERY else f": {model}"


def _named(model: str, digest: Digest | None) -> str:
    return "" if model == EVERY else str(ReleaseId(model, digest)) if digest else model
